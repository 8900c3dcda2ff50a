"""Log events: a fixed name, a level that says who must act, and values.

Rules: one line per event, as text, as JSON or as journald takes it; names are fixed words with
underscores; values from outside are escaped and bounded, and so is the line; one line per change of
state, not per try; what libraries and Python itself log becomes events too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, TextIO

from tixd import bounded

#: Forms of a log line.
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

#: Prefix of a line for journald that is not an event: the priority of an error.
MUST_ACT = f"<{_PRIORITIES[logging.ERROR]}>"

#: Names of a log that is not a file. A device stands for the open stream, because opening it again
#: is refused where the stream is another user's.
_STREAMS = MappingProxyType(
    {
        "stderr": "stderr",
        "/dev/stderr": "stderr",
        "stdout": "stdout",
        "/dev/stdout": "stdout",
    }
)

#: Longest line of the log.
MAX_LINE_BYTES = 4096

#: Longest values in a line that would be too long otherwise, tried in this order.
SHORTER = (100, 30, 10, 0)

#: How many calls are named of an unexpected exception, the innermost.
PLACES = 4

#: Swallows what a library logs of each try; our log has one line per change of state.
NULL_LOGGER = logging.Logger("null", logging.CRITICAL + 1)

_LOGGER = logging.getLogger("tixd")


def debug(event: str, **values: object) -> None:
    """Log what helps only to find a fault."""
    _log(logging.DEBUG, event, values)


def info(event: str, **values: object) -> None:
    """Log what needs no action."""
    _log(logging.INFO, event, values)


def warning(event: str, **values: object) -> None:
    """Log what the operator should look at in working hours."""
    _log(logging.WARNING, event, values)


def error(event: str, **values: object) -> None:
    """Log what the operator must act on, or results are late."""
    _log(logging.ERROR, event, values)


def failure(event: str, problem: BaseException, **values: object) -> None:
    """Log an unexpected exception as an error: kind, message, and where it was raised."""
    _log(logging.ERROR, event, {**values, **_facts(problem)})


def _log(level: int, event: str, values: dict[str, object]) -> None:
    if _LOGGER.isEnabledFor(level):
        shown = {key: bounded.value(value) for key, value in values.items()}
        _LOGGER.log(level, event, extra={"values": shown})


def _facts(problem: BaseException) -> dict[str, str]:
    return {"error": bounded.error(problem), "at": _place(problem)}


def _place(problem: BaseException) -> str:
    """Name the last calls of a traceback, innermost first: `pool.py:12 feed < cli.py:3 main`."""
    frames = traceback.extract_tb(problem.__traceback__, limit=-PLACES)
    return " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames[::-1])


class RateLimiter:
    """Let a repeated event through once an hour for each key, and count what is held back.

    The memory that a key takes does not depend on its length.
    """

    #: How long the same event is held back.
    PAUSE_SECONDS = 3600.0
    #: How many keys are remembered; when there are more, the oldest are forgotten.
    MAX_KEYS = 10_000

    def __init__(self) -> None:
        self._hours: dict[int, _Hour] = {}

    def would_allow(self, *key: str, now: float) -> bool:
        """Return whether `allow` would let `key` through; remember nothing."""
        hour = self._hours.get(_key(key))
        return hour is None or not 0 <= now - hour.began < self.PAUSE_SECONDS

    def allow(self, *key: str, now: float, most: int = 1) -> int | None:
        """Return how many events `key` were held back since the last hour; None: hold this back.

        now: in seconds; most: how many pass in an hour.
        """
        short = _key(key)
        hour = self._hours.get(short)
        if hour is None or not 0 <= now - hour.began < self.PAUSE_SECONDS:
            held = hour.held if hour else 0
            self._hours.pop(short, None)  # so that the newest are last
            self._hours[short] = _Hour(now)
            bounded.forget_oldest(self._hours, self.MAX_KEYS)
            return held
        if hour.logged < most:
            hour.logged += 1
            return 0
        hour.held += 1
        return None

    def log(
        self,
        log: Callable[..., None],
        event: str,
        *key: str,
        now: float,
        most: int = 1,
        **values: object,
    ) -> None:
        """Call `log` (as `warning`) at most `most` times an hour for the event and this key.

        The first line after a pause says how many were held back (`held_back`).
        """
        held = self.allow(event, *key, now=now, most=most)
        if held is not None:
            log(event, **values, **({"held_back": held} if held else {}))

    def log_each(
        self,
        log: Callable[..., None],
        event: str,
        group: str,
        subject: str,
        *,
        now: float,
        most: int,
        **values: object,
    ) -> None:
        """Log once an hour for each subject, and at most `most` lines an hour for its group."""
        if (held := self.allow(event, group, subject, now=now)) is None:
            return
        more = self.allow(event, group, now=now, most=most)
        if more is not None:
            held += more
            log(event, **values, **({"held_back": held} if held else {}))


@dataclass(slots=True)
class _Hour:
    """An hour of one key: since when, lines logged, lines held back."""

    began: float
    logged: int = 1
    held: int = 0


def _key(parts: tuple[str, ...]) -> int:
    """Return a number for a key; long texts are alike if their beginnings and lengths are."""
    return hash(tuple(bounded.text(part) for part in parts))


def form_for(form: Literal["auto"] | Form, file: str, journal_stream: str) -> Form:
    """Return the form that "auto" means: journald where it reads `file`, else text.

    journal_stream: "device:inode" of the stream that systemd made for the log, or "".
    """
    if form != "auto":
        return form
    try:
        facts = os.fstat(_stream(file).fileno()) if file in _STREAMS else None
    except (OSError, ValueError):  # closed, or replaced by something that is not a file
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
    """Open a log file again, because it was moved away; if that fails, use standard error.

    Call it only where no line is being written: from the loop, or between two jobs.
    """
    for destination in _destinations():
        destination.reopen()


def is_file_gone() -> bool:
    """Return whether a log file was removed, and stayed so between two calls.

    Call it about once a second: a file that is replaced at once does not count as removed.
    """
    gone = [destination.is_gone() for destination in _destinations()]
    return any(gone)


def toggle_debug() -> None:
    """Log everything, or again only what the settings say (INFO where they say everything)."""
    for destination in _destinations():
        quiet = "INFO" if destination.usual_level == "DEBUG" else destination.usual_level
        _LOGGER.setLevel(quiet if is_debugging() else "DEBUG")


def is_debugging() -> bool:
    """Return whether everything is logged."""
    return _LOGGER.isEnabledFor(logging.DEBUG)


def path_of(file: str) -> str:
    """Return the path of the log's file; "" where it goes to a stream."""
    return "" if file in _STREAMS else file


