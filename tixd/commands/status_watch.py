"""`tixd status --watch`: the page of `tixd status` on a terminal, redrawn each second.

Rules: the words are those of `tixd status`; the terminal is left as it was, whatever ends this;
while nothing answers, that is said, and the question is asked again.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from tixd import errors
from tixd.commands.output import fold
from tixd.display import moment
from tixd.runtime import signal_masks

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

#: Pause between two questions.
PERIOD_SECONDS = 1.0

#: How soon a key or a new size of the terminal is noticed.
NOTICE_SECONDS = 0.1

#: So many lines of the page are shown at least, or the last line is not.
LEAST_ROWS = 3

#: Keys that end it.
_END = b"qQ"

#: Signals that would leave the terminal as it is.
_ENDING = (signal.SIGTERM, signal.SIGHUP)

Roles = list[Mapping[str, Any]]


def watch(ask: Callable[[], Roles], page: Callable[[Mapping[str, Any]], Iterator[str]]) -> None:
    """Show what `ask` returns as `page` has it, until q or Ctrl-C; raises NotDone.

    ask: raises OperatorError where no role answers.
    """
    from rich.console import Console  # noqa: PLC0415 - takes long, and `tixd status` needs none
    from rich.live import Live  # noqa: PLC0415

    console = Console(highlight=False)
    _check_terminal(console)
    shown = _Shown(ask, page)
    try:
        with _keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                shown.ask()
                _draw(live, shown)
                if _ended(keyboard, live, shown):
                    return
    except KeyboardInterrupt:
        return


def _check_terminal(console: Console) -> None:
    """Raise NotDone where nothing can be redrawn."""
    instead = "use tixd status, or tixd status --format json in scripts"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise errors.NotDone(f"--watch needs a terminal: {instead}")
    if console.is_dumb_terminal:
        kind = os.environ.get("TERM") or "not set"
        raise errors.NotDone(f"--watch cannot redraw this terminal (TERM is {kind}): {instead}")


class _Shown:
    """What is on the screen: the last answer, or since when there is none, and why."""

    def __init__(
        self, ask: Callable[[], Roles], page: Callable[[Mapping[str, Any]], Iterator[str]]
    ) -> None:
        self._ask = ask
        self._page = page
        self._lines: list[str] = []
        self._silent_since: float | None = None
        self._asked = 0.0

    def ask(self) -> None:
        """Ask once more."""
        self._asked = time.time()
        try:
            roles = self._ask()
        except errors.OperatorError as error:
            if self._silent_since is None:
                self._silent_since = self._asked
            self._lines = [
                f"no answer since {moment(self._silent_since)}, asked again every second",
                "",
                *str(error).splitlines(),
            ]
            return
        self._silent_since = None
        self._lines = []
        for number, role in enumerate(roles):
            self._lines += [*([""] if number else []), *self._page(role)]

    def lines(self, columns: int, rows: int) -> list[str]:
        """Return the lines for a terminal of this size, the last one about this command."""
        body = list(fold(self._lines, columns))
        foot = ["", *fold([f"{moment(self._asked)}, q ends"], columns)]
        if rows < len(foot) + LEAST_ROWS:
            foot = []
        room = rows - len(foot)
        if len(body) > room:
            more = f"{len(body) - room + 1} more lines: make the terminal higher"
            body = [*body[: room - 1], *list(fold([more], columns))[:1]]
        return [*body, *foot]


def _draw(live: Live, shown: _Shown) -> None:
    from rich.text import Text  # noqa: PLC0415 - see watch

    columns, rows = live.console.size
    first, *others = shown.lines(columns, rows)
    text = Text(first, style="bold", no_wrap=True, overflow="crop", end="")
    text.append("\n" + "\n".join(others), style="not bold")
    live.update(text, refresh=True)


def _ended(keyboard: int, live: Live, shown: _Shown) -> bool:
    """Wait until the next question; return whether a key has ended it, redraw at a new size."""
    deadline = time.monotonic() + PERIOD_SECONDS
    size = live.console.size
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([keyboard], [], [], min(left, NOTICE_SECONDS))
        if ready:
            typed = os.read(keyboard, 1024)
            if not typed or any(key in _END for key in typed):
                return True
        if live.console.size != size:
            size = live.console.size
            _draw(live, shown)
    return False


@contextmanager
def _keys() -> Iterator[int]:
    """Yield the keyboard, which gives each key at once, unseen; Ctrl-Z is a key as others are."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    handlers = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        tty.setcbreak(keyboard)
        mode = termios.tcgetattr(keyboard)
        mode[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(keyboard, termios.TCSADRAIN, mode)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(signal_masks.ENDED_BY_SIGNAL + number)
