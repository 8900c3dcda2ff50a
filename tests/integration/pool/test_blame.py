"""Which job is to blame for the end of a worker, by its board, where it has several jobs."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.pools import BEGIN, QUARTER, busy, in_loop, left, odd, ready, window, work_off
from tests.support.waiting import until
from tixd.config.settings import Settings
from tixd.jobs import Assignment, Done, ListUsers, Ready
from tixd.pool import pool as pool_module
from tixd.pool import sockets
from tixd.pool.pool import Pool
from tixd.pool.process import WorkerProcess


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of one worker, which is given three jobs and does one after the other."""
    assign = WorkerProcess.assign

    def assign_roomy(worker, *given):
        assign(worker, *given)
        worker.limit = 3

    monkeypatch.setattr(WorkerProcess, "assign", assign_roomy)
    return Settings(reports_base_path=str(tmp_path), workers=1, api_total_seconds=0.1)


@in_loop
async def test_of_several_jobs_only_the_one_that_crashes_is_set_aside(tmp_path, one, monkeypatch):
    odd(monkeypatch, "deeds")
    jobs = [window(tmp_path, 1, size=662), window(tmp_path, 2), window(tmp_path, 3)]
    async with Pool(one) as pool:
        summary = await work_off(pool, *jobs)
        assert pool.restarts == {"signal": 3}
    assert [left(tmp_path, user, "bad-reports") for user in (1, 2, 3)] == [4, 0, 0]
    assert (summary["windows_stored"], summary["jobs_given_up"]) == (2, 0)


@in_loop
async def test_kills_count_against_the_job_in_work_and_not_those_beside_it(
    tmp_path, one, monkeypatch
):
    odd(monkeypatch, "holds")
    (tmp_path / "hold-10000").touch()
    jobs = [window(tmp_path, 1, size=10_000), window(tmp_path, 2), window(tmp_path, 3)]
    async with Pool(one) as pool:
        futures = [pool.submit(job) for job in jobs]
        for number in range(1, 4):
            now = await busy(pool, "analyse")
            await until(lambda now=now: len(now.held) == 3)
            assert now.job == jobs[0]
            os.kill(now.pid, signal.SIGKILL)
            await until(lambda number=number: pool.restarts["signal"] == number)
        counts = [(await future).counts for future in futures]
    assert counts[0] == {"jobs_given_up": 1}
    assert [count["windows_stored"] for count in counts[1:]] == [1, 1]


@in_loop
async def test_a_worker_that_dies_before_it_begins_is_held_against_no_job(
    tmp_path, one, monkeypatch
):
    odd(monkeypatch, "dies_before_it_begins")
    (tmp_path / "dying").touch()
    async with Pool(one) as pool:
        futures = [pool.submit(window(tmp_path, 1)), pool.submit(ListUsers(str(tmp_path)))]
        await until(lambda: pool.restarts["signal"] >= 4)
        (tmp_path / "dying").unlink()
        assert (await futures[0]).counts["windows_stored"] == 1
        assert (await futures[1]).rows == ((1,),)


@in_loop
async def test_a_frozen_worker_is_killed_only_once_it_is_given_a_job(tmp_path, one, monkeypatch):
    monkeypatch.setattr(pool_module, "SUPERVISION_SECONDS", 0.01)
    async with Pool(one) as pool:
        (frozen,) = await ready(pool)
        os.kill(frozen.pid, signal.SIGSTOP)
        monkeypatch.setattr(pool_module, "PHASE_LIMIT_SECONDS", 0.1)
        seen = pool.supervision_ticks
        await until(lambda: pool.supervision_ticks > seen + 30)
        assert pool.restarts == {}
        future = pool.submit(ListUsers(str(tmp_path)))
        await until(lambda: frozen.closing)
        monkeypatch.setattr(pool_module, "PHASE_LIMIT_SECONDS", 60.0)
        assert (await future).rows == ()
        assert pool.restarts == {"time": 1}


@in_loop
async def test_the_board_says_whether_a_window_was_finished_before(tmp_path, one, monkeypatch):
    odd(monkeypatch, "holds")
    holds = [tmp_path / f"hold-{BEGIN + number * 2 * QUARTER}" for number in range(3)]
    for hold in holds:
        hold.touch()
    found = []
    async with Pool(one) as pool:
        future = pool.submit(window(tmp_path, 1, windows=3))
        for number, hold in enumerate(holds):
            begin = BEGIN + number * 2 * QUARTER
            await until(lambda begin=begin: any(_window(w) == begin for w in pool.workers))
            found.append(pool.workers[0].phase.has_finished_window)
            hold.unlink()
        assert (await future).counts["windows_stored"] == 3
    assert found == [False, True, True]


def _window(worker: WorkerProcess) -> int | None:
    phase = worker.phase
    return phase.window if phase and phase.name == "analyse" else None


@pytest.mark.parametrize("deed", ["garbles", "says_what_has_no_bytes"])
@in_loop
async def test_a_job_whose_result_is_never_a_message_is_not_done_for_ever(
    tmp_path, one, monkeypatch, deed
):
    odd(monkeypatch, deed)
    with heard() as log:
        async with Pool(one) as pool:
            done = await pool.submit(ListUsers(str(tmp_path)))
            assert done.failure
            assert pool.restarts.total() == 3
    assert log.events.count(("error", "worker_ended")) == 3


@in_loop
async def test_a_job_takes_two_messages_whatever_it_has_to_do(tmp_path, one, monkeypatch):
    messages: Counter[type] = Counter()
    send, decode = sockets.PoolSocket.send, pool_module.decode

    def counted_send(socket, identity, message):
        messages[type(message)] += 1
        return send(socket, identity, message)

    def counted_decode(frame):
        message = decode(frame)
        messages[type(message)] += 1
        return message

    monkeypatch.setattr(sockets.PoolSocket, "send", counted_send)
    monkeypatch.setattr(pool_module, "decode", counted_decode)
    async with Pool(one) as pool:
        jobs = [window(tmp_path, user, windows=3) for user in (1, 2)]
        assert (await work_off(pool, *jobs))["windows_stored"] == 6
    assert messages == {Ready: 1, Assignment: 2, Done: 2}
