"""Log lines are data: a fixed event name, a level that says who must act, and values.

In: settings (level, format, file). Out: one line per event, as text or as a JSON object.
Rules: event names are fixed words with underscores; values that came from outside are escaped;
one line per change of state, not per try.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

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

    def due(self, *key: str, now: float) -> bool:
        """Whether the notice `key` is to be given at `now` (seconds); remembers that it was."""
        if now - self._said.get(key, -self.PAUSE_SECONDS) < self.PAUSE_SECONDS:
            return False
        self._said.pop(key, None)
        self._said[key] = now
        if len(self._said) > self.MOST_KEYS:
            del self._said[next(iter(self._said))]
        return True


def set_up(level: str, form: str, file: str) -> None:
    """Send the events of this process to `file` ("stderr", "stdout" or a path) from now on."""
    for handler in _LOGGER.handlers[:]:
        _LOGGER.removeHandler(handler)
        handler.close()
    streams = {"stderr": sys.stderr, "stdout": sys.stdout}
    handler = (
        logging.StreamHandler(streams[file])
        if file in streams
        else logging.FileHandler(file, encoding="utf-8")
    )
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        values = getattr(record, "values", {})
        words = "".join(f" {key}={_quoted(value)}" for key, value in values.items())
        return f"{when}Z {record.levelname:<7} {record.process} {record.getMessage()}{words}"


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


def _quoted(value: object) -> str:
    """The value as one word: bare where it is plain, else as a JSON string (no control bytes)."""
    text = str(value)
    plain = text and text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain else json.dumps(text)
