"""Run tixd in a real pseudo-terminal of some width, and see what a person there would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyte

from tests.support.program import PATIENCE_SECONDS, ROOT, TIXD

#: The widths at which every table is looked at.
WIDTHS = (60, 80, 120, 200)

#: Colours, cursor moves and links that a terminal does not show as characters.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>]")


@dataclass(frozen=True)
class Screen:
    """What a command wrote to a terminal: `text` as sent, its exit code, and the width."""

    text: str
    code: int
    columns: int

    @property
    def lines(self) -> list[str]:
        """The lines without colours; one that is longer than the terminal is wide is whole."""
        return [line.rstrip() for line in _ESCAPES.sub("", self.text).split("\n")][:-1]

    @property
    def faults(self) -> list[str]:
        """The lines with a word that the right edge breaks, or with one that is cut (…).

        A word that is longer than the terminal is wide cannot be kept whole, and is none.
        """
        return [line for line in self.lines if "…" in line or self._breaks(line)]

    def _breaks(self, line: str) -> bool:
        edges = range(self.columns, len(line), self.columns)
        whole = (word.span() for word in re.finditer(r"\S+", line))
        short = [(begin, end) for begin, end in whole if end - begin <= self.columns]
        return any(begin < edge < end for edge in edges for begin, end in short)


class Session:
    """A command that runs in a terminal: what is on its screen now, keys, sizes, its end."""

    def __init__(
        self, master: int, process: subprocess.Popen[bytes], size: tuple[int, int]
    ) -> None:
        self._master = master
        self.process = process
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.sent = b""
        self.mode = termios.tcgetattr(master)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without blanks at their ends and empty ones at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")

    def shows(self, is_there: Callable[[list[str]], Any]) -> list[str]:
        """Read until the screen is as `is_there` wants it; return its lines."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there(self.lines):
            assert time.monotonic() < deadline, self.lines
            self._take(0.2)
        return self.lines

    def _take(self, seconds: float) -> bytes:
        """Read some of what is there, or comes within that time; nothing: none did."""
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        piece = next(_read(self._master), b"")
        self.sent += piece
        self._stream.feed(piece)
        return piece

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as its window does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def ends(self) -> int:
        """Wait for the end; return the exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.lines
            self._take(0.1)
        while self._take(0.1):
            pass
        return self.process.returncode

    def is_restored(self) -> bool:
        """Whether the terminal has its mode, its first screen and its cursor again."""
        modes = [self.sent.rfind(code) for code in (b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h")]
        return termios.tcgetattr(self._master) == self.mode and modes[0] < modes[1] and modes[2] > 0


@contextmanager
def session(
    *words: object,
    size: tuple[int, int] = (80, 24),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """Run `tixd WORDS` in a terminal of this many columns and rows, as `screen` does."""
    master, process = _started(words, size, ROOT, environment)
    try:
        yield Session(master, process, size)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def screen(
    *words: object,
    columns: int = 80,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Screen:
    """Run `tixd WORDS` in a terminal with 24 rows; standard error is shown there too.

    environment: variables beside PATH, HOME and TERM; nothing else is inherited.
    """
    master, process = _started(words, (columns, 24), cwd, environment)
    try:
        sent = b"".join(_read(master))
        code = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return Screen(sent.decode().replace("\r\n", "\n"), code, columns)


def _started(
    words: tuple[object, ...],
    size: tuple[int, int],
    cwd: Path,
    environment: Mapping[str, str] | None,
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a command in a new terminal; return the terminal's other end too."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    variables = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PAGER": "cat"}
    variables |= {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [*TIXD, *map(str, words)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env=variables | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
        start_new_session=True,
        preexec_fn=_control,  # noqa: PLW1509 - no thread of a test holds a lock that this needs
    )
    os.close(slave)
    return master, process


def _control() -> None:
    """Make standard input the controlling terminal, whose Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(master: int) -> Iterator[bytes]:
    """Yield what arrives until the last process has closed the terminal."""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: nobody holds its other end
            return
        if not piece:
            return
        yield piece
