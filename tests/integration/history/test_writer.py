"""The history's file and what goes wrong with it: work goes on, one warning, and it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import waiting
from tests.support.histories import PARTS, rows, told, writing
from tests.support.log_events import Heard, heard
from tests.support.program import ROOT
from tests.support.volumes import fill, remount, tmpfs, without_privilege
from tixd import errors
from tixd.history import store, writer
from tixd.history.writer import HistoryWriter


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    """Commit and try again at once."""
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(writer, "SUMMARY_SECONDS", 0.0)
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)


@pytest.fixture
def log() -> Iterator[Heard]:
    with heard() as found:
        yield found


def put(history: HistoryWriter, *users: int) -> None:
    for user in users:
        history.put("results", told(user=user))


def users(path: Path) -> list[int]:
    return [row["user"] for row in rows(path, "SELECT user FROM installations ORDER BY user")]


async def written(history: HistoryWriter, count: int) -> None:
    await waiting.until(lambda: history.view().written >= count)


async def trouble(history: HistoryWriter, words: str) -> None:
    """Wait until it says what is wrong."""
    await waiting.until(lambda: words in history.view().reason)


def test_what_was_put_is_in_the_file_after_the_stop(tmp_path):
    path = tmp_path / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1, 2, 3)

    asyncio.run(run())
    assert os.listdir(tmp_path) == ["h.sqlite"], "its log is merged"
    assert path.stat().st_mode & 0o007 == 0, "nobody else reads it"
    assert users(path) == [1, 2, 3]


def test_a_reader_sees_it_while_it_is_written_and_names_it_when_it_is_none(tmp_path):
    path = tmp_path / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            await written(history, 1)
            assert users(path) == [1]
            await waiting.until(lambda: history.view().summary.get("installations") == 1)
            assert history.view().size_bytes > 0

    asyncio.run(run())
    with pytest.raises(errors.NotDone, match="there is no history yet"):
        store.open_for_reading(str(tmp_path / "none.sqlite"))
    (tmp_path / "x.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(errors.NotDone, match="damaged, or no database"):
        store.open_for_reading(str(tmp_path / "x.sqlite"))


def test_a_full_disk_is_one_warning_and_the_entries_wait(tmp_path, log):
    with tmpfs(tmp_path / "disk", 256) as disk:
        filler = fill(disk)

        async def run() -> None:
            async with writing(disk / "h.sqlite") as history:
                put(history, 1, 2)
                await trouble(history, "no space is left")
                filler.unlink()
                await written(history, 2)
                await waiting.until(lambda: not history.view().reason)

        asyncio.run(run())
        assert users(disk / "h.sqlite") == [1, 2]
    assert log.events == [("warning", "history_unusable"), ("info", "history_usable")]


def test_a_disk_that_fills_while_it_is_written_loses_nothing(tmp_path, log):
    with tmpfs(tmp_path / "disk", 1024) as disk:

        async def run() -> None:
            async with writing(disk / "h.sqlite") as history:
                put(history, 1)
                await written(history, 1)
                filler = fill(disk)
                put(history, *range(2, 300))
                await trouble(history, "no space is left")
                filler.unlink()
                await written(history, 299)

        asyncio.run(run())
        assert users(disk / "h.sqlite") == list(range(1, 300))
    assert log.events.count(("warning", "history_unusable")) == 1


def test_a_read_only_volume_is_one_warning_and_is_used_again_later(tmp_path, log):
    with tmpfs(tmp_path / "disk", 2048) as disk:
        remount(disk, "ro")

        async def run() -> None:
            async with writing(disk / "h.sqlite") as history:
                put(history, 1)
                await trouble(history, "Read-only file system")
                remount(disk, "rw")
                await written(history, 1)

        asyncio.run(run())
        assert users(disk / "h.sqlite") == [1]
    assert log.events == [("warning", "history_unusable"), ("info", "history_usable")]


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, log, content):
    path = tmp_path / "h.sqlite"
    path.write_bytes(content)

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            await written(history, 1)

    asyncio.run(run())
    assert users(path) == [1]
    assert (tmp_path / "h.sqlite.damaged").read_bytes() == content
    assert log.events == [("warning", "history_set_aside")]


def test_damage_that_comes_while_it_is_written_loses_nothing_that_waits(tmp_path, log):
    path = tmp_path / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            put(history, *range(1, 2000))
            await written(history, 1999)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        async with writing(path) as history:
            put(history, 5000)
            await written(history, 1)

    asyncio.run(run())
    assert users(path) == [5000]
    assert ("warning", "history_set_aside") in log.events


def test_a_file_that_is_locked_is_one_warning_and_is_written_later(tmp_path, log):
    path = tmp_path / "h.sqlite"
    store.open_for_writing(str(path), PARTS).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            await trouble(history, "another process has locked it")
            other.execute("COMMIT")
            await written(history, 1)

    asyncio.run(run())
    other.close()
    assert log.events == [("warning", "history_unusable"), ("info", "history_usable")]


def test_a_folder_that_is_removed_is_one_warning_until_it_is_back(tmp_path, log):
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            await written(history, 1)
            folder.rename(tmp_path / "removed")  # at once: the writer looks while single files go
            await trouble(history, "make that folder")
            put(history, 2)
            folder.mkdir()
            await written(history, 2)

    asyncio.run(run())
    assert users(path) == [2]
    assert log.events.count(("warning", "history_unusable")) == 1


@pytest.mark.parametrize("version", [store.FORMAT + 1, 0])
def test_the_file_of_another_program_or_a_later_tixd_is_not_touched(tmp_path, log, version):
    path = tmp_path / "h.sqlite"
    other = sqlite3.connect(path)
    other.executescript("CREATE TABLE precious (x); INSERT INTO precious VALUES (7)")
    other.execute(f"PRAGMA user_version={version}")
    if version:
        other.execute(f"PRAGMA application_id={store.APPLICATION_ID}")
    other.commit()
    other.close()
    before = path.read_bytes()

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            await trouble(history, "name another file")

    asyncio.run(run())
    assert path.read_bytes() == before
    assert [event for _, event in log.events] == ["history_unusable"]


def test_a_name_that_is_no_history_is_never_renamed(tmp_path, log):
    path = tmp_path / "passwd"
    path.write_bytes(b"root:x:0:0\n" * 1000)

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            await trouble(history, "is not a history")

    asyncio.run(run())
    assert path.read_bytes() == b"root:x:0:0\n" * 1000


def test_what_waits_is_bounded_and_the_oldest_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_WAITING", 10)
    path = tmp_path / "none" / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            await trouble(history, "make that folder")
            put(history, *range(1, 26))
            assert history.view().dropped == 15
            path.parent.mkdir()
            await written(history, 10)

    asyncio.run(run())
    assert users(path) == list(range(16, 26))


def test_an_entry_that_cannot_be_written_takes_no_other_with_it(tmp_path, log):
    path = tmp_path / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)
            history.put("results", '[[1,2],[1],"nonsense"]')
            put(history, 2)
            await written(history, 2)
            assert history.view().dropped == 1

    asyncio.run(run())
    assert users(path) == [1, 2]
    assert log.events == [("warning", "history_entry_dropped")]


#: Writes users 1, 2, 3, ... into the file of its first argument and names each that is committed.
_ENDLESS = """
import asyncio, sys
from pathlib import Path
from tests.support.histories import told, writing
from tixd.history import writer

