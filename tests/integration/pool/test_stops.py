"""How the pool ends: with nothing to do, in its start, with windows in hand, without its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pools import (
    alive,
    busy,
    children,
    in_loop,
    in_phase,
    left,
    odd,
    ready,
    window,
    work_off,
)
from tests.support.program import COMMAND, ROOT, environment
from tests.support.results import settings_for
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.waiting import until
from tixd.config.settings import Settings
from tixd.jobs import ListUsers
from tixd.pool.pool import Pool


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of two workers that analyse nothing while the file `hold` is there, as it is."""
    odd(monkeypatch, "holds")
    (tmp_path / "hold").touch()
    return Settings(reports_base_path=str(tmp_path), workers=2)


def is_worker(pid: int) -> bool:
    """Whether the process is a worker (multiprocessing has a helper process, too)."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.alone
@in_loop
async def test_a_pool_with_nothing_to_do_stops_at_once(held):
    async with Pool(held) as workers:
        pids = [w.pid for w in await ready(workers)]
        began = time.monotonic()
        await workers.stop(grace_seconds=60)
        assert time.monotonic() - began < 2
    assert not any(map(alive, pids))
    assert workers.restarts == {}


@pytest.mark.alone
@in_loop
async def test_a_pool_that_is_still_starting_stops_at_once(tmp_path, held):
    async with Pool(held) as workers:
        job = workers.submit(ListUsers(str(tmp_path)))
        began = time.monotonic()
        await workers.stop(grace_seconds=60)
        assert time.monotonic() - began < 3
    assert (await job).counts == {"jobs_not_begun": 1}
    assert not any(map(is_worker, children()))


@in_loop
async def test_an_interrupt_from_the_terminal_is_left_to_the_parent(tmp_path, held):
    async with Pool(held) as workers:
        pids = [w.pid for w in workers.workers]
        for _ in range(2):
            for pid in pids:
                os.kill(pid, signal.SIGINT)
            assert [w.pid for w in await ready(workers)] == pids
        assert (await workers.submit(ListUsers(str(tmp_path)))).rows == ()
        assert workers.restarts == {}


@in_loop
async def test_a_stop_waits_for_the_windows_in_hand_and_begins_no_more(tmp_path, held):
    jobs = [window(tmp_path, user, windows=3) for user in (1, 2, 3)]
    async with Pool(held) as workers:
        futures = [workers.submit(job) for job in jobs]
        await until(lambda: len(in_phase(workers, "analyse")) == 2)
        stopping = asyncio.ensure_future(workers.stop(grace_seconds=60))
        await until(futures[2].done)
        (tmp_path / "hold").unlink()
        await stopping
    done = [future.result() for future in futures]
    assert [d.counts.get("windows_stored", 0) for d in done] == [1, 1, 0]
    assert [d.has_more for d in done] == [True, True, False]
    assert done[2].counts == {"jobs_not_begun": 1}


@in_loop
async def test_a_stop_with_many_posts_in_flight_waits_for_these_alone(tmp_path, api):
    settings = settings_for(api.port, reports_base_path=str(tmp_path), workers=2)
    api.answer(Behaviour())
    async with Pool(settings) as workers:
        first = [workers.submit(window(tmp_path, user, windows=4)) for user in range(1, 7)]
        await asyncio.gather(*first)
        api.answer(Behaviour(fault="held"))
        futures = [workers.submit(window(tmp_path, user, windows=2)) for user in range(11, 51)]
        await until(lambda: len(api.held) >= 18)
        stopping = asyncio.ensure_future(workers.stop(grace_seconds=60))
        await until(lambda: any(future.done() for future in futures))
        api.let_go()
        await stopping
    done = [future.result() for future in futures]
    begun = [d for d in done if d.counts != {"jobs_not_begun": 1}]
    finished = [d for d in begun if d.counts != {"jobs_not_finished": 1}]
    posted = [d for d in finished if d.counts]  # the stop may come between a job and its window
    assert len(posted) >= 18
    assert all(d.counts["windows_posted"] == 1 for d in posted)
    assert all(d.has_more for d in finished)
    assert len(api.posts) == 24 + len(posted), "what was given but not begun is not begun"


@pytest.mark.alone
@in_loop
async def test_after_the_grace_a_window_in_hand_is_given_up_and_nothing_is_lost(tmp_path, held):
    job = window(tmp_path, 1)
    async with Pool(held) as workers:
        future = workers.submit(job)
        await busy(workers, "analyse")
        began = time.monotonic()
        await workers.stop(grace_seconds=0.3)
        assert 0.3 <= time.monotonic() - began < 2
    assert future.result().counts == {"jobs_not_finished": 1}
    assert left(tmp_path, 1) == 4
    assert list((tmp_path / "1" / "1").glob("*.tmp")) == []


@pytest.mark.alone
@in_loop
async def test_a_worker_that_is_frozen_is_killed_when_the_grace_is_over(held):
    async with Pool(held) as workers:
        frozen, _ = await ready(workers)
        os.kill(frozen.pid, signal.SIGSTOP)
        began = time.monotonic()
        await workers.stop(grace_seconds=0.5)
        assert 0.5 <= time.monotonic() - began < 2.5
    assert not alive(frozen.pid)


@pytest.mark.alone
@in_loop
async def test_kill_ends_a_stop_that_waits(tmp_path, held):
    async with Pool(held) as workers:
        workers.submit(window(tmp_path, 1))
        await busy(workers, "analyse")
        stopping = asyncio.ensure_future(workers.stop(grace_seconds=60))
        await until(lambda: len(workers.workers) == 1)
        workers.kill()
        await asyncio.wait_for(stopping, 2)


@in_loop
async def test_two_stops_at_a_time_and_jobs_after_them_do_no_harm(tmp_path, held):
    async with Pool(held) as workers:
        await ready(workers)
        await asyncio.gather(workers.stop(5), workers.stop(5))
        assert (await workers.submit(ListUsers("/"))).counts == {"jobs_not_begun": 1}
        summary = await work_off(workers, window(tmp_path, 1))
    assert summary == {"jobs_not_begun": 1}


# --- a whole program, with its parent killed or stopped ------------------------------------------


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api that takes posts, and refuses them when it is let go."""
    with StandInApi() as server:
        server.answer(Behaviour(500, fault="held"))
        yield server