def _stream(name: str) -> TextIO:
    return sys.stdout if _STREAMS[name] == "stdout" else sys.stderr


def _destinations() -> list[_Destination]:
    return [handler for handler in _LOGGER.handlers if isinstance(handler, _Destination)]


class _Destination(logging.StreamHandler[TextIO]):
    """Where the lines go, and their level without debugging."""

    def __init__(self, file: str, level: str) -> None:
        super().__init__(_opened(file))
        self._limiter = RateLimiter()
        self._file = file
        self._was_missing = False
        self.usual_level = level

    def reopen(self) -> None:
        """Reopen the file; use standard error where that fails, without losing a line."""
        if self._file in _STREAMS:
            return
        self._close_file()
        try:
            self.setStream(_opened(self._file))
        except OSError as problem:
            error("log_not_reopened", file=self._file, reason=problem.strerror, now="stderr")

    def is_gone(self) -> bool:
        """Return whether the file has lost its name, now and at the call before."""
        if self._file in _STREAMS or self.stream is sys.stderr:
            return False
        was_missing = self._was_missing
        self._was_missing = not os.path.exists(self._file)
        return was_missing and self._was_missing

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Report once an hour that lines cannot be written, as on a full disk."""
        reason = str(sys.exc_info()[1])
        if self._limiter.allow(reason, now=record.created) is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"tixd: lines of the log {self._file} are lost: {reason}\n")

    def close(self) -> None:
        """Close the file, where it is one."""
        self._close_file()
        super().close()

    def _close_file(self) -> None:
        """Switch to standard error; what a full disk left in the file's buffer is lost."""
        stream = self.stream
        self.stream = sys.stderr
        if self._file not in _STREAMS and stream is not sys.stderr:
            with contextlib.suppress(OSError):
                stream.close()


def _opened(file: str) -> TextIO:
    return _stream(file) if file in _STREAMS else open(file, "a", encoding="utf-8", opener=_open)