async def run():
    writer.COMMIT_SECONDS = 0.005
    async with writing(Path(sys.argv[1])) as history:
        user = 0
        while True:
            await asyncio.sleep(0.0005)
            user += 1
            history.put("results", told(user=user))
            print(history.view().written, user, flush=True)

asyncio.run(run())
"""


def killed_after(path: Path, lines: int) -> tuple[int, int]:
    """Kill a writer after so many entries; returns how many were committed, and put, then."""
    command = [sys.executable, "-c", _ENDLESS, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        last = ["0", "0"]
        for _ in range(lines):
            last = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
    whole = [line.split() for line in rest if len(line.split()) == 2]
    return int((whole or [last])[-1][0]), int((whole or [last])[-1][1])


def opens_after_kills(path: Path, points: range) -> None:
    for lines in points:
        for name in path.parent.iterdir():
            name.unlink()
        committed, put_then = killed_after(path, lines)
        store.open_for_writing(str(path), PARTS).close()
        found = users(path)
        assert found == list(range(1, len(found) + 1)), "a gap"
        assert committed <= len(found) <= put_then + 1
        with contextlib.closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_after_a_kill_the_history_opens_and_only_the_last_commit_is_missing(tmp_path):
    opens_after_kills(tmp_path / "h.sqlite", range(1, 500, 100))


@pytest.mark.long
def test_after_a_kill_at_any_of_fifty_points_the_history_opens(tmp_path):
    opens_after_kills(tmp_path / "h.sqlite", range(1, 1500, 30))


def test_an_operator_without_rights_in_the_folder_reads_it_all_the_same(tmp_path):
    path = tmp_path / "h.sqlite"

    async def run() -> None:
        async with writing(path) as history:
            put(history, 1)

    asyncio.run(run())
    os.chmod(tmp_path, 0o500)
    os.chmod(path, 0o400)
    program = (
        "import sys; from tixd.history import store;"
        "print(store.value(store.open_for_reading(sys.argv[1]), 'SELECT user FROM installations'))"
    )
    command = [*without_privilege(), sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
