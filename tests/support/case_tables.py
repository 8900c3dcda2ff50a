"""The tables of the manual's page on cases: what tests and soaks have shown, and what makes more.

`pytest tests/faults --record-cases` notes the outcome of each test in tests/data/cases.json;
`python -m tests.support.case_tables FILE` puts the figures of a soak, which it has written as JSON,
into tests/data/soak.json. `python -m tests.support.manual_tables` makes the tables out of both.
"""

from __future__ import annotations

import ast
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.manual_pages import ROOT

#: What was noted of tests, and of the last long soak.
CASES, SOAK = ROOT / "tests/data/cases.json", ROOT / "tests/data/soak.json"

#: Longest figures of a row, characters.
MAX_FIGURES = 160

sys.path.append(str(ROOT / "scripts"))  # where the soak's package lies


#: A test of each row of the project's list of faults; a row may have more tests than this one.
TESTS: dict[str, str] = {
    "faults 1": "test_workers_die::kill_9_in_mid_analysis_loses_nothing",
    "faults 2": "test_killed_anywhere::a_kill_between_the_answer_and_the_journal",
    "faults 3": "test_rabbitmq_in_hand::eight_messages_of_a_killed_host",
    "faults 4": "test_service_leader::a_parent_killed_in_mid_scan",
    "faults 5": "test_rabbitmq_in_hand::a_second_dispatcher_takes_over",
    "faults 6": "test_workers_die::a_frozen_worker_is_killed_at_the_limit",
    "faults 7": "test_service_leader::a_stopped_parent_feeds_no_watchdog",
    "faults 8": "test_workers_die::a_window_that_crashes_its_worker_three_times",
    "faults 9": "test_service_stop::a_signal_ends_it_after_the_windows_in_hand",
    "faults 10": "test_service_time::cycles_longer_than_the_period",
    "faults 11": "test_service_time::a_wall_clock_that_jumps",
    "faults 12": "test_bad_input::a_young_report_is_waited_for",
    "faults 13": "test_bad_input::an_unusable_report_is_set_aside",
    "faults 14": "test_bad_input::odd_but_lawful_reports",
    "faults 15": "test_bad_input::links_pipes_sockets_and_odd_names",
    "faults 16": "test_many_and_large::20_000_reports_in_one_folder",
    "faults 17": "test_service_volume::a_full_volume",
    "faults 18": "test_service_volume::a_volume_that_hangs_holds_up_nobody",
    "faults 19": "test_killed_anywhere::a_kill_at_200_points",
    "faults 20": "test_api_faults::a_service_tries_a_dead_tix_api",
    "faults 21": "test_api_faults::what_the_tix_api_does_not_take",
    "faults 22": "test_api_faults::a_tix_api_that_never_answers",
    "faults 23": "test_repost::twenty_cycles_without_an_api",
    "faults 24": "test_rabbitmq_hosts::nothing_is_lost_whatever_happens",
    "faults 25": "test_rabbitmq_away::ninety_seconds_of_silence",
    "faults 26": "test_rabbitmq_in_hand::a_job_longer_than_the_consumers_timeout",
    "faults 27": "test_rabbitmq_queues::rights_that_are_withdrawn",
    "faults 28": "test_rabbitmq_queues::what_is_no_job_lies_among_the_dead",
    "faults 29": "test_collector_broker::a_killed_broker_costs_no_record",
    "faults 30": "test_collector_broker::an_alarm_of_the_broker",
    "faults 31": "test_collector_broker::one_confirm_of_a_hundred_withheld",
    "faults 32": "test_collector_broker::a_killed_collector_loses_nothing",
    "faults 33": "test_collector_senders::hostile_bundles_are_refused_soon",
    "faults 34": "test_collector_senders::a_good_sender_is_served_while_500",
    "G1": "test_hostile_bundles::a_hostile_bundle_is_refused_soon",
    "G2": "test_journal::nothing_is_posted_where_the_journal",
    "G3": "test_many_and_large::reports_with_endless_addresses",
    "G4": "test_one_bad_file::an_odd_file_holds_up_no_window",
    "G5": "test_long_texts_collector::a_long_text_from_a_sender",
    "G6": "test_collector_floods::many_small_bodies_that_stall",
    "G7": "test_service_time::a_host_whose_clock_differs",
    "G8": "test_workers_die::lack_of_memory_is_never_blamed",
    "G9": "test_decode::every_source_that_is_decoded_can_be_stored",
    "G10": "test_removed_files::workers_are_replaced_and_questions_answered",
    "G11": "test_client::answers_before_the_answer_are_passed_over",
    "G12": "test_http_server::nothing_is_kept_of_connections_that_have_ended",
    "G13": "test_few_descriptors::running_out_of_descriptors",
    "G14": "test_long_texts_processing::a_long_text_in_each_variable",
}


