"""`tixd manual`: the list of pages, one page, and the nearest one to a name that is none."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tixd.commands import manual
from tixd.commands.manual import PAGES, command, first_sentence, fitted, rendered, text

FOLDER = Path(__file__).parents[3] / "tixd" / "manual"


def run(*arguments: str) -> Result:
    """The command to its end."""
    return CliRunner().invoke(command, arguments)


def test_every_file_of_the_manual_is_a_page_that_can_be_shown_or_a_picture_of_one():
    texts = "".join(text(page) for page in PAGES)
    pictures = set(re.findall(r"!\[[^\]]+\]\(([\w-]+\.png)\)", texts))
    assert {file.name for file in FOLDER.iterdir()} == {f"{page}.md" for page in PAGES} | pictures


def test_a_picture_is_small_and_is_told_of_in_a_terminal():
    for picture in FOLDER.glob("*.png"):
        assert picture.stat().st_size < 150_000
    shown = rendered("# Page\n\nSee:\n\n![What is there](page.png)\n")
    assert "(Picture: What is there, page.png.)" in shown


def test_the_list_names_every_page_with_its_first_sentence():
    lines = run().stdout.splitlines()
    assert lines[::2] == list(PAGES)
    assert lines[1::2] == [f"    {first_sentence(text(page))}" for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_with_its_title_and_a_sentence_for_the_list(page):
    title, sentence = text(page).split("\n\n")[:2]
    assert title.startswith("# ")
    assert len(first_sentence(f"{title}\n\n{sentence}")) <= 100
    assert sentence.endswith(".")


@pytest.mark.parametrize("name", ["settings", "settings.md"])
def test_a_page_is_printed_without_comments_where_no_terminal_is(name):
    done = run(name)
    lines = (FOLDER / "settings.md").read_text().splitlines(keepends=True)
    expected = "".join(line for line in lines if not line.startswith("<!--"))
    assert (done.exit_code, done.stdout) == (0, expected)
    assert expected != "".join(lines)


def test_a_page_is_rendered_for_a_terminal_and_shown_through_a_pager(monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(manual.click, "echo_via_pager", lambda text, **_: shown.append(text))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    manual.command.callback("settings")
    [text] = shown
    assert "TIX_REPORTS_BASE_PATH" in text
    assert "<!--" not in text
    assert "| ---" not in text


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("page", PAGES)
def test_no_word_is_cut_on_a_narrow_terminal(monkeypatch, page, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert rendered(text(page)).count("…") <= text(page).count("…")


def test_a_table_that_does_not_fit_becomes_a_list():
    table = "| key | default | meaning |\n| --- | --- | --- |\n| `a` |  | this\\|that |\n"
    assert fitted(f"One.\n\n{table}\nTwo.\n", 30) == f"One.\n\n{table}\nTwo.\n"
    listed = "- `a`\n  - meaning: this|that\n"
    assert fitted(f"One.\n\n{table}\nTwo.\n", 20) == f"One.\n\n{listed}\nTwo.\n"


def test_an_unknown_page_is_answered_with_the_nearest_and_the_list():
    done = run("setings")
    assert done.exit_code == 2
    assert 'no page "setings"; did you mean "settings"?' in done.output
    assert all(page in done.output for page in PAGES)