@pytest.fixture
def installations() -> int:
    """How many installations, of three windows each, there are."""
    return 6


@pytest.fixture
def program(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    api: StandInApi,
    installations: int,
) -> Iterator[subprocess.Popen[bytes]]:
    """`tixd once` with two workers over these installations."""
    for user in range(1, installations + 1):
        window(tmp_path / "reports", user, windows=3)
    variables = {
        "TIX_API_READ_SECONDS": "100",
        "TIX_API_TOTAL_SECONDS": "100",
        "TIX_WORKERS": "2",
        "TIX_LOG_FORMAT": "text",
        "RUNTIME_DIRECTORY": str(tmp_path_factory.mktemp("r")),  # a killed parent leaves a socket
    }
    env = environment(tmp_path / "reports", api.port, **variables)
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(COMMAND, cwd=ROOT, env=env, stderr=log) as process,
    ):
        yield process
        process.kill()


def workers_of(program: subprocess.Popen[bytes]) -> list[int]:
    """The worker processes of a program."""
    return [pid for pid in children(program.pid) if is_worker(pid)]


def stored(base: Path) -> int:
    """How many results are in failed-results, of all installations."""
    return len(list(base.glob("reports/*/1/failed-results/*.json")))


@in_loop
async def test_workers_whose_parent_is_killed_end_after_the_window_in_hand(tmp_path, program, api):
    await until(lambda: len(api.posts) == 4)  # two of each, as none was accepted yet
    pids = workers_of(program)
    program.kill()
    program.wait()
    api.let_go()
    await until(lambda: not any(map(alive, pids)))
    assert (len(pids), stored(tmp_path)) == (2, 4), (
        "each has finished its windows in hand, and no more"
    )


@pytest.mark.parametrize("installations", [1])
@in_loop
async def test_an_idle_worker_whose_parent_is_killed_ends_at_once(tmp_path, program, api):
    await until(lambda: len(workers_of(program)) == 2 and api.posts)
    pids = workers_of(program)
    program.kill()
    program.wait()
    await until(lambda: sum(map(alive, pids)) == 1)
    assert stored(tmp_path) == 0, "the other one still has its window in hand"
    api.let_go()
    await until(lambda: not any(map(alive, pids)))
    assert stored(tmp_path) == 1


@in_loop
async def test_worker_processes_do_not_load_pydantic(program, api):
    await until(lambda: len(api.posts) == 4)  # then neither worker is still starting
    for pid in workers_of(program):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "orjson" in maps
        assert "pydantic" not in maps
    assert "pydantic" in Path(f"/proc/{program.pid}/maps").read_text()


@in_loop
async def test_a_signal_to_the_program_ends_it_after_the_windows_in_hand(tmp_path, program, api):
    await until(lambda: len(api.posts) == 4)  # two of each, as none was accepted yet
    program.send_signal(signal.SIGTERM)
    await until(lambda: " stopping " in (tmp_path / "log").read_text())
    api.let_go()
    await until(lambda: program.poll() is not None)
    assert program.returncode == 0
    assert stored(tmp_path) == 4
