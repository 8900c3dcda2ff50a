"""Signals for workers: real processes that open their log again and toggle debug."""

import asyncio
import os
from pathlib import Path

from tests.support.waiting import until
from tixd.config.settings import Settings
from tixd.jobs import JobResult, ProcessInstallation
from tixd.pool.pool import Pool
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG


def settings(tmp_path: Path) -> Settings:
    """One worker that logs to a file."""
    return Settings(
        workers=1, reports_base_path=str(tmp_path), log_file=str(tmp_path / "log"), log_level="INFO"
    )


async def a_visit(pool: Pool, base: Path) -> JobResult:
    """A job that says something at level DEBUG: its installation is not there."""
    return await pool.submit(ProcessInstallation(f"{base}/1/2", 1, 2))


def test_a_worker_logs_debug_when_told_to_and_not_when_told_again(tmp_path):
    log = tmp_path / "log"

    async def run() -> list[int]:
        lines = []
        async with Pool(settings(tmp_path)) as pool:
            pool.signal_workers(TOGGLE_DEBUG)  # not ready yet: it hears of it when it is
            for _ in range(3):
                await a_visit(pool, tmp_path)
                lines.append(log.read_text().count("installation_vanished"))
                pool.signal_workers(TOGGLE_DEBUG)
        return lines

    assert asyncio.run(run()) == [1, 1, 2]


def test_a_worker_opens_its_log_again_when_told_to(tmp_path):
    log = tmp_path / "log"

    async def run() -> None:
        async with Pool(settings(tmp_path)) as pool:
            await a_visit(pool, tmp_path)
            os.rename(log, tmp_path / "log.1")
            pool.signal_workers(REOPEN_LOG)
            await until(log.exists)

    asyncio.run(run())
    assert log.exists()
