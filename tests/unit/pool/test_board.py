"""The board of a worker: what is read while it writes, once it is killed, and of garbage."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from tixd.jobs import Phase, Ready
from tixd.pool import board as board_module
from tixd.pool.board import HALF_BYTES, Board, Entry, Writer
from tixd.pool.codec import encode

READ = Phase("read", None, ("a.json", "b.json"), 5)
POST = Phase("post", 1000, ("a.json",), 6, has_finished_window=True)


@dataclass(frozen=True, slots=True)
class Passed:
    """The descriptor of a board, as multiprocessing passes it to a process."""

    fd: int

    def detach(self) -> int:
        """One of its own."""
        return os.dup(self.fd)


def writer_of(board: Board) -> Writer:
    """The worker's side, in this process."""
    return Writer(Passed(board._fd))


@pytest.fixture
def board() -> Iterator[Board]:
    """A board on which nothing is written yet."""
    with contextlib.closing(Board()) as made:
        yield made


def said(entry: Entry | None) -> tuple[int, Phase | None]:
    """Job and phase of an entry that there is."""
    assert entry is not None
    return entry.job, entry.phase


def test_a_board_says_which_job_is_computed_in_which_phase_and_since_when(board):
    writer = writer_of(board)
    assert board.read() is None
    found, before = [], time.monotonic()
    for write in (
        lambda: writer.begin(7),
        lambda: writer.report(READ),
        lambda: writer.report(POST),
    ):
        write()
        found.append(board.read())
    assert list(map(said, found)) == [(7, None), (7, READ), (7, POST)]
    assert [entry.sequence for entry in found] == [1, 2, 3]
    moments = [before, *(entry.since for entry in found), time.monotonic()]
    assert moments == sorted(moments)


def test_a_worker_that_waits_computes_no_job_and_the_next_job_begins_without_a_phase(board):
    writer = writer_of(board)
    writer.begin(7)
    writer.report(READ)
    writer.rest()
    assert said(board.read()) == (0, None)
    writer.begin(8)
    assert said(board.read()) == (8, None)
    assert writer.phase is None


def test_what_was_written_last_stays_readable_when_the_memory_is_released():
    board = Board()
    writer_of(board).begin(7)
    board.close()
    assert said(board.read()) == (7, None)


def test_of_names_that_do_not_fit_the_first_are_written_always_the_same(board):
    names = tuple(f"tix-report-{number}.json" for number in range(10_000))
    writer = writer_of(board)
    kept = []
    for _ in range(2):
        writer.report(Phase("analyse", 1000, names, 5))
        _, phase = said(board.read())
        kept.append(phase.names)
    assert kept[0] == kept[1] == names[: len(kept[0])]
    assert len(kept[0]) > 1000


def test_the_longest_names_of_a_batch_fit(board):
    names = tuple("é" * 120 + f"{number:010}.json" for number in range(32))
    writer_of(board).report(Phase("read", None, names, 5))
    assert said(board.read()) == (0, Phase("read", None, names, 5))


# --- torn entries --------------------------------------------------------------------------------


def test_an_entry_that_is_cut_anywhere_leaves_the_one_before(board):
    writer = writer_of(board)
    writer.begin(7)
    for phase in (READ, POST):
        writer.report(phase)
    before = bytes(board._memory)
    writer.report(READ)
    after = bytes(board._memory)
    first = HALF_BYTES * (before[HALF_BYTES:] != after[HALF_BYTES:])
    last = max(at for at in range(len(after)) if before[at] != after[at])
    for cut in range(first, last + 1):
        torn = after[:cut] + before[cut:]
        assert said(read_from(torn)) == (7, READ if torn == after else POST), cut
    assert said(read_from(after)) == (7, READ)


def read_from(memory: bytes) -> Entry | None:
    """What a parent reads that has not read before."""
    with contextlib.closing(Board()) as board, mmap.mmap(board._fd, 2 * HALF_BYTES) as raw:
        raw[: len(memory)] = memory
        return board.read()


