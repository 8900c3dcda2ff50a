"""`tixd explain`: every word that a table, CSV or JSON shows leads to a section of the glossary."""

from __future__ import annotations

import os
import re

import pytest
from click.testing import CliRunner, Result

from tests.support.manual_pages import page
from tixd.commands import compare_truth, explain, window_tables
from tixd.commands.manual import without_comments
from tixd.commands.window_values import (
    AGREEMENT_MEMBERS,
    CSV_COLUMNS,
    SURE,
    WAY_MEMBERS,
    WINDOW_MEMBERS,
)


def run(*words: str) -> Result:
    """The command to its end."""
    return CliRunner().invoke(explain.command, words)


def test_without_a_word_all_words_are_listed_with_their_meaning():
    lines = run().stdout.splitlines()
    assert lines[::2] == [title.lower() for title in explain.sections()]
    assert [line for line in lines[1::2] if not re.fullmatch(r"    [A-Z].{20,}\.", line)] == []


@pytest.mark.parametrize("title", explain.sections())
def test_a_section_is_printed_as_the_glossary_has_it(title):
    done = run(title.lower())
    assert done.exit_code == 0
    assert done.stdout in without_comments(page("glossary"))
    assert "<!--" not in done.stdout
    assert done.stdout.startswith(f"## {title}\n")


#: Words of JSON and CSV that say themselves what they are.
PLAIN = {"type", "windows"}

SHOWN = {
    *(name.rpartition(".")[2] for name in (*WINDOW_MEMBERS, *WAY_MEMBERS, *AGREEMENT_MEMBERS)),
    *CSV_COLUMNS,
    *(set(SURE) - {"yes"}),
    *(window_tables.OUTSIDE, window_tables.UNSTEADY, window_tables.DISPUTED, "±"),
    *(*window_tables.VALUE_HEADINGS, *compare_truth._HEADINGS),
    *("folder", "10 min until", "until", "way", "sure", "rep.", "obs.", "from", "AS"),
}


@pytest.mark.parametrize("word", sorted(SHOWN - PLAIN))
def test_every_word_that_is_shown_is_explained(word):
    done = run(*word.split())
    assert done.exit_code == 0, done.output


def test_no_word_leads_to_two_sections():
    words = [w for s in explain.sections().values() for w in explain.other_words(s)]
    titles = {title.lower() for title in explain.sections()}
    assert len({word.lower() for word in words} | titles) == len(words) + len(titles)


def test_an_unknown_word_is_answered_with_the_nearest_one():
    done = run("qualty")
    assert done.exit_code == 2
    assert 'no word "qualty"; did you mean "quality"? The words are Window,' in done.output


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("window", "about 18 minutes"),
        ("qual", "1 is good, 0 is bad"),
        ("timestamp", "the values are of the ten minutes that end there"),
        ("usage", "0 is idle, 1 is full"),
        ("quality", "seem to run against each other"),
        ("wavelet", "may exceed 1, because it is a slope"),
        ("±", "95 of 100 readings were nearer"),
        ("Hurst  exponent", "may exceed 1, because it is a slope"),
        (os.path.expanduser("~"), "marks the direction that is unsteady"),
        ("down_usage_raw", "0 is idle, 1 is full"),
    ],
)
def test_the_questions_that_researchers_ask_are_answered(word, answer):
    assert answer in run(word).stdout.replace("\n", " ")
