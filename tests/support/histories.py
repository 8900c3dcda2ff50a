"""Histories in the test: what jobs tell them, a writer over a file, what a reader finds there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support import waiting
from tests.support.results import result
from tixd.asn.origin import Origin
from tixd.history import store
from tixd.history.cycles import CYCLES
from tixd.history.recorder import Recorder
from tixd.history.results import results_part
from tixd.history.writer import HistoryWriter, running
from tixd.reports.model import Installation
from tixd.results.posting import Fate, Was
from tixd.results.response import PostOutcome

#: The parts of a processing role with cycles of ten minutes.
PARTS = (CYCLES, results_part(600.0, "/reports"))

#: Limits that no test reaches by chance.
WIDE = store.Limits(days=36_500, max_bytes=2**30)

#: Records that are put before the writer has written those before.
PUT_AT_ONCE = 20_000

#: An answer of the tix-api for each fate.
ANSWERS: dict[Fate, PostOutcome] = {
    "posted": PostOutcome("accepted", "HTTP 200 OK", 200),
    "kept": PostOutcome("later", "HTTP 500 Internal Server Error", 500, body=b"out of\x07 order"),
    "rejected": PostOutcome("refused", "HTTP 400 Bad Request", 400),
}

#: The state of an installation that is well.
WELL = {
    "reports": 10,
    "newest": 1_700_000_000,
    "kept": 0,
    "nextTry": 0,
    "reason": "",
    "setAside": 0,
}


def recorder(user: int = 1, installation: int = 2, at: float = 1_700_000_000) -> Recorder:
    """What collects the record of one job; the AS of every address is 64500."""
    found = Installation(user, installation, f"/reports/{user}/{installation}")
    return Recorder(found, lambda _: Origin(64500, "Example"), lambda: at)


def told(
    timestamp: int = 1_699_999_900,
    fate: Fate = "posted",
    was: Was = "fresh",
    *,
    state: Mapping[str, object] | None = None,
    **job: Any,
) -> str:
    """The record of a job with one result."""
    found = recorder(**job)
    found.add(result(timestamp), was, fate, ANSWERS[fate])
    found.state = {**WELL, **(state or {})}
    return found.text()


def seen(state: Mapping[str, object] | None = None, **job: Any) -> str:
    """The record of a job without a result."""
    found = recorder(**job)
    found.state = {**WELL, **(state or {})}
    return found.text()


async def write_all(writer: HistoryWriter, records: Iterable[str]) -> None:
    """Let a writer write these, never with more waiting than it keeps."""
    put = 0
    for put, record in enumerate(records, 1):
        writer.put("results", record)
        if put % PUT_AT_ONCE == 0:
            await _written(writer, put)
    await _written(writer, put)


async def _written(writer: HistoryWriter, count: int) -> None:
    await waiting.until(lambda: writer.view().written == count)


@contextlib.asynccontextmanager
async def writing(path: Path, limits: store.Limits = WIDE) -> AsyncIterator[HistoryWriter]:
    """A writer that runs."""
    writer = HistoryWriter(str(path), PARTS, limits)
    async with running(writer):
        yield writer


def rows(path: Path, statement: str) -> list[dict[str, Any]]:
    """What a statement finds in the file, as any reader sees it."""
    with contextlib.closing(store.open_for_reading(str(path))) as connection:
        return [dict(row) for row in connection.execute(statement)]
