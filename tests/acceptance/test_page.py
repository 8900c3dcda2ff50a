"""The page of a running service: in a real browser, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support import made
from tests.support.browser import NARROW, WIDE, chromium, looking
from tests.support.program import until
from tests.support.service import Service, service
from tests.support.stand_in_api import StandInApi

START = 1_700_000_000

#: Longer ago than the made reports.
DAYS = {"TIX_HISTORY_DAYS": "36500"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has posted the two windows of each of three installations."""
    folder = tmp_path_factory.mktemp("page")
    base = folder / "base"
    for user in (1, 2, 3):
        made.installation(base, START, 28, user=user)
    with (
        StandInApi(user="tix", password="secret") as api,
        service(base, folder, api.port, **DAYS) as running,
    ):
        until(lambda: len(api.accepted) == 6)
        until(lambda: rows(running)[:1] and rows(running)[0]["windows"] == 6)
        yield running


def rows(daemon: Service) -> list[dict[str, object]]:
    """The rows of /cycles.json."""
    return list(json.loads(daemon.get("/cycles.json")[1])["rows"])


@pytest.mark.parametrize("path", ["/", pytest.param("/cycles", marks=pytest.mark.long)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_whole_at_both_widths_and_asks_nobody_else(daemon, browser, path, scheme):
    for width in (NARROW, WIDE):
        with looking(browser, f"http://{daemon.http}{path}", width=width, scheme=scheme) as look:
            assert not look.overflows()
            assert look.findings() == []
            assert look.asked == {daemon.http}
            assert look.complaints == []


def test_the_page_says_the_same_as_its_json_and_csv(daemon, browser):
    [cycle] = rows(daemon)
    assert (cycle["installations"], cycle["windows"], cycle["failures"]) == (3, 6, 0)
    [line] = csv.DictReader(daemon.get("/cycles.csv")[1].splitlines())
    assert {name: str("" if value is None else value) for name, value in cycle.items()} == line
    with looking(browser, f"http://{daemon.http}/cycles", script=False) as look:
        cells = look.page.locator("tbody td").all_inner_texts()
    assert cells[3:8] == ["3", "3", "0", "6", "0"]


def test_the_first_page_says_that_all_is_well_and_links_the_others(daemon, browser):
    with looking(browser, f"http://{daemon.http}/") as look:
        assert "Well: 0 of " in look.text()
        look.page.get_by_role("link", name="Cycles").click()
        look.page.wait_for_url("**/cycles")
        assert "Every 60000 minutes" in look.text()


def test_an_unknown_path_is_answered_with_those_that_are_here(daemon):
    status, text = daemon.get("/nowhere")
    assert status == 404
    assert '<a href="/cycles">' in text
    assert daemon.get("/static/../page.css")[0] == 404
    assert daemon.get("/static/page.css")[0] == 200
