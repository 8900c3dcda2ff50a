"""`tixd analyze --report`: one file, opened offline in a real Chromium."""

from __future__ import annotations

import itertools
import os
import re
import sys

import pytest
from click.testing import CliRunner

from tests.support.browser import NARROW, WIDE, chromium, looking
from tests.support.chosen import few
from tests.support.made import lay_out, made_reports
from tests.support.recordings import OWN, reports
from tests.support.recordings import lay_out as lay_out_recorded
from tixd.commands import Invocation, html_report
from tixd.commands.analyze import command

REPORTS = made_reports()

#: Folders whose names would do something, if they were not text.
HOSTILE = (
    "<script>document.title='x'<",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "a&lt;b",
)


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(command, words, obj=Invocation({}, None))


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Reports of four lines."""
    folder = tmp_path_factory.mktemp("own") / "lines"
    for window in list(reports(OWN))[:4]:
        lay_out_recorded(OWN, window, folder / window)
    return folder


@pytest.fixture(scope="module")
def own(tree):
    """A report of them."""
    file = tree.parent / "own.html"
    assert run("--report", file, tree).exit_code == 0
    return file


@pytest.mark.parametrize(
    ("width", "script"),
    few(itertools.product((NARROW, WIDE), (True, False)), (NARROW, True), (WIDE, False)),
)
def test_the_page_opens_offline_complains_of_nothing_and_asks_nobody(browser, own, width, script):
    with looking(browser, f"file://{own}", width=width, script=script) as seen:
        assert (seen.complaints, seen.asked, seen.overflows()) == ([], {""}, False)
        assert "4 installations, 4 windows" in seen.text()
        images = seen.page.locator("img")
        assert images.count() == 5
        if script:
            sizes = images.evaluate_all("all => all.map(each => each.naturalWidth)")
            assert min(sizes) > 500, "each picture is one that the browser can show"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_light_and_dark(browser, own, scheme):
    with looking(browser, f"file://{own}", scheme=scheme) as seen:
        assert seen.findings() == []


def test_names_of_folders_are_text_on_the_page(browser, tmp_path):
    for name in HOSTILE:
        lay_out(tmp_path / "r" / name.replace("/", ""), REPORTS[:19])
    file = tmp_path / "x.html"
    assert run("--report", file, tmp_path / "r").exit_code == 0
    with looking(browser, f"file://{file}") as seen:
        assert (seen.complaints, seen.asked) == ([], {""})
        assert seen.page.title() == "r · tixd"
        for name in HOSTILE:
            assert seen.page.get_by_role("heading", name=name, exact=True).count() == 1
        seen.page.get_by_role("link", name=HOSTILE[2], exact=True).click()
        seen.page.wait_for_url(re.compile("#i[0-9]$"))


def test_the_tables_have_the_values_that_the_terminal_has(browser, own, tree):
    lines = run(tree).stdout.splitlines()[1:]
    with looking(browser, f"file://{own}") as seen:
        for summary in seen.page.locator("summary").all():
            summary.click()
        rows = seen.page.locator("details tbody tr").all_inner_texts()
    shown = [" ".join(row.split()) for row in rows]
    assert shown == [" ".join([*line.split()[2:4], *line.split()[6:]]) for line in lines]


def test_beside_the_truth_the_page_says_how_far_off_the_estimates_are(tmp_path):
    folder = lay_out(tmp_path / "r" / "1", REPORTS).parent
    (folder / "description.yml").write_text(
        "connection_speed: 2\nexperiment: [{start: 1700000000, speed: 1, lapse: 1900}]\n"
    )
    assert run("--truth", "inside", "--report", tmp_path / "x.html", folder).exit_code == 0
    text = (tmp_path / "x.html").read_text()
    assert "Agreement with the truth" in text
    assert "<dt>truth</dt><dd>inside</dd>" in text


@pytest.mark.long
def test_more_installations_than_pictures_all_stand_in_the_table_and_the_page_says_so(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(html_report, "MAX_PICTURES", 2)
    for number in range(4):
        lay_out(tmp_path / "r" / f"line-{number}", REPORTS[:19])
    assert run("--report", tmp_path / "x.html", tmp_path / "r").exit_code == 0
    text = (tmp_path / "x.html").read_text()
    assert "Pictures are of the first 2 of 4 installations" in text
    assert (text.count("<section"), text.count('<td class="name">')) == (2, 4)
    assert "line-3" in text


def test_the_same_reports_give_the_same_page(tmp_path):
    tree = lay_out(tmp_path / "r" / "1", REPORTS)
    for name in ("a", "b"):
        assert run("--report", tmp_path / f"{name}.html", tree).exit_code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("name", ["x.svg", "x", "x.html.gz"])
def test_a_report_of_another_kind_is_refused_before_the_analysis(tmp_path, name):
    done = run("--report", tmp_path / name, lay_out(tmp_path / "r", REPORTS))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "its name must end in .html or .htm" in done.stderr


def test_where_no_window_is_found_no_page_is_written(tmp_path):
    done = run("--report", tmp_path / "x.html", lay_out(tmp_path / "r", REPORTS[:2]))
    assert str(done.exception) == f"{tmp_path}/x.html: not written: there is no window to report"
    assert os.listdir(tmp_path) == ["r"]


def test_without_matplotlib_no_report_is_made_and_a_line_says_why(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("--report", tmp_path / "x.html", lay_out(tmp_path / "r", REPORTS))
    assert "pictures need matplotlib" in str(done.exception)
