"""Workers die, hang, or are crashed by their input."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from tests.support.chosen import few
from tests.support.log_events import Heard, heard
from tests.support.made import lively, record, report
from tests.support.pools import (
    BEGIN,
    QUARTER,
    block_the_loop,
    busy,
    find_installations,
    in_loop,
    in_phase,
    left,
    odd,
    ready,
    window,
    work_off,
)
from tests.support.results import settings_for
from tests.support.stand_in_api import StandInApi
from tests.support.waiting import until
from tixd import errors
from tixd.config.settings import Settings
from tixd.jobs import Job, ProcessInstallation
from tixd.pool import pool as pool_module
from tixd.pool.pool import Pool
from tixd.pool.process import WorkerProcess


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api."""
    with StandInApi() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, api: StandInApi) -> Settings:
    """Two workers that post to the stand-in."""
    return settings_for(api.port, reports_base_path=str(tmp_path), workers=2)


def who(now: WorkerProcess) -> int:
    """The user whose installation a worker has in hand; 0: none."""
    job = now.job  # read once: it changes meanwhile
    return job.user_id if isinstance(job, ProcessInstallation) else 0


def users(api: StandInApi) -> Counter[int]:
    """How many results of each user were accepted."""
    return Counter(post.user for post in api.accepted)


def log_of(log: Heard) -> set[tuple[object, ...]]:
    """What the log says of each worker that ended: pid, signal, whose installation, phase."""
    lines = [vars(r)["values"] for r in log.records if r.getMessage() == "worker_ended"]
    words = ("worker", "code", "user", "installation", "phase")
    return {tuple(line[word] for word in words) for line in lines}


def held_by(files: dict[int, Path]) -> dict[int, Path]:
    """Make these files, which hold up analyses (`holds` in odd_workers)."""
    for path in files.values():
        path.touch()
    return files


@dataclass
class Killer:
    """Kills workers held in the analysis of some users, and measures what follows.

    holds: by user, the file that holds their analysis.
    """

    pool: Pool
    api: StandInApi
    holds: dict[int, Path]
    victims: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Kill a worker of each of these users, one after the other."""
        while self.holds:
            await until(lambda: any(who(w) in self.holds for w in self.analysing))
            now = next(w for w in self.analysing if who(w) in self.holds)
            user, job = who(now), now.job
            os.kill(now.pid, signal.SIGKILL)
            self.holds.pop(user).unlink()
            killed, self.victims[user] = time.monotonic(), now.pid
            await until(partial(self._mended, now.pid, user, job))
            self.seconds.append(time.monotonic() - killed)

    def _mended(self, dead: int, user: int, job: Job | None) -> bool:
        """Whether another worker is ready in its place, and its job is given again, or done.

        Where all the others are held, it cannot be given before one of them is killed.
        """
        others = [w for w in self.pool.workers if w.pid != dead]
        given = any(pending.job == job for w in others for pending in w.held.values())
        replaced = sum(w.ready for w in others) == self.pool.size
        are_held = all(who(w) in self.holds for w in others)
        return replaced and (given or are_held or user in users(self.api))

    @property
    def analysing(self) -> list[WorkerProcess]:
        """The workers in mid-analysis."""
        return in_phase(self.pool, "analyse")


def none_lost(posted: Counter[int], installations: int, most_repeated: int) -> None:
    """Fail where an installation's window is missing, or too many came twice, or one more often."""
    assert set(posted) == set(range(1, installations + 1))
    assert max(posted.values()) <= 2
    assert posted.total() - installations <= most_repeated


