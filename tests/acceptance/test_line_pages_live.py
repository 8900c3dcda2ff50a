"""The pages of the lines of a running service, in a real browser, beside what the tix-api got."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support import made, tables
from tests.support.browser import NARROW, WIDE, chromium, looking
from tests.support.filled_history import Filling, fill
from tests.support.histories import PARTS, told
from tests.support.program import ROOT, TIXD, environment, until
from tests.support.service import Service, service
from tests.support.spreadsheet import formulas
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.history import store

#: What the provider of the addresses calls itself, and what answers in place of the tix-api say.
NAME = '<script>alert(1)</script>=HYPERLINK("http://evil.example")<img src=x onerror=alert(2)>'
REASON = (
    '=HYPERLINK("http://evil.example","x")<script>alert(3)</script>\x1b[31m\u202ered' + "x" * 65_536
)

#: Reports of an installation, a minute each: enough for two windows.
REPORTS = 28


#: What each page shows of them, as text.
SHOWN = {
    "/installations": NAME,
    "/installations/7/1": '=HYPERLINK("http://evil.example","x")<script>alert(3)</script>',
    "/as": NAME,
    "/failed": "HTTP 400 Bad Request",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@dataclass(frozen=True, slots=True)
class Run:
    """A service that has worked off all reports, and the API that it posted to."""

    daemon: Service
    api: StandInApi
    base: Path

    def told(self, path: str) -> dict[str, Any]:
        status, text = self.daemon.get(path)
        assert status == 200, text
        return dict(json.loads(text))


def lie(base: Path, user: int, number: int) -> None:
    """Reports of the last half hour from an address whose provider has that name."""
    folder = base / str(user) / str(number)
    folder.mkdir(parents=True)
    begin = int(time.time()) - REPORTS * 60
    for second in range(begin, begin + REPORTS * 60, 60):
        ids = {"userId": user, "installationId": number}
        content = made.minute(second, source="8.8.8.8:4501", **ids)
        (folder / f"tix-report-{second}.json").write_bytes(content)
    made.lively(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Seven installations, the last one of which is refused by the tix-api, in hostile words."""
    folder = tmp_path_factory.mktemp("lines")
    base = folder / "base"
    table = tables.table(folder / "as.mmdb", "8.8.8.0/24 64500\n", f"64500\t{NAME}\n")
    for user in range(1, 8):
        lie(base, user, 1)
    with StandInApi(user="tix", password="secret") as api:
        refused = Behaviour(400, body=REASON.encode())
        api.answer(lambda user, *_: refused if user == 7 else Behaviour())
        with service(base, folder, api.port, TIX_ASN_TABLE=str(table)) as daemon:
            until(lambda: len(api.accepted) == 12)
            found = Run(daemon, api, base)
            until(lambda: len(found.told("/failed.json")["rows"]) == 1)
            until(lambda: len(found.told("/as.json")["rows"]) == 1)
            until(lambda: daemon.told()["history"]["written"] >= 7 + 2)  # jobs; the cycle, twice
            yield found


def test_each_number_on_the_pages_is_what_the_tix_api_got(run):
    for user in range(1, 7):
        posted = {p.body["timestamp"]: p.body for p in run.api.accepted if p.user == user}
        rows = run.told(f"/installations/{user}/1.json")["rows"]
        assert [row["timestamp_at"] for row in rows] == sorted(posted, reverse=True)
        for row in rows:
            body = posted[row["timestamp_at"]]
            for name, member in (("usage", "Usage"), ("quality", "Quality")):
                assert row[f"up_{name}"] == pytest.approx(body[f"up{member}"], abs=5.1e-5)
                assert row[f"down_{name}"] == pytest.approx(body[f"down{member}"], abs=5.1e-5)
            for name, member in (("hurst_rs", "Rs"), ("hurst_wavelet", "Wavelet")):
                assert row[f"up_{name}"] == pytest.approx(body[f"hurstUp{member}"], abs=5.1e-5)
                assert row[f"down_{name}"] == pytest.approx(body[f"hurstDown{member}"], abs=5.1e-5)


def test_people_see_the_numbers_of_json_in_the_browser(run, browser):
    rows = run.told("/installations/1/1.json")["rows"]
    with looking(browser, f"http://{run.daemon.http}/installations/1/1", script=False) as look:
        shown = look.page.locator("[data-live=windows] tbody tr").all()
        cells = [row.locator("td").all_inner_texts() for row in shown]
    numbers = [
        f"{direction}_{name}" for name in ("usage", "quality") for direction in ("down", "up")
    ]
    assert [line[2:6] for line in cells] == [[f"{row[n]:.2f}" for n in numbers] for row in rows]