def _open(path: str, flags: int) -> int:
    """Open without waiting for the reader of a FIFO; lines name users and addresses."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o640)
    os.set_blocking(fd, True)
    return fd


def _values(record: logging.LogRecord) -> Mapping[str, object]:
    values: Mapping[str, object] = getattr(record, "values", {})
    return values


class _Lines(logging.Formatter):
    """Format lines; one that is too long is formatted again with shorter values."""

    def format(self, record: logging.LogRecord) -> str:
        values = dict(_values(record))
        line = self._form(record, values)
        for most in SHORTER:
            if len(line) < MAX_LINE_BYTES:  # and a line break; all that is not ASCII is escaped
                break
            values = {key: bounded.value(value, most) for key, value in values.items()}
            line = self._form(record, values)
        return line

    def _form(self, record: logging.LogRecord, values: Mapping[str, object]) -> str:
        raise NotImplementedError


def _words(record: logging.LogRecord, values: Mapping[str, object]) -> str:
    return record.getMessage() + "".join(f" {key}={_quoted(v)}" for key, v in values.items())


class _TextLines(_Lines):
    def _form(self, record: logging.LogRecord, values: Mapping[str, object]) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        return f"{when}Z {record.levelname:<7} {record.process} {_words(record, values)}"


class _JournaldLines(_Lines):
    """Lines for journald, which knows time and process itself and takes the priority from `<N>`."""

    def _form(self, record: logging.LogRecord, values: Mapping[str, object]) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{_words(record, values)}"


class _JsonLines(_Lines):
    def _form(self, record: logging.LogRecord, values: Mapping[str, object]) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "pid": record.process,
            "event": record.getMessage(),
            **values,
        }
        return json.dumps(line)


_FORMATTERS = MappingProxyType({"json": _JsonLines, "journald": _JournaldLines})


def _quoted(value: object) -> str:
    """Return the value as one word: bare where it is plain, else as a JSON string."""
    text = str(value)
    plain = text and text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain else json.dumps(text)


# --- events of libraries and of Python itself ----------------------------------------------------


def adopt() -> None:
    """Turn into events what libraries log, warnings, and uncaught exceptions.

    Call it once, when the process starts.
    """
    root = logging.getLogger()
    if any(isinstance(handler, _Library) for handler in root.handlers):
        return
    root.addHandler(_Library(logging.WARNING))
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_ended


def loop_error(_: object, context: Mapping[str, Any]) -> None:
    """Log what asyncio reports, as an exception in a callback; an exception handler of a loop.

    Only what has a bound is taken from the context.
    """
    uncaught("asyncio", bounded.text(str(context.get("message"))), context.get("exception"))


class _Library(logging.Handler):
    """Turn each warning or error of a library into an event, once an hour for its place."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == _LOGGER.name:  # an event of tixd, while no log is open
            return
        reason = _first_line(record)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None or record.levelno >= logging.ERROR:
            uncaught(record.name, reason, error)
        else:
            subject = bounded.text(str(record.msg))
            _notice(warning, "library_warning", record.name, subject, reason=reason)


#: Limits the lines about libraries and uncaught exceptions.
_NOTICES = RateLimiter()

#: Lines an hour about one library, however its messages differ.
MAX_NOTICES = 20


def uncaught(source: str, reason: str, problem: BaseException | None) -> None:
    """Log an unexpected error, once an hour for its place; `source`: where it was caught."""
    where = _facts(problem) if problem is not None else {}
    _notice(error, "unexpected", source, where.get("at", reason), reason=reason, **where)


def _notice(
    log: Callable[..., None], event: str, source: str, subject: str, **values: object
) -> None:
    """Log once an hour for each subject, and at most MAX_NOTICES lines an hour for a source."""
    now, most = time.monotonic(), MAX_NOTICES
    _NOTICES.log_each(log, event, source, subject, now=now, most=most, source=source, **values)


def _first_line(record: logging.LogRecord) -> str:
    """Return the first line of a message; its values are cut before they are formatted."""
    try:
        text = str(record.msg) % _short(record.args) if record.args else str(record.msg)
    except (TypeError, ValueError, KeyError):
        text = str(record.msg)
    return bounded.text(text.strip().partition("\n")[0])


def _short(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {key: bounded.value(arg) for key, arg in args.items()}
    return tuple(bounded.value(arg) for arg in args)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    uncaught("python", bounded.text(found.err_msg or "an exception was ignored"), found.exc_value)


def _thread_ended(found: threading.ExceptHookArgs) -> None:
    name = found.thread.name if found.thread else "a thread"
    uncaught("threading", f"{name} has ended by an exception", found.exc_value)