@pytest.mark.alone
@pytest.mark.parametrize(
    ("kills", "installations", "in_flight"),
    [(5, 50, 1), (5, 50, 16), pytest.param(50, 500, 16, marks=pytest.mark.long)],
)
@in_loop
async def test_kill_9_in_mid_analysis_loses_nothing_and_repeats_what_was_in_flight(
    tmp_path, settings, api, monkeypatch, kills, installations, in_flight
):
    settings = replace(settings, posts_in_flight=in_flight)
    odd(monkeypatch, "holds")
    for user in range(1, installations + 1):
        window(tmp_path, user, size=10_000 + user)
    held = range(1, installations + 1, installations // kills)
    holds = held_by({user: tmp_path / f"hold-{10_000 + user}" for user in held})
    with heard() as log:
        async with Pool(settings) as pool:
            jobs = await find_installations(pool, str(tmp_path))
            killer = Killer(pool, api, holds)
            killing = asyncio.ensure_future(killer.run())
            summary = await work_off(pool, *jobs)
            await killing
    sys.stdout.write(f"mended after {max(killer.seconds):.2f} s at most\n")
    assert summary["worker_restarts_signal"] == kills
    none_lost(users(api), installations, most_repeated=kills * (in_flight - 1))
    assert max(killer.seconds) < 20, "2 s on a machine that does nothing else"
    assert log_of(log) == {
        (pid, "SIGKILL", user, 1, "analyse") for user, pid in killer.victims.items()
    }


@in_loop
async def test_a_worker_killed_while_idle_or_with_a_job_just_given_costs_no_job(
    tmp_path, settings, api
):
    jobs = [window(tmp_path, user) for user in range(1, 7)]
    async with Pool(settings) as pool:
        for one, other in zip(jobs[::2], jobs[1::2], strict=True):
            for now in await ready(pool):
                os.kill(now.pid, signal.SIGKILL)
            done = await asyncio.gather(pool.submit(one), pool.submit(other))
            assert [d.counts["windows_posted"] for d in done] == [1, 1]
        assert pool.restarts == {"signal": 6}


@in_loop
async def test_a_worker_killed_before_it_was_ready_is_replaced(tmp_path, settings, api):
    job = window(tmp_path, 1)
    async with Pool(settings) as pool:
        future = pool.submit(job)
        for now in pool.workers:
            assert not now.ready
            os.kill(now.pid, signal.SIGKILL)
        assert (await future).counts["windows_posted"] == 1


@in_loop
async def test_a_worker_told_to_end_by_somebody_else_finishes_its_window(
    tmp_path, settings, api, monkeypatch
):
    odd(monkeypatch, "holds")
    (tmp_path / "hold").touch()
    job = window(tmp_path, 1, windows=4)
    with heard() as log:
        async with Pool(settings) as pool:
            await ready(pool)
            summary = asyncio.ensure_future(work_off(pool, job))
            os.kill((await busy(pool, "analyse")).pid, signal.SIGTERM)
            (tmp_path / "hold").unlink()
            assert (await summary)["windows_posted"] == 4
            await until(lambda: pool.restarts == {"exit": 1})  # another does the rest meanwhile
    assert ("error", "installation_backed_off") not in log.events


# --- hanging -------------------------------------------------------------------------------------


@in_loop
async def test_a_frozen_worker_is_killed_at_the_limit_and_nobody_else_waits(
    tmp_path, settings, api, monkeypatch
):
    odd(monkeypatch, "holds")
    hold = tmp_path / "hold-10000"
    hold.touch()
    monkeypatch.setattr(pool_module, "SUPERVISION_SECONDS", 0.05)
    jobs = [window(tmp_path, 1, size=10_000), *(window(tmp_path, user) for user in range(2, 6))]
    async with Pool(settings) as pool:
        await ready(pool)
        monkeypatch.setattr(pool_module, "PHASE_LIMIT_SECONDS", 10.0)
        frozen, *others = [pool.submit(job) for job in jobs]
        await until(lambda: any(who(w) == 1 for w in in_phase(pool, "analyse")))
        now = next(w for w in pool.workers if who(w) == 1)
        os.kill(now.pid, signal.SIGSTOP)
        hold.unlink()
        await asyncio.gather(*others)
        assert not frozen.done()
        assert (await asyncio.wait_for(frozen, 20)).counts["windows_posted"] == 1
        assert pool.restarts == {"time": 1}


@in_loop
async def test_a_parent_that_was_held_up_does_not_blame_its_workers(
    tmp_path, settings, monkeypatch
):
    odd(monkeypatch, "holds")
    monkeypatch.setattr(pool_module, "SUPERVISION_SECONDS", 0.05)
    (tmp_path / "hold").touch()
    async with Pool(settings) as pool:
        await ready(pool)
        future = pool.submit(window(tmp_path, 1))
        await busy(pool, "analyse")
        monkeypatch.setattr(pool_module, "PHASE_LIMIT_SECONDS", 5.0)
        block_the_loop(6.0)
        await until(lambda: pool.waiting == 0)
        (tmp_path / "hold").unlink()
        await future
        assert pool.restarts == {}


# --- input that crashes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "cause"),
    few(
        [(661, "exit"), (662, "signal"), (663, "signal"), (664, "exception")],
        (662, "signal"),
        (664, "exception"),
    ),
)
@in_loop
async def test_a_window_that_crashes_its_worker_three_times_is_set_aside(
    tmp_path, settings, api, monkeypatch, deed, cause
):
    odd(monkeypatch, "deeds")
    window(tmp_path, 1, size=deed)
    for user in range(2, 8):
        window(tmp_path, user)
    async with Pool(settings) as pool:
        jobs = await find_installations(pool, str(tmp_path))
        summary = await work_off(pool, *jobs)
        assert pool.restarts == {cause: 3}
    assert (left(tmp_path, 1), left(tmp_path, 1, "bad-reports")) == (0, 4)
    reasons = {p.read_text() for p in (tmp_path / "1/1/bad-reports").glob("*.reason")}
    assert reasons == {"reading or analysing it crashed three worker processes\n"}
    assert set(users(api)) == set(range(2, 8))
    assert max(users(api).values()) <= 4, "what was in flight at each of three ends is repeated"
    assert [left(tmp_path, user, "bad-reports") for user in range(2, 8)] == [0] * 6
    assert summary["reports_bad"] == 4


