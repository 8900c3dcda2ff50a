"""The history of a running service: what jobs did is in its file, which is never in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.histories import rows
from tests.support.ledger import at_api
from tests.support.program import until
from tests.support.service import SHORT, Service, service
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.commands.status import page

START = 1_700_000_000

#: Longer ago than the made reports.
DAYS = {"TIX_HISTORY_DAYS": "36500"}


@pytest.fixture
def api() -> Iterator[StandInApi]:
    with StandInApi(user="tix", password="secret") as server:
        yield server


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "schedule" / "history.sqlite"


def told(daemon: Service, name: str) -> object:
    """What its status says of this count in the history."""
    return (daemon.status().get("history") or {}).get("summary", {}).get(name)


@pytest.fixture
def after_a_cycle(tmp_path: Path, base: Path, api: StandInApi) -> Path:
    """The history of three installations with two windows each, one of them with a bad report."""
    for user in (1, 2, 3):
        made.installation(base, START, 28, user=user)
    bad = base / "2" / "2" / "tix-report-1690000000.json"
    bad.write_text("[]")
    os.utime(bad, (START, START))
    made.lively(bad.parent)
    with service(base, tmp_path, api.port, **DAYS) as daemon:
        until(lambda: len(api.accepted) == 6)
        assert daemon.ends()[0] == 0
    return file_of(tmp_path)


def test_what_was_posted_is_in_the_history_row_by_row(after_a_cycle, api):
    found = rows(after_a_cycle, "SELECT * FROM results ORDER BY user, timestamp")
    keys = [(row["user"], row["installation"], row["timestamp"]) for row in found]
    assert keys == sorted(at_api(api))
    assert {row["outcome"] for row in found} == {"posted"}
    posted = {(p.user, p.body["timestamp"]): p.body for p in api.accepted}
    for row in found:
        body = posted[row["user"], row["timestamp"]]
        assert row["up_usage"] == pytest.approx(body["upUsage"], abs=1e-4)
        assert row["down_hurst_rs"] == pytest.approx(body["hurstDownRs"], abs=1e-4)


def test_the_state_of_each_installation_and_the_cycle_are_in_the_history(after_a_cycle):
    latest = rows(after_a_cycle, "SELECT * FROM installations ORDER BY user")
    assert [row["reports"] for row in latest] == [10, 10, 10]
    assert [row["newest"] for row in latest] == [START + 27 * 60] * 3
    assert [(row["set_aside"], row["set_aside_reason"]) for row in latest][::2] == [(0, None)] * 2
    assert latest[1]["set_aside"] == 1
    assert "not a JSON object" in latest[1]["set_aside_reason"]
    [cycle] = rows(after_a_cycle, "SELECT * FROM cycles")
    assert (cycle["installations"], cycle["jobs"], cycle["windows"]) == (3, 3, 6)


def test_results_that_are_kept_and_posted_later_are_told_with_the_words_of_the_api(
    tmp_path, base, api
):
    made.installation(base, START)
    api.answer(Behaviour(500, body=b"the database is away"))
    with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT, **DAYS) as daemon:
        until(lambda: told(daemon, "results_kept") == 1)
        assert told(daemon, "kept_first") == ["1/2"]
        assert "tixd_results_kept 1.0" in daemon.get("/metrics")[1]
        lines = [" ".join(line.split()) for line in page(daemon.told())]
        assert "kept 1 result of 1 installation: 1/2 (tixd installations)" in lines
        assert f"history {file_of(tmp_path)}" in lines
    [row] = rows(file_of(tmp_path), "SELECT * FROM results")
    assert row["outcome"] == "kept"
    assert row["words"] == "HTTP 500 Internal Server Error: the database is away"
    [latest] = rows(file_of(tmp_path), "SELECT * FROM installations")
    assert latest["kept"] == 1
    assert latest["next_try"] == 0 or latest["next_try"] >= latest["seen_at"]
    assert latest["reason"] == "HTTP 500 Internal Server Error"


@pytest.mark.parametrize("setting", ["off", "/proc/none/h.sqlite", "/dev/full/h.sqlite"])
def test_a_history_that_is_off_or_impossible_changes_nothing_else(tmp_path, base, api, setting):
    made.installation(base, START)
    with service(base, tmp_path, api.port, TIX_HISTORY=setting) as daemon:
        until(lambda: len(api.accepted) == 1)
        until(lambda: setting == "off" or daemon.log("history_unusable"))
        assert daemon.get("/readyz")[0] == 200
        assert daemon.ends()[0] == 0
    warnings = [line["event"] for line in daemon.log() if line["level"] in ("warning", "error")]
    assert warnings == ([] if setting == "off" else ["history_unusable"])
    assert not file_of(tmp_path).exists()


def test_the_file_is_in_the_state_directory_where_the_service_manager_names_one(
    tmp_path, base, api
):
    (tmp_path / "lib").mkdir()
    folders = f"{tmp_path / 'lib'}:/none"
    with service(base, tmp_path, api.port, STATE_DIRECTORY=folders) as daemon:
        until(lambda: told(daemon, "results_kept") == 0)
        assert daemon.status()["history"]["file"] == str(tmp_path / "lib" / "history.sqlite")
    assert (tmp_path / "lib" / "history.sqlite").exists()
