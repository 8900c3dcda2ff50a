"""The sink for a file: what a rotation that fails leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.waiting import until
from tixd import errors
from tixd.sinks.base import OutboundMessage
from tixd.sinks.json_lines import LinesSink

RECORD = OutboundMessage("r", "m", b"x" * 60, "application/json")


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Descriptors that somebody else opens just before reopening the sink's file fails."""
    usual, opened, found = LinesSink._open, [], []

    def open_file(self: LinesSink) -> int:
        opened.append(1)
        if len(opened) == 3:
            found.append(os.open(os.devnull, os.O_RDONLY))
            raise OSError(errno.EMFILE, "Too many open files")
        return usual(self)

    monkeypatch.setattr(LinesSink, "_open", open_file)
    return found


def test_a_rotation_whose_reopening_fails_closes_nobody_elses_descriptor(
    tmp_path: Path, strangers: list[int]
):
    async def test() -> None:
        sink = LinesSink(str(tmp_path / "records"), 100, 3)
        await sink.publish([RECORD])
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(errors.Unavailable, match="Too many open files"):
            await sink.publish([RECORD])
        (stranger,) = strangers
        os.close(stranger)  # fails where it has been closed
        assert len(os.listdir("/proc/self/fd")) == before
        await sink.publish([RECORD])

    asyncio.run(test())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "records.1"]


def test_an_old_file_that_cannot_be_deleted_refuses_no_bundle(tmp_path: Path):
    async def test() -> None:
        sink = LinesSink(str(tmp_path / "records"), 100, 1)
        for _ in range(3):
            await sink.publish([RECORD])

    (tmp_path / "records.1").mkdir()
    with heard() as log:
        asyncio.run(test())
    assert log.events == [("warning", "file_not_deleted")] * 2
    names = ["records", "records.1", "records.3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_file_that_hangs_holds_up_one_thread_and_no_more(tmp_path: Path):
    async def test() -> None:
        sink = LinesSink(str(tmp_path / "records"), 10_000, 1)
        await sink.publish([RECORD])
        with open(tmp_path / "records") as held_by_somebody:
            fcntl.flock(held_by_somebody, fcntl.LOCK_EX)
            for _ in range(5):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(sink.publish([RECORD]), 0.05)
            await until(
                lambda: [thread.name for thread in threading.enumerate()].count("file") == 1
            )
        await asyncio.wait_for(sink.publish([RECORD]), 60)

    asyncio.run(test())
    assert len((tmp_path / "records").read_bytes().splitlines()) == 3


@pytest.mark.parametrize("deleted", [False, True])
def test_a_file_that_another_collector_sets_aside_meanwhile_gets_no_record(tmp_path: Path, deleted):
    path = tmp_path / "records"

    async def test() -> None:
        sink = LinesSink(str(path), 10_000, 1)
        await sink.publish([RECORD])
        with open(path) as held_by_another:
            fcntl.flock(held_by_another, fcntl.LOCK_EX)
            waiting = asyncio.ensure_future(sink.publish([RECORD]))
            await until(lambda: waits_for_lock(held_by_another.fileno()))
            path.rename(tmp_path / "records.1")
            if deleted:
                (tmp_path / "records.1").unlink()
        await asyncio.wait_for(waiting, 60)

    asyncio.run(test())
    assert len(path.read_bytes().splitlines()) == 1


def waits_for_lock(file: int) -> bool:
    """Whether somebody waits for the kernel lock on an open file."""
    inode = f":{os.fstat(file).st_ino} "
    return any(
        "->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()
    )


def test_a_part_that_does_not_fit_takes_no_record_of_another_collector_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usual = LinesSink._rotate

    def rotate(self: LinesSink) -> None:
        usual(self)
        (tmp_path / "records").write_bytes(b"another's\n")

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def test() -> None:
        sink = LinesSink(str(tmp_path / "records"), 100, 3)
        await sink.publish([RECORD])
        monkeypatch.setattr(LinesSink, "_rotate", rotate)
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(errors.Unavailable):
            await sink.publish([RECORD])

    asyncio.run(test())
    assert (tmp_path / "records").read_bytes() == b"another's\n"
