"""Log lines are data: a fixed event name, a level that says who must act, and values.

In: settings (level, format, file). Out: one line per event, as text, as a JSON object, or as text
that journald takes apart. Rules: event names are fixed words with underscores; values that came
from outside are escaped; one line per change of state, not per try.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, TextIO

#: The forms of a log line.
Form = Literal["text", "json", "journald"]

#: Priorities of sd-daemon(3), which are those of syslog(3), by level.
_PRIORITIES = MappingProxyType(
    {
        logging.DEBUG: 7,
        logging.INFO: 6,
        logging.WARNING: 4,
        logging.ERROR: 3,
        logging.CRITICAL: 2,
    }
)

#: Before a line for journald that is no event: the priority of an error.
MUST_ACT = f"<{_PRIORITIES[logging.ERROR]}>"

#: Where a log can go that is no file, by its names; a device means the stream that it leads to,
#: which is open, while opening it anew is refused where the stream is another user's.
_STREAMS = MappingProxyType(
    {
        "stderr": "stderr",
        "/dev/stderr": "stderr",
        "stdout": "stdout",
        "/dev/stdout": "stdout",
    }
)

_LOGGER = logging.getLogger("tixd")


def debug(event: str, **values: object) -> None:
    """Of use only to whoever looks for a fault."""
    _log(logging.DEBUG, event, values)


def info(event: str, **values: object) -> None:
    """Nobody must act."""
    _log(logging.INFO, event, values)


def warning(event: str, **values: object) -> None:
    """Somebody should look in working hours."""
    _log(logging.WARNING, event, values)


def error(event: str, **values: object) -> None:
    """The operator must act, or results are late."""
    _log(logging.ERROR, event, values)


def _log(level: int, event: str, values: dict[str, object]) -> None:
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, event, extra={"values": values})


class Hourly:
    """Lets one notice an hour through for each key, so that a lasting fault is one line an hour."""

    #: How long the same notice is held back.
    PAUSE_SECONDS = 3600.0
    #: How many keys are remembered; when there are more, the oldest are forgotten.
    MOST_KEYS = 10_000

    def __init__(self) -> None:
        self._said: dict[tuple[str, ...], float] = {}

    def is_due(self, *key: str, now: float) -> bool:
        """The same, and remembers nothing."""
        return now - self._said.get(key, -self.PAUSE_SECONDS) >= self.PAUSE_SECONDS

    def due(self, *key: str, now: float) -> bool:
        """Whether the notice `key` is to be given at `now` (seconds); remembers that it was."""
        if not self.is_due(*key, now=now):
            return False
        self._said.pop(key, None)
        self._said[key] = now
        if len(self._said) > self.MOST_KEYS:
            del self._said[next(iter(self._said))]
        return True


def form_for(form: Literal["auto"] | Form, file: str, journal_stream: str) -> Form:
    """The form that "auto" means: journald where it reads `file`, else text.

    journal_stream: "device:inode" of the stream that systemd made for the log, or "".
    """
    if form != "auto":
        return form
    try:
        facts = os.fstat(_stream(file).fileno()) if file in _STREAMS else None
    except (OSError, ValueError):  # closed, or replaced by something that is no file
        facts = None
    ours = facts is not None and f"{facts.st_dev}:{facts.st_ino}" == journal_stream
    return "journald" if ours else "text"


def set_up(level: str, form: str, file: str) -> None:
    """Send the events of this process to `file` (as stderr, stdout, or a path) from now on."""
    for handler in _LOGGER.handlers[:]:
        _LOGGER.removeHandler(handler)
        handler.close()
    handler = _Destination(file, level)
    handler.setFormatter(_FORMATTERS.get(form, _TextLines)())
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False


def reopen() -> None:
    """Open a log file again, because it was moved away; where that fails, standard error it is.

    To be called where no line is being written: from the loop, or between two jobs.
    """
    for destination in _destinations():
        destination.reopen()


def toggle_debug() -> None:
    """Log everything, or again only what the settings say (INFO where they say everything)."""
    for destination in _destinations():
        quiet = "INFO" if destination.usual_level == "DEBUG" else destination.usual_level
        _LOGGER.setLevel(quiet if is_debugging() else "DEBUG")


def is_debugging() -> bool:
    """Whether everything is logged."""
    return _LOGGER.isEnabledFor(logging.DEBUG)


def path_of(file: str) -> str:
    """The path of the log's file; "" where it goes to a stream."""
    return "" if file in _STREAMS else file


def _stream(name: str) -> TextIO:
    return sys.stdout if _STREAMS[name] == "stdout" else sys.stderr


def _destinations() -> list[_Destination]:
    return [handler for handler in _LOGGER.handlers if isinstance(handler, _Destination)]


class _Destination(logging.StreamHandler[TextIO]):
    """Where the lines go, and what they are without debugging."""

    def __init__(self, file: str, level: str) -> None:
        super().__init__(_opened(file))
        self._hourly = Hourly()
        self._file = file
        self.usual_level = level

    def reopen(self) -> None:
        """Another descriptor of the same name; one that cannot be had costs the file, no line."""
        if self._file in _STREAMS:
            return
        self._close_file()
        try:
            self.setStream(_opened(self._file))
        except OSError as problem:
            error("log_not_reopened", file=self._file, reason=problem.strerror, now="stderr")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Lines that cannot be written, as on a full disk, are one word an hour, no tracebacks."""
        reason = str(sys.exc_info()[1])
        if self._hourly.due(reason, now=record.created):
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"tixd: lines of the log {self._file} are lost: {reason}\n")

    def close(self) -> None:
        """Close the file, where it is one."""
        self._close_file()
        super().close()

    def _close_file(self) -> None:
        """Go on with standard error; what a full disk has kept in the file's buffer is lost."""
        stream, self.stream = self.stream, sys.stderr
        if self._file not in _STREAMS and stream is not sys.stderr:
            with contextlib.suppress(OSError):
                stream.close()


def _opened(file: str) -> TextIO:
    """The stream of that name, or the file, whose lines are written as they come."""
    return _stream(file) if file in _STREAMS else open(file, "a", encoding="utf-8", opener=_open)


def _open(path: str, flags: int) -> int:
    """Open without waiting: nobody may ever read a FIFO."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(fd, True)
    return fd


def _words(record: logging.LogRecord) -> str:
    values = getattr(record, "values", {})
    return record.getMessage() + "".join(f" {key}={_quoted(v)}" for key, v in values.items())


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        return f"{when}Z {record.levelname:<7} {record.process} {_words(record)}"


class _JournaldLines(logging.Formatter):
    """Lines for journald, which knows time and process itself and takes the priority from `<N>`."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{_words(record)}"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "pid": record.process,
            "event": record.getMessage(),
            **getattr(record, "values", {}),
        }
        return json.dumps(line, default=str)


_FORMATTERS = MappingProxyType({"json": _JsonLines, "journald": _JournaldLines})


def _quoted(value: object) -> str:
    """The value as one word: bare where it is plain, else as a JSON string (no control bytes)."""
    text = str(value)
    plain = text and text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain else json.dumps(text)
