"""`tixd installations` and `tixd why` beside a ledger of what there is, and on a terminal."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.histories import PARTS, seen, told, write_all
from tests.support.program import ROOT, TIXD, environment, until
from tests.support.service import Service, service
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.terminal import WIDTHS, screen
from tests.support.volumes import without_privilege
from tixd.history import store
from tixd.history.writer import HistoryWriter, running

START = 1_700_000_000

#: Steps of a simulated day, ten minutes each.
STEPS = 144


def asked(base: Path, state: Path, *words: str, before: tuple[str, ...] = (), **more: str) -> str:
    """What a command prints whose exit code is 0."""
    env = environment(base, 1) | {"CELERY_BEAT_SCHEDULE_DIR": str(state), **more}
    env["RUNTIME_DIRECTORY"] = str(state.parent / "run")
    command = [*before, *TIXD, *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listed(base: Path, state: Path, *words: str, **more: str) -> list[dict[str, object]]:
    """The rows of `tixd installations`."""
    text = asked(base, state, "installations", *words, "--format", "json", **more)
    return [json.loads(line) for line in text.splitlines()]


# --- a day, beside a ledger ----------------------------------------------------------------------


@dataclass
class Line:
    """What the ledger knows of one installation."""

    result_at: int | None = None
    outcome: str = ""
    kept: int = 0
    set_aside: int = 0
    seen_at: int = 0


class Day:
    """A day of installations that are well, stop, are kept or send bad reports, as they like."""

    def __init__(self, count: int) -> None:
        self.lines = {(n // 3 + 1, n % 3 + 1): Line() for n in range(count)}
        self._random = random.Random(7)
        self._begin = int(time.time()) - STEPS * 600
        self._stops = {key: self._random.randrange(3 * STEPS) for key in self.lines}

    def records(self) -> Iterator[str]:
        """Yield what the jobs of the day tell, and write the ledger."""
        for step in range(STEPS):
            for key, line in self.lines.items():
                line.seen_at = at = self._begin + step * 600 + self._random.randrange(600)
                yield self._record(key, line, at, is_silent=step > self._stops[key])

    def _record(self, key: tuple[int, int], line: Line, at: int, *, is_silent: bool) -> str:
        bad = int(self._random.random() < 0.02)
        line.set_aside += bad
        job = {"user": key[0], "installation": key[1], "at": at}
        state = {"setAside": bad, "setAsideReason": "not JSON" if bad else None}
        if is_silent:
            return seen({**state, "kept": line.kept}, **job)
        line.outcome = "kept" if self._random.random() < 0.1 else "posted"
        line.kept += line.outcome == "kept"
        line.result_at = at
        return told(at - 60, line.outcome, state={**state, "kept": line.kept}, **job)

    def silent(self) -> set[tuple[int, int]]:
        """Installations without a result in the last hour."""
        hour_ago = time.time() - 3600
        return {key for key, line in self.lines.items() if (line.result_at or 0) < hour_ago}


def agrees(tmp_path: Path, count: int) -> None:
    """Let the writer write a day, then compare every row, and some paragraphs."""
    day, path = Day(count), tmp_path / "h.sqlite"

    async def run() -> None:
        async with running(HistoryWriter(str(path), PARTS, store.Limits(90.0, 2**30))) as writer:
            await write_all(writer, day.records())

    asyncio.run(run())
    rows = listed(tmp_path, tmp_path, TIX_HISTORY=str(path))
    found = {(row["user"], row["installation"]): row for row in rows}
    names = ("result_at", "kept", "set_aside", "seen_at")
    assert {key: {name: row[name] for name in names} for key, row in found.items()} == {
        key: {name: getattr(line, name) for name in names} for key, line in day.lines.items()
    }
    before = day.silent()
    told_silent = listed(tmp_path, tmp_path, "--silent", "1h", TIX_HISTORY=str(path))
    assert before <= {(row["user"], row["installation"]) for row in told_silent} <= day.silent()
    for user, installation in [*day.lines][:3]:
        line = day.lines[user, installation]
        text = asked(tmp_path, tmp_path, "why", f"{user}/{installation}", TIX_HISTORY=str(path))
        assert f"{line.kept:,} kept" in text or not line.kept
        assert f"{line.outcome}: result until" in text


def test_a_simulated_day_of_installations_agrees_with_its_ledger_row_by_row(tmp_path):
    agrees(tmp_path, 60)


@pytest.mark.long
def test_a_simulated_day_of_a_thousand_installations_agrees_with_its_ledger(tmp_path):
    agrees(tmp_path, 1000)


# --- a real service ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("host") / "base"
    found.mkdir()
    return found


@pytest.fixture(scope="module")
def state(base: Path) -> Path:
    """The schedule folder of a service that posted for user 1, keeps for 2 and set aside for 3."""
    refused = Behaviour(400, body=b"unknown installation")
    with StandInApi(user="tix", password="secret") as api:
        api.answer(lambda user, *_: refused if user == 2 else Behaviour())
        for user in (1, 2):
            made.installation(base, START, user=user)
        bad = made.installation(base, START, 5, user=3) / "tix-report-1690000000.json"
        bad.write_text("[]")
        os.utime(bad, (START, START))
        made.lively(bad.parent)
        with service(base, base.parent, api.port, TIX_HISTORY_DAYS="36500") as daemon:
            until(lambda: is_told(daemon, 3))
            assert daemon.ends()[0] == 0
    return base.parent / "schedule"


def is_told(daemon: Service, count: int) -> bool:
    """Whether the history has been told of so many jobs, and of the cycle."""
    return (daemon.status().get("history") or {}).get("written", 0) >= count + 2


def test_each_installation_has_its_row_with_what_waits_and_why(base, state):
    posted, keeps, bad = listed(base, state, "--sort", "installation")
    assert (posted["reports"], posted["kept"], posted["outcome"]) == (10, 0, "posted")
    assert (keeps["kept"], keeps["words"]) == (1, "HTTP 400 Bad Request: unknown installation")
    assert "1 kept, next try in the next cycle: HTTP 400" in keeps["state"]
    assert (bad["reports"], bad["set_aside"], bad["result_at"]) == (5, 1, None)
    late = "no report since 2023-11-14 22:17 UTC"
    assert bad["state"].startswith(f"no result yet, {late}; bad report: ")
    silent = listed(base, state, "--silent", "1h")
    assert [row["user"] for row in silent] == [3], "one that never had a result has stopped too"
    assert [row["newest"] for row in (posted, bad)] == [START + 18 * 60, START + 4 * 60]
    first = listed(base, state)[0]
    assert first["user"] == 2, "those that need attention come first"


def test_why_says_what_lies_there_and_what_a_window_takes(base, state):
    text = asked(base, state, "why", "3/2")
    assert "5 reports lie there; a window takes 1084 observations" in text
    assert "they have 300" in text
    assert "1 was set aside in bad-reports" in text
    assert "set aside: tix-report-1690000000.json: " in text
    assert "nothing is kept" in text
    kept = asked(base, state, "why", "2/2")
    assert "1 kept, next try in the next cycle: HTTP 400 Bad Request" in kept
    assert "kept: result until 2023-11-14" in kept
    told_as_json = json.loads(asked(base, state, "why", "2/2", "--format", "json"))
    assert told_as_json["events"][0]["words"].startswith("kept: ")
    assert kept.count("next try") == told_as_json["why"].count("next try") == 1


def test_without_a_history_the_folders_are_read(base, state):
    posted, keeps, bad = listed(base, state, "--sort", "installation", TIX_HISTORY="off")
    assert (posted["reports"], posted["kept"]) == (10, 0)
    assert (keeps["kept"], keeps["reason"]) == (1, "HTTP 400 Bad Request")
    assert (bad["reports"], bad["set_aside"]) == (5, 1)
    assert "last window ended" in asked(base, state, "why", "1/2", TIX_HISTORY="off")


def test_why_follows_no_link_that_tixd_does_not_follow(base, state):
    (base / "77").symlink_to(base / "1")
    text = asked(base, state, "why", "77/2", TIX_HISTORY="off")
    (base / "77").unlink()
    assert f"{base}/77: Not a directory" in text
    assert "reports lie there" not in text


def test_csv_has_a_row_for_each_with_iso_times(base, state):
    text = asked(base, state, "installations", "--format", "csv")
    rows = {row["user"]: row for row in csv.DictReader(text.splitlines())}
    assert rows["1"]["timestamp"] == "2023-11-14T22:32:19Z"
    assert rows["2"]["kept"] == "1"
    assert rows["3"]["result_at"] == ""


@pytest.mark.parametrize("columns", few(WIDTHS, 60, 200))
def test_nothing_is_cut_or_broken_within_a_word_on_a_terminal(base, state, columns):
    env = {"TIX_REPORTS_BASE_PATH": str(base), "CELERY_BEAT_SCHEDULE_DIR": str(state)}
    for words in (("installations",), ("why", "2/2"), ("why", "3/2")):
        shown = screen(*words, columns=columns, environment=env)
        assert (shown.code, shown.faults) == (0, [])


def test_what_an_operator_may_not_read_is_said_in_plain_words(base, state):
    (base / "2").chmod(0)
    text = asked(base, state, "why", "2/2", before=without_privilege())
    (base / "2").chmod(0o755)
    assert "may not read" in text
    assert "ask as root, or as tixd's user" in text
    assert "kept: result until" in text, "the history is read all the same"


def test_why_says_first_that_the_folder_is_gone(base, state):
    away = base.with_name("away")
    base.rename(away)
    try:
        whole = asked(base, state, "why", "1/2")
    finally:
        away.rename(base)
    (base / "1").rename(away)
    try:
        one = asked(base, state, "why", "1/2")
    finally:
        away.rename(base / "1")
    gone = f"the reports folder {base} is gone: mount or restore it"
    assert whole.startswith(f"installation 1/2: {gone}; known before: well\nlast result")
    gone = f"the folder {base}/1/2 is not there"
    assert one.startswith(f"installation 1/2: {gone}; known before: well\nlast result")


def test_an_installation_that_nobody_knows_is_said_so(base, state):
    env = {"TIX_REPORTS_BASE_PATH": str(base), "CELERY_BEAT_SCHEDULE_DIR": str(state)}
    for words in (("why", "9/9"), ("installations", "9")):
        shown = screen(*words, environment=env)
        assert shown.code == 1
        assert "no installation" in shown.text
