"""Every page in a real browser: narrow and wide, light and dark, with and without JavaScript.

The pages are those of the table in tixd/page/pages.py: a new one is looked at here by itself.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import NARROW, WIDE, Look, chromium, looking
from tests.support.filled_history import Filling, fill, records
from tests.support.histories import PARTS
from tests.support.page_host import hosting, states, well
from tests.support.program import until
from tixd.history import store
from tixd.history.cycles import Cycle
from tixd.page import pages

#: What stands for a parameter of a path.
PARAMETERS = {"user:int": "1", "installation:int": "1"}

PROCESSING = [page.path for page in pages.of_role("standalone")]

COLLECTING = [page.path for page in pages.of_role("collector")]

#: Two ways to look that differ in everything, and all of them.
TWO = ((NARROW, "dark", True), (WIDE, "light", False))
ALL = tuple(itertools.product((NARROW, WIDE), ("light", "dark"), (True, False)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The history of a quarter of a day of 40 lines."""
    return filled(tmp_path_factory.mktemp("everywhere"), 40, 0.25)


def address(path: str) -> str:
    """A page's path with something in place of its parameters."""
    return re.sub(r"\{(.*?)\}", lambda found: PARAMETERS.get(found[1], "probe"), path)


def filled(folder: Path, installations: int, days: float) -> str:
    """A history of so many installations that ends now."""
    path = folder / f"{installations}.sqlite"
    fill(path, installations=installations, days=days, end=time.time())
    return str(path)


@contextlib.contextmanager
def arriving(path: str, installations: int) -> Iterator[None]:
    """Results of one cycle after the other come into the history while the block runs."""
    ended = threading.Event()
    cycles, results = PARTS
    filling = Filling(installations=installations, end=time.time())

    def write() -> None:
        with contextlib.closing(store.open_for_writing(path, PARTS)) as history:
            number = 10_000
            while not ended.wait(0.2):
                number += 1
                with store.transaction(history):
                    cycles.write(history, [Cycle(time.time(), number, 0.1, installations)])
                    results.write(history, list(records(filling, time.time() - 600)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def check(look: Look, host: str, *, script: bool) -> None:
    """What must be so on every page, however it is looked at."""
    assert not look.overflows()
    assert look.complaints == []
    assert look.asked == {host}
    if script:
        assert look.findings() == []


@pytest.mark.parametrize("path", PROCESSING)
def test_every_page_is_whole_and_usable_while_results_arrive(browser, path, file):
    with hosting(well(file)) as host, arriving(file, 40):
        for width, scheme, script in TWO:
            url = f"http://{host.address}{address(path)}"
            with looking(browser, url, width=width, scheme=scheme, script=script) as look:
                check(look, host.address, script=script)


@pytest.mark.parametrize("path", COLLECTING)
def test_every_page_of_a_collector_is_whole_and_usable(browser, path):
    with hosting(states("")["collector"]) as host:
        for width, scheme, script in TWO:
            url = f"http://{host.address}{address(path)}"
            with looking(browser, url, width=width, scheme=scheme, script=script) as look:
                check(look, host.address, script=script)


@pytest.mark.long
@pytest.mark.parametrize("installations", [0, 1, 10_000])
def test_every_page_in_every_way_with_none_one_and_ten_thousand(browser, tmp_path, installations):
    file = filled(tmp_path, installations, 0.1)
    paths = [path for path in PROCESSING if installations or "{" not in path]
    with hosting(well(file)) as host, arriving(file, min(installations, 100)):
        for path, (width, scheme, script) in itertools.product(paths, ALL):
            url = f"http://{host.address}{address(path)}"
            with looking(browser, url, width=width, scheme=scheme, script=script) as look:
                check(look, host.address, script=script)


def test_an_open_page_refreshes_itself_and_keeps_focus_and_scroll(browser, tmp_path):
    file = filled(tmp_path, 3, 0.2)
    with hosting(well(file)) as host, looking(browser, f"http://{host.address}/cycles") as look:
        first = look.page.locator("tbody tr").first.inner_text()
        look.page.locator(".scroll").focus()
        look.page.evaluate("window.scrollTo(0, 150)")
        with arriving(file, 3):
            until(lambda: look.page.locator("tbody tr").first.inner_text() != first)
        assert look.page.evaluate("document.activeElement.className") == "scroll"
        assert look.page.evaluate("window.scrollY") == 150
        assert look.complaints == []


@pytest.mark.long
def test_an_open_page_says_that_tixd_is_away_and_goes_on_when_it_is_back(browser, tmp_path):
    with (
        hosting(well(filled(tmp_path, 3, 0.1))) as host,
        looking(browser, f"http://{host.address}/") as look,
    ):
        look.page.route("**/*", lambda route: route.abort())
        told = look.page.locator("#refresh")
        until(lambda: "tixd does not answer" in told.inner_text())
        look.page.unroute("**/*")
        until(lambda: told.inner_text() == "")
        assert "Well" in look.text()


def test_the_value_of_a_chart_is_shown_under_the_pointer(browser, tmp_path):
    with (
        hosting(well(filled(tmp_path, 20, 1.0))) as host,
        looking(browser, f"http://{host.address}/") as look,
    ):

        def is_shown() -> bool:
            look.page.mouse.move(0, 0)  # a refresh takes the value away until the pointer moves
            chart = look.page.locator(".chart svg").first.bounding_box()
            assert chart
            look.page.mouse.move(chart["x"] + chart["width"] / 2, chart["y"] + chart["height"] / 2)
            return "windows a minute" in look.page.locator(".chart .value").inner_text()

        until(is_shown)