def write_for_ever(board: Board, done: mmap.mmap) -> None:
    """In a process of its own: write entry after entry, and count those that are written."""
    writer = writer_of(board)
    for number in itertools.count(1):
        writer.begin(number)
        names = (f"{number}.json",) * (number % 7 * 100)
        writer.report(Phase("read", number, names, number))
        done[:8] = (2 * number).to_bytes(8, "little")


def check(entry: Entry | None) -> int:
    """The entry is one that write_for_ever wrote; returns its number."""
    assert entry is not None
    number = (entry.sequence + 1) // 2
    names = (f"{number}.json",) * (number % 7 * 100)
    phase = None if entry.sequence % 2 else Phase("read", number, names, number)
    assert (entry.job, entry.phase) == (number, phase)
    return entry.sequence


@pytest.mark.parametrize("kills", [60, pytest.param(5000, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
def test_a_writer_killed_at_any_moment_leaves_its_last_entry_or_the_one_it_wrote(kills):
    chance = random.Random(19)
    for _ in range(kills):
        with contextlib.closing(Board()) as board, mmap.mmap(-1, 8) as done:
            child = os.fork()
            if not child:
                with contextlib.suppress(BaseException):
                    write_for_ever(board, done)
                os._exit(1)
            while not any(done[:8]):
                pass
            until = time.perf_counter() + chance.uniform(0, 0.002)
            while time.perf_counter() < until:
                if entry := board.read():  # None: the writer was quicker, ten times
                    check(entry)
            os.kill(child, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            assert check(board.read()) >= int.from_bytes(done[:8], "little")


# --- what no worker writes -----------------------------------------------------------------------


@given(st.binary(max_size=100), st.binary(max_size=100))
@how(suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_no_entry(first: bytes, second: bytes) -> None:
    memory = first.ljust(HALF_BYTES, b"\0") + second
    assert read_from(memory) is None


@given(st.integers(0, 200), st.binary(min_size=1, max_size=40))
def test_bytes_written_over_an_entry_make_it_none(at: int, garbage: bytes) -> None:
    with contextlib.closing(Board()) as board:
        writer_of(board).report(READ)
        memory = bytearray(board._memory)
    memory[HALF_BYTES + at : HALF_BYTES + at + len(garbage)] = garbage
    found = read_from(bytes(memory))
    assert found is None or said(found) == (0, READ)


@pytest.mark.parametrize("content", [b"x", b"[]", encode(Ready(1)), b"\xff", 500 * b"["])
def test_an_entry_without_a_phase_in_it_is_none(board, monkeypatch, content):
    monkeypatch.setattr(board_module, "encode", lambda _: content)
    writer_of(board).report(READ)
    assert board.read() is None


def test_a_board_that_became_garbage_says_nothing_and_says_again_what_is_written_next(board):
    writer = writer_of(board)
    writer.begin(7)
    assert board.read()
    with mmap.mmap(board._fd, 2 * HALF_BYTES) as raw:
        raw[:] = 2 * HALF_BYTES * b"\xff"
    assert board.read() is None
    writer.begin(8)  # what lies beside it has a greater number, but is not valid
    assert said(board.read()) == (8, None)


# --- how it is made ------------------------------------------------------------------------------


def test_a_kernel_that_does_not_know_the_flag_is_asked_without_it(monkeypatch):
    create = os.memfd_create

    def old(name: str, flags: int = os.MFD_CLOEXEC) -> int:
        if flags != os.MFD_CLOEXEC:
            raise OSError(22, "Invalid argument")
        return create(name, flags)

    monkeypatch.setattr(os, "memfd_create", old)
    with contextlib.closing(Board()) as board:
        writer_of(board).begin(7)
        assert said(board.read()) == (7, None)


def test_memory_that_cannot_be_had_is_an_error_that_leaves_no_descriptor(monkeypatch):
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Board()
    assert len(os.listdir("/proc/self/fd")) == before
