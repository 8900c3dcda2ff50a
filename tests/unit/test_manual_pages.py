"""The pages of the manual say what the code does; test_manual_tables has what is made of it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.logged_events import LOUD, logged_events
from tests.support.manual_pages import ROOT, page, path_of, rows, section
from tests.support.promql import alerts
from tests.support.shown_commands import shown_commands, unknown_words
from tixd import errors
from tixd.commands.manual import PAGES

CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tixd").rglob("*.py"))

#: README and manual.
EVERYTHING = ("README", *PAGES)

#: What a symptom quotes of systemd.
OF_SYSTEMD = ("systemctl status tixd", "activating (auto-restart)")

#: A file or folder of the project as texts name it.
PATH = re.compile(r"`\.?/?((?:tixd|tests|scripts)/[\w./-]*|\.ci/run)`")

#: Events in the tables of troubleshooting: `word`, or `two_words`.
EVENT = re.compile(r"`([a-z]+(?:_[a-z]+)*)`")


def told_of() -> list[str]:
    """The events of the table of events, in its order."""
    return [
        name
        for first, *_ in rows(section("troubleshooting", "Events"))
        for name in EVENT.findall(first)
    ]


def test_every_warning_and_every_error_of_the_log_has_its_row():
    loud = {event for event, levels in logged_events().items() if levels & LOUD}
    assert {"unexpected", "result_failed", "broker_disconnected", "report_quarantined"} <= loud
    assert len(loud) > 70, "the search finds too little"
    assert sorted(loud - set(told_of())) == []


def test_every_row_names_events_that_are_logged_and_no_event_has_two():
    assert sorted(set(told_of()) - logged_events().keys()) == []
    assert len(set(told_of())) == len(told_of())


def test_every_event_that_the_page_on_troubles_names_is_one_that_is_logged():
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", page("troubleshooting")))
    others = {"held_back", "max_message_size", "tix_api_password"}
    assert sorted(named - others - logged_events().keys()) == []


def test_the_words_by_which_a_symptom_is_known_are_those_of_the_code():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tixd").rglob("*.py"))
    constants = (n.value for t in trees for n in ast.walk(t) if isinstance(n, ast.Constant))
    known = [*(text for text in constants if isinstance(text, str)), *OF_SYSTEMD]
    symptoms = [first for first, *_ in rows(section("troubleshooting", "Symptoms"))]
    quoted = [text for first in symptoms for text in re.findall(r"`([^`]+)`", first)]
    pieces = [piece.strip() for text in quoted for piece in text.split("...")]
    assert len(pieces) > 15
    assert [piece for piece in pieces if not any(piece in text for text in known)] == []


def test_every_exit_code_of_an_error_has_its_row():
    found = {first for first, *_ in rows(section("signals-and-exit-codes", "Exit codes"))}
    codes = {str(e.exit_code) for e in vars(errors).values() if hasattr(e, "exit_code")}
    assert found == {"0", "1", "2", "3"} >= codes


def test_every_signal_that_is_listened_to_has_its_row():
    table = section("signals-and-exit-codes", "Signals")
    listened = set(re.findall(r"signal\.(SIG(?:TERM|INT|HUP|USR1|USR2))", CODE))
    assert {name for name in listened if name not in table} == set()


def test_the_alerts_that_page_are_those_of_the_rules():
    found = [first for first, *_ in rows(page("monitoring")) if first.startswith("Tixd")]
    assert found == [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_link_leads_to_a_file_and_every_path_is_there(name):
    links = re.findall(r"\]\(([^)]+)\)", page(name))
    folder = path_of(name).parent
    assert [link for link in links if not (folder / link).exists()] == []
    assert [path for path in PATH.findall(page(name)) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_command_that_is_shown_is_one_that_tixd_understands(name):
    wrong = {words: unknown_words(words) for words in shown_commands(page(name))}
    assert {words: reason for words, reason in wrong.items() if reason} == {}


def test_the_search_for_commands_finds_them_and_their_mistakes():
    found = {words for name in EVERYTHING for words in shown_commands(page(name))}
    assert len(found) > 30
    assert ("check-config", "--connect") in found
    assert ("--role", "collector", "-c", "/etc/gracc.toml") in found
    assert unknown_words(["analyze", "--tru", "x", "PATH"]) != ""
    assert unknown_words(["completion", "csh"]) != ""
    assert unknown_words(["failed", "undo"]) == "no command undo"


def test_every_page_is_reached_from_the_readme():
    listed = re.findall(r"^- \[([\w-]+)\]", section("README", "Manual"), re.MULTILINE)
    assert listed == list(PAGES)


@pytest.mark.parametrize("title", ["The journey of a report", "The journey of a bundle"])
def test_a_journey_names_modules_and_values_that_there_are(title):
    table = rows(section("architecture", title))
    modules = {name for _, names, _ in table for name in re.findall(r"`([\w.]+)`", names)}
    files = {name: ROOT / "tixd" / f"{name.replace('.', '/')}.py" for name in modules}
    assert {name for name, path in files.items() if not path.exists()} == set()
    values = {name for _, _, out in table for name in re.findall(r"`([A-Z]\w+)`", out)}
    assert {name for name in values if f"class {name}" not in CODE} == set()


def test_what_was_renamed_is_gone_and_has_the_name_that_is_told():
    pairs = rows(page("changes").partition("### Renamed before the release\n")[2])
    pairs = [pair for pair in pairs if pair[0].startswith("event ")]
    then, now = (
        {word for pair in pairs for word in re.findall(r"Tixd\w+|[a-z]+_[a-z_]+", pair[n])}
        for n in (0, 1)
    )
    known = logged_events().keys() | {rule["alert"] for rule in alerts()}
    assert len(now) == len(then) >= 10
    assert then & known == set()
    assert sorted(now - known) == []
