"""Tables of `tixd analyze` and texts of `tixd explain` in real terminals of four widths."""

from __future__ import annotations

import functools
import re

import pytest

from tests.support.chosen import few
from tests.support.made import START, lay_out, made_reports, member, pack
from tests.support.manual_pages import section
from tests.support.tables import table
from tests.support.terminal import WIDTHS, Screen, screen

#: What a researcher asks for.
QUESTIONS = {
    "results": [],
    "both": ["--estimator", "both"],
    "probes": ["--estimator", "delayed-probes"],
    "truth": ["--truth", "inside"],
    "by AS": ["--by-as"],
}

TRUTH = f"connection_speed: 200\nexperiment: [{{start: {START}, speed: 100, lapse: 1300}}]\n"

#: A usage, quality or Hurst estimate with its marks, of which two decimals are shown.
VALUE = re.compile(r"(?<![\d.±])-?\d\.\d\d(?!\d)")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an archive of two installations, two windows each, of a clock that is set."""
    folder = tmp_path_factory.mktemp("research")
    files = made_reports("181.165.116.94", client_steps=((600.0, 0.05),))
    members = [member(f"{n}/{name}", content) for n in (1505082912, 7) for name, content in files]
    members.append(member("description.yml", TRUTH.encode()))
    pack(folder / "batch-test-report.tar.gz", members)
    lay_out(folder / "tables", [])
    table(folder / "tables" / "asn.mmdb")
    return folder


@pytest.fixture(scope="module")
def asked(place):
    """What a terminal shows for a question; asked once for each width."""

    @functools.cache
    def ask(question: str, columns: int) -> Screen:
        environment = {"TIX_ASN_TABLE": str(place / "tables" / "asn.mmdb")}
        words = ("analyze", *QUESTIONS[question], "batch-test-report.tar.gz")
        return screen(*words, columns=columns, cwd=place, environment=environment)

    return ask


@pytest.mark.parametrize("columns", few(WIDTHS, 60, 200))
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_table_has_one_heading_and_breaks_no_word(asked, question, columns):
    seen = asked(question, columns)
    assert (seen.code, seen.faults) == (0, [])
    assert max(map(len, seen.lines)) <= columns, seen.text
    shown = " ".join(" ".join(seen.lines).split())
    assert shown.count("H wav." if question != "truth" else " truth ") in (1, 2)
    assert shown.count("batch-test-report.tar.gz") == (question != "by AS")
    assert shown.count("AS7303 Telecom Argentina S.A.") >= 1
    if question != "truth":
        values = 8 * (1 if question == "by AS" else 4)
        assert len(VALUE.findall(shown)) >= values


@pytest.mark.parametrize("columns", few(WIDTHS, 60, 200))
def test_rows_of_one_folder_stand_below_its_name_with_their_ten_minutes(asked, columns):
    lines = asked("results", columns).lines
    first = next(line for line in lines if re.match(r"(1505082912|7) ", line))
    assert re.search(r" 22:\d\d ", first)
    assert sum(line.startswith("1505082912 ") for line in lines) == 1
    assert any(re.match(r"2023-11-14 \(UTC\), from 181\.165\.116\.94, AS7303", s) for s in lines)
    assert sum(bool(re.search(r"\b22:\d\d\b", line)) for line in lines) == 4
    rows = 8 if columns == 60 else 4
    assert sum("clock-set" in line for line in lines) == rows + 1, "each row, and what it means"


def test_the_wide_form_has_counts_and_widths_and_the_narrow_one_a_row_each_way(asked):
    wide, compact, narrow = (asked("probes", columns).lines for columns in (120, 80, 60))
    assert "±" in "".join(wide)
    assert "obs." in wide[1]
    assert "up" in compact[0]
    assert "obs." not in compact[1]
    assert "way" in narrow[1]
    assert sum(" down " in line for line in narrow) == 4


@pytest.mark.parametrize("words", [("explain",), ("explain", "wavelet"), ("manual",)])
def test_explanations_break_no_word_on_the_narrowest_terminal(words):
    seen = screen(*words, columns=60)
    assert (seen.code, seen.faults) == (0, [])
    assert len(seen.lines) > 10


def test_the_example_in_the_manual_is_what_a_terminal_shows(tmp_path):
    block = section("start", "One result explained").split("```\n")[1]
    _, simulate, analyze = block.replace("\\\n", "").split("$ tixd ")
    screen(*simulate.replace("/tmp/line", "line").split(), cwd=tmp_path)
    words, *table_lines = analyze.replace("/tmp/line", "line").splitlines()
    seen = screen(*words.split(), cwd=tmp_path)
    assert seen.lines[: len(table_lines)] == table_lines
    readme = section("README", "One result").split("```\n")[1].splitlines()
    assert [line.split()[-9:] for line in readme] == [
        line.split()[-9:] for line in (*table_lines[:2], table_lines[5])
    ]