def _cell(text: str) -> str:
    """A text that stands in a cell."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return plain if len(plain) <= MAX_FIGURES else f"{plain[: MAX_FIGURES - 1]}…"


def _table(*rows: tuple[object, ...]) -> str:
    head, *rest = ([_cell(str(cell)) for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stored(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}


def cases() -> Iterator[tuple[str, str]]:
    """Module and name of each test of tests/faults, in their order."""
    for path in sorted((ROOT / "tests/faults").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.name.startswith("test_"):
                yield path.stem, node.name


def case_table() -> str:
    """Every case of tests/faults: what it shows, how many variants passed, figures, date."""
    stored = _stored(CASES)
    rows: list[tuple[object, ...]] = [("case", "test", "passed", "figures", "date")]
    for module, name in cases():
        seen = stored.get(f"{module}::{name}", {})
        words = name.removeprefix("test_").replace("_", " ")
        told = (seen.get("passed", ""), seen.get("figures", ""), seen.get("date", ""))
        rows.append((words, f"`{module}`", *told))
    return _table(*rows)


def kind_table() -> str:
    """Every kind of fault, and what makes new members of it."""
    from soaking.kinds import KINDS, generators

    made = generators()
    rows = (
        (name, what, ", ".join(made[name][:4]), TESTS.get(name, "").partition("::")[0])
        for name, what in KINDS.items()
    )
    return _table(("kind", "what it is about", "made by", "first test"), *rows)


def soak_ledgers() -> str:
    """What came out of the last long soak."""
    rows: list[tuple[object, ...]] = [
        ("role", "ledger", "sent", "lost", "repeated", "without an answer", "held back", "at end")
    ]
    for report in _stored(SOAK) or []:
        for one in report["accounts"]:
            names = ("sent", "lost", "repeated", "unanswered", "held_back", "held_at_end")
            rows.append((report["role"], one["of"], *(one[name] for name in names)))
    return _table(*rows)


def soak_faults() -> str:
    """Every fault of the last long soak, over all roles."""
    rows: list[tuple[object, ...]] = [("role", "fault", "acted", "done", "proof of the last one")]
    for report in _stored(SOAK) or []:
        for name, one in report["faults"].items():
            rows.append((report["role"], name, one["acted"], one["done"], one["proof"]))
    return _table(*rows)


def soak_processes() -> str:
    """Memory, descriptors and threads of the longest life of each process of the last long soak."""
    rows: list[tuple[object, ...]] = [
        ("role", "process", "minutes", "RSS MB", "descriptors", "threads")
    ]
    for report in _stored(SOAK) or []:
        for one in report["processes"]:
            pairs = (f"{a} -> {b}" for a, b in (one["rss_mb"], one["descriptors"], one["threads"]))
            rows.append((report["role"], one["kind"], one["minutes"], *pairs))
    return _table(*rows)


def soak_facts() -> str:
    """When and how the last long soak was run."""
    reports = _stored(SOAK)
    if not reports:
        return "No soak was recorded yet."
    one = reports[0]
    broken = [f"- {r['role']}: {_cell(problem)}" for r in reports for problem in r["broken"]]
    found = (
        ["", "It called these broken:", "", *broken] if broken else ["It called nothing broken."]
    )
    facts = (
        f"Begun {one['begun']} UTC, {one['minutes']:g} minutes of each role at once, on two cores"
        f" that did other work too: `scripts/soak {one['minutes']:g} --seed {one['seed']}`."
    )
    return "\n".join([facts, *found])


def shortened(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the manual keeps of a soak's figures."""
    kept = []
    for report in reports:
        lives: dict[str, dict[str, Any]] = {}
        for life in report["growths"]:
            lives.setdefault(life["kind"], life)
            lives[life["kind"]] = max(lives[life["kind"]], life, key=lambda one: one["looks"])
        names = ("role", "seed", "minutes", "begun", "accounts", "faults", "broken")
        processes = [life | {"minutes": round(life["looks"] / 20)} for life in lives.values()]
        kept.append({name: report[name] for name in names} | {"processes": processes})
    return kept


class Recorder:
    """A plugin of pytest that notes how the tests of tests/faults went."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that has passed, and the last line that it has printed."""
        path, _, name = report.nodeid.partition("[")[0].partition(".py::")  # a parameter may hold /
        key = f"{path.rpartition('/')[2]}::{name}"
        if report.when != "call" or "tests/faults/" not in report.nodeid or not report.passed:
            return
        one = self._seen.setdefault(key, {"passed": 0, "figures": ""})
        one["passed"] += 1
        one["date"] = time.strftime("%Y-%m-%d")
        if lines := report.capstdout.strip().splitlines():
            one["figures"] = lines[-1][:MAX_FIGURES]

    def pytest_sessionfinish(self) -> None:
        """Add what was seen to what was noted before."""
        if self._seen:
            noted = dict(sorted((_stored(CASES) | self._seen).items()))
            CASES.write_text(json.dumps(noted, indent=1) + "\n")


if __name__ == "__main__":
    reports = json.loads(Path(sys.argv[1]).read_text())
    SOAK.write_text(json.dumps(shortened(reports), indent=1) + "\n")
