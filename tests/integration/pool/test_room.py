"""Which of several workers gets a job, while posts of both are in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pools import in_loop, odd, ready, window
from tests.support.results import settings_for
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.waiting import until
from tixd.config.settings import Settings
from tixd.jobs import JobResult, ListUsers
from tixd.pool import process
from tixd.pool.pool import Pool


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that answers no post until it is let go."""
    with StandInApi() as server:
        server.answer(Behaviour(fault="held"))
        yield server


@pytest.fixture
def settings(tmp_path: Path, api: StandInApi) -> Settings:
    """Two workers that post to it."""
    return settings_for(api.port, reports_base_path=str(tmp_path), workers=2)


def submitted(pool: Pool, base: Path, *users: int) -> list[asyncio.Future[JobResult]]:
    """Jobs of new installations."""
    return [pool.submit(window(base, user)) for user in users]


async def proven(pool: Pool, base: Path, api: StandInApi) -> None:
    """Let each worker post a little, so that it has places for more."""
    await ready(pool)
    jobs = submitted(pool, base, 1, 2, 3, 4)
    await until(lambda: len(api.held) == 4)
    api.let_go()
    await asyncio.gather(*jobs)
    api.answer(Behaviour(fault="held"))


@in_loop
async def test_a_worker_that_was_asked_to_end_gets_no_more_jobs(tmp_path, settings, api):
    async with Pool(settings) as pool:
        await ready(pool)
        first = pool.submit(window(tmp_path, 1))
        await until(lambda: len(api.held) == 1)
        pool.reload(settings)
        second, listing = pool.submit(window(tmp_path, 2)), pool.submit(ListUsers(str(tmp_path)))
        assert (await listing).rows == ((1,), (2,))
        await until(lambda: len(api.held) == 2)
        api.let_go()
        done = await asyncio.gather(first, second)
    assert [d.counts["windows_posted"] for d in done] == [1, 1]


@in_loop
async def test_no_job_waits_for_a_worker_that_computes_for_long(
    tmp_path, settings, api, monkeypatch
):
    odd(monkeypatch, "holds")
    (hold := tmp_path / "hold-10000").touch()
    monkeypatch.setattr(process, "LONG_SECONDS", 0.2)
    async with Pool(settings) as pool:
        await proven(pool, tmp_path, api)
        jobs = submitted(pool, tmp_path, 11, 12, 13, 14)
        await until(lambda: len(api.held) == 4)
        jobs.append(pool.submit(window(tmp_path, 20, size=10_000)))
        await until(lambda: any(w.takes_long for w in pool.workers))
        jobs += submitted(pool, tmp_path, 21, 22, 23, 24)
        await until(lambda: len(api.held) == 8)
        assert (await pool.submit(ListUsers(str(tmp_path)))).rows
        hold.unlink()
        await until(lambda: len(api.held) == 9)
        api.let_go()
        await asyncio.gather(*jobs)
    assert len(api.accepted) == 13
