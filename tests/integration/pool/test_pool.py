"""The pool with real worker processes: jobs, cancelled jobs, strange messages, broken starts."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
from collections import Counter
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.pools import busy, children, in_loop, job, left, odd, ready, window
from tests.support.waiting import until
from tixd import errors
from tixd.commands.once import run_once
from tixd.config.settings import Settings
from tixd.jobs import ListUsers, Ready
from tixd.pool import pool, process, sockets
from tixd.pool.pool import Pool
from tixd.pool.process import WorkerProcess


@pytest.fixture
def one(tmp_path: Path) -> Settings:
    """Settings with one worker, which posts nothing."""
    return Settings(reports_base_path=str(tmp_path), workers=1)


@pytest.fixture
def two(one: Settings) -> Settings:
    """Settings with two workers."""
    return replace(one, workers=2)


# --- jobs ----------------------------------------------------------------------------------------


@in_loop
async def test_a_cycle_finds_every_installation_and_does_all_windows(tmp_path, two):
    for user in range(1, 8):
        window(tmp_path, user, windows=2)
    told: list[int] = []
    counts: Counter[str] = Counter()
    async with Pool(two) as workers:
        await run_once(workers, str(tmp_path), counts, lambda done, _found: told.append(done))
    assert counts["installations_queued"] == 7
    assert counts["windows_stored"] == 14
    assert told == list(range(1, 8))


@in_loop
async def test_the_pool_shows_what_each_worker_does(tmp_path, one, monkeypatch):
    odd(monkeypatch, "holds")
    hold = tmp_path / "hold"
    hold.touch()
    async with Pool(one) as workers:
        (idle,) = await ready(workers)
        assert (idle.job, idle.phase) == (None, None)
        pid, since = idle.pid, idle.since
        futures = [workers.submit(window(tmp_path, user)) for user in (1, 2)]
        now = await busy(workers, "analyse")
        assert (now.pid, now.job, workers.waiting) == (pid, job(tmp_path, 1), 1)
        assert now.since > since
        hold.unlink()
        assert [(await f).counts["windows_stored"] for f in futures] == [1, 1]


@in_loop
async def test_a_worker_stays_connected_where_the_socket_is_removed(tmp_path, one):
    async with Pool(one, str(tmp_path)) as workers:
        (before,) = await ready(workers)
        shutil.rmtree(Path(workers._socket.endpoint.removeprefix("ipc://")).parent)
        await until(workers._socket.is_reachable)
        assert (await workers.submit(window(tmp_path, 1))).counts["windows_stored"] == 1
        assert [worker.pid for worker in workers.workers] == [before.pid]


@in_loop
async def test_a_worker_that_cannot_be_reached_any_more_is_replaced(tmp_path, one, monkeypatch):
    monkeypatch.setattr(process, "UNREACHABLE_SECONDS", 0.1)
    async with Pool(one) as workers:
        (before,) = await ready(workers)
        send, lost = workers._socket.send, before.identity
        reaches = lambda to, message: to != lost and send(to, message)  # noqa: E731
        monkeypatch.setattr(workers._socket, "send", reaches)
        assert (await workers.submit(window(tmp_path, 1))).counts["windows_stored"] == 1
        assert before.pid not in [worker.pid for worker in workers.workers]


@in_loop
async def test_a_cancelled_job_is_not_begun_and_one_in_hand_goes_on(tmp_path, one, monkeypatch):
    odd(monkeypatch, "holds")
    hold = tmp_path / "hold"
    hold.touch()
    jobs = [window(tmp_path, user) for user in (1, 2, 3)]
    async with Pool(one) as workers:
        in_hand, waiting, last = map(workers.submit, jobs)
        await busy(workers, "analyse")
        in_hand.cancel()
        waiting.cancel()
        hold.unlink()
        assert (await last).counts["windows_stored"] == 1
    assert [left(tmp_path, user) for user in (1, 2, 3)] == [2, 4, 2]


@in_loop
async def test_a_job_past_its_deadline_leaves_the_pool_in_order(tmp_path, one, monkeypatch):
    odd(monkeypatch, "holds")
    (tmp_path / "hold").touch()
    async with Pool(one) as workers:
        await ready(workers)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(workers.submit(window(tmp_path, 1)), 0.1)
        (tmp_path / "hold").unlink()
        assert (await workers.submit(window(tmp_path, 2))).counts["windows_stored"] == 1


@in_loop
async def test_a_job_that_cannot_be_sent_fails_where_it_is_submitted(tmp_path, one):
    async with Pool(one) as workers:
        with pytest.raises(TypeError):
            workers.submit(ListUsers("\udcff"))
        window(tmp_path, 1)
        assert (await workers.submit(ListUsers(str(tmp_path)))).rows == ((1,),)


# --- strange messages ----------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["garbles_once", "out_of_turn_once"])
@in_loop
async def test_a_worker_that_says_nonsense_is_replaced(tmp_path, one, monkeypatch, deed):
    odd(monkeypatch, deed)
    with heard() as log:
        async with Pool(one) as workers:
            done = await workers.submit(ListUsers(str(tmp_path)))
            assert (done.rows, workers.restarts) == ((), {"signal": 1})
    assert ("error", "worker_protocol_error") in log.events


@in_loop
async def test_a_message_from_a_worker_that_is_buried_is_passed_over(tmp_path, one):
    async with Pool(one) as workers:
        (before,) = await ready(workers)
        ghost = sockets.WorkerSocket(workers._socket.endpoint, b"worker-0", os.pipe()[0])
        ghost.send(Ready(1))
        ghost.close()
        await workers.submit(ListUsers(str(tmp_path)))
        assert [w.pid for w in workers.workers] == [before.pid]


# --- broken starts -------------------------------------------------------------------------------


@in_loop
async def test_when_no_worker_can_start_jobs_fail_and_later_ones_too(tmp_path, two, monkeypatch):
    odd(monkeypatch, "cannot_start")
    (tmp_path / "broken").touch()
    async with Pool(two) as workers:
        with pytest.raises(errors.CannotStart):
            await workers.submit(ListUsers(str(tmp_path)))
        with pytest.raises(errors.CannotStart):
            await workers.submit(ListUsers(str(tmp_path)))


@in_loop
async def test_workers_that_can_start_again_are_used_again(tmp_path, two, monkeypatch):
    odd(monkeypatch, "cannot_start")
    monkeypatch.setattr(pool, "RESTART_PAUSE_SECONDS", 0.01)
    (tmp_path / "broken").touch()
    async with Pool(two) as workers:
        with pytest.raises(errors.CannotStart):
            await workers.submit(ListUsers(str(tmp_path)))
        (tmp_path / "broken").unlink()
        assert len(await ready(workers)) == 2
        assert (await workers.submit(ListUsers(str(tmp_path)))).rows == ()


@in_loop
async def test_a_process_that_cannot_be_made_is_tried_again(tmp_path, one, monkeypatch):
    start, refusals = WorkerProcess.start, [OSError(11, "too many processes"), OSError(24, "files")]

    def sparing(*arguments):
        if refusals:
            raise refusals.pop()
        return start(*arguments)

    monkeypatch.setattr(WorkerProcess, "start", sparing)
    with heard() as log:
        async with Pool(one) as workers:
            assert (await workers.submit(ListUsers(str(tmp_path)))).rows == ()
    assert log.events.count(("error", "worker_not_started")) == 2


def test_a_process_that_cannot_be_made_leaves_no_descriptor(one, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(11, "too many processes")

    monkeypatch.setattr(SpawnProcess, "start", refuse)
    counts = []
    gc.collect()  # or what earlier tests have left is closed meanwhile
    for _ in range(3):  # the first one may begin the helper of multiprocessing
        with pytest.raises(OSError, match="too many processes"):
            WorkerProcess.start("", b"", one)
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[2] <= counts[1]


@in_loop
async def test_a_worker_that_hangs_in_its_start_is_replaced(tmp_path, one, monkeypatch):
    odd(monkeypatch, "stops_once")
    monkeypatch.setattr(pool, "SUPERVISION_SECONDS", 0.05)
    async with Pool(one) as workers:
        await until((tmp_path / "once").exists)
        monkeypatch.setattr(pool, "PHASE_LIMIT_SECONDS", 0.1)
        await until(lambda: workers.restarts == {"time": 1})
        monkeypatch.setattr(pool, "PHASE_LIMIT_SECONDS", 60.0)
        assert (await workers.submit(ListUsers(str(tmp_path)))).rows == ()


@in_loop
async def test_a_worker_that_closes_its_files_but_is_not_dead_holds_up_nobody(
    tmp_path, two, monkeypatch
):
    odd(monkeypatch, "closes_its_files_once")
    (tmp_path / "hold").touch()
    async with Pool(two) as workers:
        before = {w.pid for w in workers.workers}
        await until((tmp_path / "once").exists)
        await workers.submit(ListUsers(str(tmp_path)))
        assert {w.pid for w in workers.workers} == before
        (tmp_path / "hold").unlink()
        await until(lambda: workers.restarts == {"exit": 1})
        assert len(await ready(workers)) == 2


@in_loop
async def test_a_folder_too_long_for_a_socket_is_an_error_and_leaves_nothing(
    tmp_path, one, monkeypatch
):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(sockets.tempfile, "tempdir", str(long))
    with pytest.raises(errors.CannotStart):
        await Pool(one).__aenter__()
    assert list(long.iterdir()) == []


# --- what is left behind -------------------------------------------------------------------------


def belongings() -> tuple[int, int, set[int]]:
    """Open files, threads, children of this process."""
    threads = len(os.listdir("/proc/self/task")) + threading.active_count()
    return len(os.listdir("/proc/self/fd")), threads, set(children())


def is_no_more(now: tuple[int, int, set[int]], before: tuple[int, int, set[int]]) -> bool:
    """Whether nothing has come up; what was there before may have gone meanwhile."""
    return all(one <= other for one, other in zip(now, before, strict=True))


@pytest.mark.parametrize("deaths", [20, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
@in_loop
async def test_the_death_of_many_workers_leaves_nothing_behind(two, monkeypatch, deaths):
    async with Pool(two):
        pass  # what multiprocessing keeps for itself is there from now on
    before = belongings()
    odd(monkeypatch, "ready_and_gone")
    async with Pool(two) as workers:
        await until(lambda: workers.restarts["exit"] >= deaths, seconds=240)
        assert len(children()) <= len(before[2]) + 2, "no zombies gather"
    await until(lambda: is_no_more(belongings(), before))


def test_the_folder_of_the_socket_is_private_and_goes_with_the_pool(one, monkeypatch):
    made: list[os.stat_result] = []

    @in_loop
    async def look() -> None:
        async with Pool(one) as workers:
            folder = Path(workers._socket.endpoint.removeprefix("ipc://")).parent
            made.append(folder.stat())
        assert not folder.exists()

    look()
    assert made[0].st_mode & 0o777 == 0o700


@in_loop
async def test_workers_get_no_descriptor_that_is_not_theirs(tmp_path, one):
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        async with Pool(one) as workers:
            (now,) = await ready(workers)
            files = {fd.resolve() for fd in Path(f"/proc/{now.pid}/fd").iterdir()}
    assert Path("/dev/null") in files
    assert tmp_path / "secret" not in files
