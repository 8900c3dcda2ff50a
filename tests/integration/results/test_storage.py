"""Storing results on a disk that is really full, and through a real kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.results import ONE, post, result, settings_for
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tests.support.volumes import fill, tmpfs
from tixd import errors
from tixd.directory import Folder
from tixd.results.backoff import Backoff
from tixd.results.client import ApiClient
from tixd.results.failed_results import FailedResults
from tixd.results.journal import Journal
from tixd.results.journal_format import JournalEntry
from tixd.results.posting import Poster, Reposted

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Path]:
    """A file system of 64 KiB; skipped where this user may not mount one."""
    with tmpfs(tmp_path / "disk", 64) as path:
        yield path


def test_a_full_disk_leaves_no_truncated_file_and_freed_it_stores_again(tiny_disk):
    with Folder(str(tiny_disk)) as folder, FailedResults(folder) as kept:
        first = kept.add(result(1))
        ballast = fill(tiny_disk)
        assert ballast
        with pytest.raises(errors.DiskFull):
            kept.add(result(2))
        with pytest.raises(errors.DiskFull), Journal(folder) as journal:
            journal.write_ahead(JournalEntry(names=("a.json",)))
        assert os.listdir(tiny_disk / "failed-results") == [first]
        ballast.unlink()
        assert kept.load(kept.add(result(2))) == result(2)


def test_on_a_full_disk_stored_results_are_still_drained(tiny_disk):
    with (
        StandInApi() as api,
        Folder(str(tiny_disk)) as folder,
        FailedResults(folder) as kept,
    ):
        kept.add(result(1))
        fill(tiny_disk)
        assert drained(kept, api.port).accepted == 1
        assert os.listdir(tiny_disk / "failed-results") == []


def drained(kept: FailedResults, port: int, backoff: Backoff | None = None) -> Reposted:
    """One round with a real client."""
    client = ApiClient(settings_for(port))
    try:
        clock, jitter = lambda: 1_700_000_000.0, random.Random(1)
        poster = Poster(ONE, kept, client, clock=clock, jitter=jitter)
        steps = poster.repost(backoff or Backoff(), limit=1000, may_continue=lambda: True)
        return client.requests.perform(steps)
    finally:
        client.close()


STORER = """
import sys
from tests.support.results import result
from tixd.directory import Folder
from tixd.results.failed_results import FailedResults
with Folder(sys.argv[1]) as folder, FailedResults(folder) as failed_results:
    for timestamp in range(int(sys.argv[2]), 10**6):
        failed_results.add(result(timestamp))
        print(timestamp, flush=True)
"""


def stored_until_killed(folder: Path, first: int, lines: int) -> int:
    """Store results until SIGKILL after so many of them; returns the last that was safe."""
    command = [sys.executable, "-c", STORER, str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as storer:
        assert storer.stdout is not None
        told = [int(storer.stdout.readline()) for _ in range(lines)]
        storer.kill()
        told += [int(line) for line in storer.stdout]
    assert storer.returncode == -signal.SIGKILL
    return told[-1]


def test_kills_while_results_are_stored_lose_none_and_truncate_none(tmp_path):
    next_one = 1
    for lines in range(1, 9):
        next_one = stored_until_killed(tmp_path, next_one, lines) + 1
    with Folder(str(tmp_path)) as folder, FailedResults(folder) as kept:
        found = [kept.load(name).summary.timestamp for name in kept.oldest(10**6)]
    assert found in (list(range(1, next_one)), list(range(1, next_one + 1)))


def test_results_kept_while_the_api_was_down_arrive_once_and_in_order(tmp_path):
    with Folder(str(tmp_path)) as folder, FailedResults(folder) as kept:
        for timestamp in random.Random(7).sample(range(1, 301), 300):
            kept.add(result(timestamp))
        down = drained(kept, closed_port())
        assert (down.accepted, down.backoff.failures) == (0, 1)
        with StandInApi() as api:
            done = drained(kept, api.port)
            assert (done.accepted, api.connections) == (300, 1)
        assert kept.oldest(10) == []
    assert [post.body["timestamp"] for post in api.accepted] == list(range(1, 301))


def test_a_post_stored_and_then_cut_is_repeated_once_at_most(tmp_path):
    with (
        Folder(str(tmp_path)) as folder,
        FailedResults(folder) as kept,
        StandInApi() as api,
    ):
        kept.add(result(1))
        api.answer(Behaviour(fault="store_then_cut"))
        assert drained(kept, api.port).accepted == 0
        api.answer(Behaviour())
        assert drained(kept, api.port).accepted == 1
        assert [post.body["timestamp"] for post in api.accepted] == [1, 1]
        assert kept.oldest(10) == []


def test_the_stand_in_runs_as_a_program_and_logs_what_it_took(tmp_path):
    log = tmp_path / "posts.jsonl"
    script = ROOT / "tests" / "support" / "stand_in_api.py"
    command = [sys.executable, str(script), "--port", "0", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as program:
        assert program.stdout is not None
        url = program.stdout.readline().split()[-1]
        client = ApiClient(settings_for(int(url.rpartition(":")[2])))
        answer = post(client, ONE, result(5))
        client.close()
        program.terminate()
    assert answer.outcome == "accepted"
    assert log.read_text().startswith('{"user": 1, "installation": 11, "body": {"timestamp": 5,')
