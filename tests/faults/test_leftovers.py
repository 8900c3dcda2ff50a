"""What a killed worker leaves behind is cleared away, whatever the next one finds to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.killed_worker import Workers
from tests.support.ledger import Ledger, reports_left, set_back_pauses, temporary_files
from tests.support.stand_in_api import Behaviour, StandInApi

START = 1_700_000_000

#: Reports that have ended three workers, and are to be set aside.
CRASHERS = [f"tix-report-{START + 60 * i}.json" for i in (0, 1, 2)]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """The program that forks workers."""
    workers = Workers.start()
    yield workers
    workers.end()


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that fails until told otherwise."""
    with StandInApi() as server:
        server.answer(Behaviour(500))
        yield server


def lines_in(
    base: Path, workers: Workers, api: StandInApi, names: set[str], **order: list[str]
) -> list[int]:
    """Numbers of the line events in functions of these names, in a run over a copy of `base`."""
    copy, trace = base.with_name("copy"), base.with_name("trace.json")
    shutil.copytree(base, copy)
    assert workers.run(copy, api.port, trace=str(trace), **order)[0] == 0
    events = enumerate(json.loads(trace.read_text()), 1)
    return [number for number, (_, name) in events if name in names]


def test_half_written_files_of_a_killed_worker_do_not_stay(tmp_path, workers, api):
    made.installation(tmp_path / "original", START, 28)
    writing = {"Folder.write", "_write_all", "Journal._save_or_remember"}
    for kill_at in lines_in(tmp_path / "original", workers, api, writing):
        base = tmp_path / f"killed-{kill_at}"
        shutil.copytree(tmp_path / "original", base)
        api.posts.clear()
        api.answer(Behaviour(500))
        ledger = Ledger(base, api)
        assert workers.run(base, api.port, kill_at=kill_at)[0] == -9
        api.answer(Behaviour())
        set_back_pauses(base)
        assert workers.run(base, api.port)[0] == 0
        ledger.settled()


def test_reports_that_end_workers_are_all_set_aside_though_one_is_killed_at_it(
    tmp_path, workers, api
):
    made.installation(tmp_path / "original", START, 28)
    moving = lines_in(tmp_path / "original", workers, api, {"Folder.rename"}, crashers=CRASHERS)
    for kill_at in moving[:12]:
        base = tmp_path / f"killed-{kill_at}"
        shutil.copytree(tmp_path / "original", base)
        assert workers.run(base, api.port, kill_at=kill_at, crashers=CRASHERS)[0] == -9
        assert workers.run(base, api.port, crashers=CRASHERS)[0] == 0
        reasons = [f"{name}.reason" for name in CRASHERS]
        assert sorted(os.listdir(base / "1/2/bad-reports")) == sorted(CRASHERS + reasons)
        assert not set(CRASHERS) & set(reports_left(base / "1/2"))
        assert temporary_files(base) == []
