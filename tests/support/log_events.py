"""Hear what tixd logs while a test runs, as (level, event) pairs and their values."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


class Heard(logging.Handler):
    """Collects the records of tixd's logger."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def events(self) -> list[tuple[str, str]]:
        """Level and event of each line above debug."""
        loud = [record for record in self.records if record.levelno > logging.DEBUG]
        return [(record.levelname.lower(), record.getMessage()) for record in loud]

    @property
    def text(self) -> str:
        """Everything that a reader of the log could see."""
        return repr([record.__dict__ for record in self.records])


@contextlib.contextmanager
def heard() -> Iterator[Heard]:
    """Listen while the block runs."""
    logger, handler = logging.getLogger("tixd"), Heard()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