@pytest.mark.parametrize("how", ["lacks_memory", "aborts_without_memory"])
@in_loop
async def test_lack_of_memory_is_never_blamed_on_reports(tmp_path, settings, api, monkeypatch, how):
    odd(monkeypatch, how)
    crowded(tmp_path, 1)
    async with Pool(settings) as pool:
        jobs = await find_installations(pool, str(tmp_path))
        summary = await work_off(pool, *jobs)
        assert pool.restarts["memory"] >= 2
    assert summary["jobs_given_up"] == 1
    assert (left(tmp_path, 1), left(tmp_path, 1, "bad-reports")) == (11, 0)


def crowded(base: Path, user: int) -> None:
    """A window of 96,000 observations in 11 reports."""
    folder = base / str(user) / "1"
    folder.mkdir(parents=True)
    for first in range(BEGIN, BEGIN + 11 * 60, 60):
        rows = b"".join(record(first + i % 60, size=i) for i in range(96_000 // 11))
        (folder / f"tix-report-{first}.json").write_bytes(report(rows))
    lively(folder)


@in_loop
async def test_only_the_file_that_crashes_in_reading_is_set_aside(
    tmp_path, settings, api, monkeypatch
):
    odd(monkeypatch, "crashes_in_reading")
    job = window(tmp_path, 1)
    bad = tmp_path / "1/1/tix-report-1505082300.json"
    bad.write_bytes(report(b"", type="CRASH"))
    async with Pool(settings) as pool:
        summary = await work_off(pool, job)
        assert pool.restarts == {"signal": 3}
    assert [p.name for p in (tmp_path / "1/1/bad-reports").glob("*.json")] == [bad.name]
    assert summary["windows_posted"] == 1


def held_in(pool, windows):
    """The workers that are held while they analyse one of these windows, each with its window."""
    now = [(worker.pid, worker.phase) for worker in pool.workers]
    return [
        (pid, at.window) for pid, at in now if at and at.name == "analyse" and at.window in windows
    ]


@in_loop
async def test_kills_with_a_finished_window_between_them_make_nobody_wait(
    tmp_path, settings, api, monkeypatch
):
    odd(monkeypatch, "holds")
    job = window(tmp_path, 1, windows=5)
    begins = range(BEGIN, BEGIN + 10 * QUARTER, 2 * QUARTER)
    holds = held_by({second: tmp_path / f"hold-{second}" for second in begins})
    async with Pool(settings) as pool:
        running = asyncio.ensure_future(work_off(pool, job))
        while holds:
            await until(lambda: held_in(pool, holds))
            pid, held = held_in(pool, holds)[0]
            os.kill(pid, signal.SIGKILL)
            holds.pop(held).unlink()
        counts = await running
    assert (counts["jobs_given_up"], counts["worker_restarts_signal"]) == (0, 5)
    assert len({post.body["timestamp"] for post in api.accepted}) == 5


@in_loop
async def test_kills_at_random_never_lead_to_bad_reports(tmp_path, settings, api, monkeypatch):
    odd(monkeypatch, "holds")
    (tmp_path / "hold").touch()
    window(tmp_path, 1)
    async with Pool(settings) as pool:
        jobs = await find_installations(pool, str(tmp_path))
        running = asyncio.ensure_future(work_off(pool, *jobs))
        for number in range(1, 4):
            os.kill((await busy(pool, "analyse")).pid, signal.SIGKILL)
            await until(lambda number=number: pool.restarts["signal"] == number)
        summary = await running
    assert summary["jobs_given_up"] == 1
    assert (left(tmp_path, 1), left(tmp_path, 1, "bad-reports")) == (4, 0)


@in_loop
async def test_a_listing_that_crashes_each_time_ends_with_an_error(settings, monkeypatch):
    odd(monkeypatch, "dies_listing")
    async with Pool(settings) as pool:
        with pytest.raises(errors.CannotStart, match="signal 11"):
            await find_installations(pool, settings.reports_base_path)
        assert pool.restarts == {"signal": 3}


@in_loop
async def test_a_user_whose_listing_crashes_takes_no_other_user_along(
    tmp_path, settings, monkeypatch
):
    odd(monkeypatch, "dies_listing_user_2")
    for user in (1, 2, 3):
        window(tmp_path, user)
    with heard() as log:
        async with Pool(settings) as pool:
            jobs = await find_installations(pool, str(tmp_path))
    assert [job.user_id for job in jobs] == [1, 3]
    assert log.events.count(("error", "user_skipped")) == 1
