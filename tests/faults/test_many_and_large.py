"""Case 16: very many reports in one folder, very many installations: bounded memory, known time."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import made
from tests.support.ledger import reports_left
from tests.support.pools import in_loop, window, work_off
from tests.support.program import MEASURE, Ended, once
from tests.support.results import settings_for
from tests.support.stand_in_api import StandInApi, closed_port
from tixd.pool.pool import Pool

START = 1_600_000_000

#: Packets of a report here, and seconds between them: many reports make a window, few bytes each.
PACKETS, APART_SECONDS = 6, 10

#: Reports of a window (1084 packets), and those that go when it is posted.
REPORTS, SPENT = 181, 90

#: Most memory that one process may take: 90 MB for the parent and some slack.
MOST_KIB = 100 * 1024

#: What the listing of a folder takes for each report in it; its content is read as it is needed.
NAME_BYTES = 400


def many_reports(folder: Path, number: int) -> None:
    """One report a minute, each small."""
    folder.mkdir(parents=True)
    for first in range(START, START + 60 * number, 60):
        rows = (made.record(first + APART_SECONDS * i) for i in range(PACKETS))
        (folder / f"tix-report-{first}.json").write_bytes(made.report(b"".join(rows)))


def many_installations(base: Path, number: int) -> None:
    """Installations of 100 users, each with one report, which is too little."""
    content = made.report(made.record(START))
    for i in range(number):
        folder = base / str(2 + i % 100) / str(1 + i)
        folder.mkdir(parents=True)
        (folder / f"tix-report-{START}.json").write_bytes(content)


def timed(base: Path, port: int) -> tuple[Ended, float]:
    """One cycle and its seconds; prints what it took."""
    begun = time.monotonic()
    ended = once(base, port, before=MEASURE, TIX_WORKERS="2", CELERY_LOG_LEVEL="ERROR")
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{seconds:.1f} s, {ended.events('peak_memory')}\n{ended.text[:300]}\n")
    assert ended.code == 0
    return ended, seconds


def reports_of_one_folder(base: Path, number: int, most_kib: int = MOST_KIB) -> None:
    """All its windows are posted within that much memory."""
    many_reports(base / "1/1", number)
    with StandInApi(user="tix", password="secret") as api:
        ended, _ = timed(base, api.port)
        posted = len(api.accepted)
    assert posted == ended.counts["windows_posted"] == (number - REPORTS) // SPENT + 1
    assert len(reports_left(base / "1/1")) == number - posted * SPENT
    assert ended.events("peak_memory")[0]["kib"] < most_kib


def many_folders(base: Path, number: int, most_seconds: float) -> None:
    """All are looked at within that time."""
    many_installations(base, number)
    with StandInApi(user="tix", password="secret") as api:
        ended, seconds = timed(base, api.port)
    assert (ended.installations, ended.counts) == (number, {})
    assert seconds < most_seconds
    assert ended.events("peak_memory")[0]["kib"] < MOST_KIB


def test_20_000_reports_in_one_folder_take_no_more_memory_than_a_few(tmp_path):
    reports_of_one_folder(tmp_path, 20_000)


def test_2000_installations_are_looked_at_well_within_a_period(tmp_path):
    many_folders(tmp_path, 2000, most_seconds=60)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_200_000_reports_in_one_folder_take_bounded_memory(tmp_path):
    names_kib = 200_000 * NAME_BYTES // 1024
    reports_of_one_folder(tmp_path, 200_000, MOST_KIB + names_kib)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_50_000_installations_are_looked_at_within_a_period(tmp_path):
    many_folders(tmp_path, 50_000, most_seconds=600)


#: Most that a worker may have grown by after reports that are large and bad.
GROWN_BYTES = 64 * 2**20


def wave(folder: Path, number: int) -> None:
    """100 reports, each with another sender's address of a million characters."""
    for i in range(100):
        path = folder / f"tix-report-{START + 100 * number + i}.json"
        path.write_bytes(made.report(made.record(START), source=f"{number} {i} ".ljust(10**6, "x")))
        os.utime(path, (START, START))


@pytest.mark.parametrize("waves", [3, pytest.param(12, marks=pytest.mark.long)])
@in_loop
async def test_reports_with_endless_addresses_leave_no_memory_taken(tmp_path, waves):
    settings = settings_for(closed_port(), reports_base_path=str(tmp_path), workers=1)
    job = window(tmp_path, 1)
    folder = tmp_path / "1/1"
    async with Pool(settings) as pool:
        await work_off(pool, job)
        (worker,) = pool.workers
        idle_bytes = psutil.Process(worker.pid).memory_info().rss
        for number in range(waves):
            wave(folder, number)
            assert (await work_off(pool, job))["reports_bad"] == 100
            shutil.rmtree(folder / "bad-reports")
        assert pool.workers[0].pid == worker.pid
        grown_bytes = psutil.Process(worker.pid).memory_info().rss - idle_bytes
    sys.stdout.write(f"grown by {grown_bytes / 2**20:.1f} MiB\n")
    assert grown_bytes < GROWN_BYTES
