"""The tables that a soak prints at its end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

#: Columns of an account, and their members.
_ACCOUNT = {
    "sent": "sent",
    "taken": "taken",
    "lost": "lost",
    "repeated": "repeated",
    "of these no answer": "unanswered",
    "held back": "held_back",
    "still held": "held_at_end",
}


def lines(reports: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Give the lines of all tables."""
    for report in reports:
        yield ""
        yield f"== {report['role']}: seed {report['seed']}, {report['minutes']:g} minutes"
        yield from _table(
            ["ledger", *_ACCOUNT],
            [[one["of"], *(one[name] for name in _ACCOUNT.values())] for one in report["accounts"]],
        )
        yield ""
        yield from _faults(report["faults"])
        yield ""
        yield from _growths(report["growths"])
        figures = report["figures"].items()
        yield "   ".join(f"{name}: {value}" for name, value in figures)


def _faults(faults: dict[str, dict[str, Any]]) -> Iterator[str]:
    rows = [
        [name, one["acted"], one["done"], f"{one['recovery_seconds']:.1f}", _short(one)]
        for name, one in faults.items()
    ]
    yield from _table(["fault", "acted", "done", "well after s", "last proof"], rows)
    acted, done = (sum(one[name] for one in faults.values()) for name in ("acted", "done"))
    yield f"{done} faults of {len(faults)} kinds, {acted} with proof that they acted"


def _short(one: dict[str, Any]) -> str:
    text = one["proof"] or f"not acted: {one['why_not']}"
    return text if len(text) <= 70 else f"{text[:69]}…"


def _growths(growths: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Give a row for each kind of process: its lives, and the longest of them."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for growth in growths:
        kinds.setdefault(growth["kind"], []).append(growth)
    rows = []
    for kind, lives in sorted(kinds.items()):
        longest = max(lives, key=lambda life: life["looks"])
        pairs = (longest[name] for name in ("rss_mb", "descriptors", "threads"))
        most = max(life["most_rss_mb"] for life in lives)
        judged = sum(life["judged"] for life in lives)
        rows.append(
            [kind, len(lives), judged, longest["looks"], *(f"{a} -> {b}" for a, b in pairs), most]
        )
    columns = ["process", "lives", "judged", "looks", "RSS MB", "descriptors", "threads", "most MB"]
    yield from _table(columns, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    texts = [list(map(str, head)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(head))]
    for row in texts:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