@pytest.mark.parametrize("path", SHOWN)
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_hostile_names_and_reasons_run_nothing_and_are_shown(run, browser, path, script):
    dialogs: list[str] = []
    with looking(browser, f"http://{run.daemon.http}{path}", script=script) as look:
        look.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        look.page.reload()
        scripts = look.page.locator("script").evaluate_all("all => all.map(one => one.src)")
        assert scripts == [f"http://{run.daemon.http}/static/page.js"]
        assert look.page.locator("img").count() == 0
        assert SHOWN[path] in look.text()
        assert look.asked == {run.daemon.http}
    assert dialogs == []


@pytest.mark.parametrize("path", SHOWN)
def test_no_cell_of_csv_is_a_formula_and_nothing_hidden_is_in_any_form(run, path):
    status, text = run.daemon.get(f"{path}.csv")
    assert status == 200
    assert formulas(text) == []
    for form in ("", ".json", ".csv"):
        body = run.daemon.get(f"{path}{form}")[1]
        assert not {"\x1b", "\u202e"} & {*body}
        assert "x" * 1000 not in body


@pytest.mark.parametrize("words", [("installations",), ("why", "7/1"), ("failed", "list")])
def test_the_terminal_shows_them_as_harmlessly(run, words):
    env = environment(run.base, run.api.port) | {
        name: run.daemon.env[name] for name in ("CELERY_BEAT_SCHEDULE_DIR", "RUNTIME_DIRECTORY")
    }
    done = subprocess.run([*TIXD, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\u202e"} & {*done.stdout}
    assert "x" * 1000 not in done.stdout


def test_the_value_under_the_pointer_is_shown_below_the_chart(run, browser):
    row = run.told("/installations/1/1.json")["rows"][0]
    with looking(browser, f"http://{run.daemon.http}/installations/1/1") as look:
        chart = look.page.locator(".chart").first

        def is_shown() -> bool:
            look.page.mouse.move(0, 0)  # a refresh takes the value away until the pointer moves
            chart.locator(".field").last.hover()
            return f"down {row['down_usage']:.2f}" in chart.locator("p.value").inner_text()

        until(is_shown)


def test_results_that_arrive_appear_without_a_reload_and_leave_the_place_of_the_reader(
    run, browser
):
    with looking(browser, f"http://{run.daemon.http}/installations?sort=result") as look:
        look.page.evaluate("window.stays = true")
        look.page.locator("#search").fill("7/")
        file = run.daemon.status()["history"]["file"]
        with (
            contextlib.closing(store.open_for_writing(file, PARTS)) as history,
            store.transaction(history),
        ):
            PARTS[1].write(history, [told(int(time.time()), user=99, at=time.time())])
        look.page.locator("[data-live=list]").get_by_role("link", name="99/2").wait_for()
        assert look.page.evaluate("window.stays")
        assert look.page.locator("#search").input_value() == "7/"
        assert look.complaints == []


# --- how they look -------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[1, *(pytest.param(count, marks=pytest.mark.long) for count in (0, 10_000))],
)
def filled(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[Service]:
    """A service whose history has so many installations, most of them with a few results."""
    folder = tmp_path_factory.mktemp("filled")
    (folder / "base").mkdir()
    file = folder / "h.sqlite"
    days = 0.02 if request.param > 1000 else 2.0
    fill(file, Filling(request.param, days, time.time()))
    with (
        StandInApi(user="tix", password="secret") as api,
        service(folder / "base", folder, api.port, TIX_HISTORY=str(file)) as daemon,
    ):
        daemon.runs()
        yield daemon


@pytest.mark.long  # test_page_everywhere.py looks at each page in every run
@pytest.mark.parametrize("path", [*SHOWN, "/installations/1/1", "/words"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_of_any_length_fits_and_axe_finds_nothing_grave(filled, browser, path, scheme):
    for width in (NARROW, WIDE):
        with looking(browser, f"http://{filled.http}{path}", width=width, scheme=scheme) as look:
            assert not look.overflows()
            assert look.findings() == []
            assert look.asked == {filled.http}
            is_known = not path.startswith("/installations/") or filled.get(path)[0] == 200
            assert look.complaints == [] or not is_known
