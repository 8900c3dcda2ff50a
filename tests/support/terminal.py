"""Run tixd in a real pseudo-terminal of some width, and see what a person there would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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


def screen(
    *words: object,
    columns: int = 80,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Screen:
    """Run `tixd WORDS` in a terminal with 24 rows; standard error is shown there too.

    environment: variables beside PATH, HOME and TERM; nothing else is inherited.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
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
    )
    os.close(slave)
    try:
        sent = b"".join(_read(master))
        code = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return Screen(sent.decode().replace("\r\n", "\n"), code, columns)


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
