"""Tries of things that may hang, all at once, within one deadline.

In: Checks. Out: a Finding each, in their order. Rules: each is tried in a process of its own,
because a volume that hangs, or a look-up of a name, holds whoever asked for as long as it likes;
one that is late is killed, and left behind where the kernel does not let it die. So call it where
this process has no threads of its own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

import orjson

from tixd import errors

#: How long all tries may take; longer than any deadline of their own.
DEADLINE_SECONDS = 12.0

#: Bytes taken from a pipe at once.
_PIECE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Check:
    """A try: what is tried, how, and what to do where it does not end.

    `run` returns a sentence, or raises a TixdError.
    """

    what: str
    run: Callable[[], str]
    when_silent: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a try has shown: that it is fine, or what is wrong and what to do."""

    what: str
    fine: bool
    text: str


def judged(check: Check) -> Finding:
    """Try it here and now."""
    try:
        return Finding(check.what, True, check.run())  # noqa: FBT003
    except errors.TixdError as error:
        return Finding(check.what, False, " ".join(str(error).split()))  # noqa: FBT003


def tried(checks: Sequence[Check], seconds: float = DEADLINE_SECONDS) -> list[Finding]:
    """Try all at once; what has not ended after so long is wrong."""
    deadline = time.monotonic() + seconds
    running = [_Try(check) for check in checks]
    with selectors.DefaultSelector() as selector:
        for one in running:
            selector.register(one.pipe, selectors.EVENT_READ, one)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.heard():
                    selector.unregister(key.fileobj)
    return [one.ended(seconds) for one in running]


class _Try:
    """A check under way in a process of its own; `pipe` is where its answer comes from."""

    def __init__(self, check: Check) -> None:
        self._check, self._said, self._whole = check, b"", False
        self.pipe, answer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _answer(check, answer)
        os.close(answer)

    def heard(self) -> bool:
        """Take what has come; False: that is all."""
        piece = os.read(self.pipe, _PIECE_BYTES)
        self._said += piece
        self._whole = not piece
        return bool(piece)

    def ended(self, seconds: float) -> Finding:
        """What it has shown, and its end."""
        os.close(self.pipe)
        if not self._whole:
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0 if self._whole else os.WNOHANG)
        if self._whole and self._said:
            return Finding(**orjson.loads(self._said))
        told = f"no answer within {seconds:.0f} s: {self._check.when_silent}"
        text = "the try itself broke; please report it" if self._whole else told
        return Finding(self._check.what, False, text)  # noqa: FBT003


def _answer(check: Check, pipe: int) -> NoReturn:
    """The life of the process that tries; it holds no stream that somebody may wait to end."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        with os.fdopen(pipe, "wb") as answer:
            answer.write(orjson.dumps(asdict(judged(check))))
    finally:
        os._exit(0)
