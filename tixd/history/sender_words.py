"""How a sender of usage records is, in words: for the command and the page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tixd.display import minute
from tixd.history import senders

#: The row of one sender, as `senders.read` yields it.
Row = Mapping[str, Any]


def name(row: Row) -> str:
    """Return how a sender is called: by its name, else by its address."""
    return row["sender"] or f"({row['address']})"


def records(row: Row) -> int:
    """Return how many records it sent, in bundles that were taken."""
    return sum(row[kind] for kind in senders.TYPES)


def failed(row: Row) -> int:
    """Return how many of its bundles were not taken."""
    return int(row["refused"] + row["not_taken"])


def state(row: Row) -> str:
    """Say what is wrong with a sender, and since when; "" where nothing is."""
    if row["state"] == "silent":
        return f"SILENT since {minute(row['last_seen'])} UTC"
    if row["state"]:
        taken = row["taken_at"]
        return f"NOTHING TAKEN {f'since {minute(taken)} UTC' if taken else 'yet'}"
    return ""


def by_type(row: Row) -> Iterator[str]:
    """Yield how many records of each type it sent, but for those of which it sent none."""
    return (f"{row[kind]:,} {kind}" for kind in senders.TYPES if row[kind])


def failure(row: Row) -> str:
    """Say when and why its last bundle was not taken; "" where all were."""
    if not row["failed_at"]:
        return ""
    answer = row["failed_code"] or "no answer"
    return f"{minute(row['failed_at'])} UTC: {answer}, {row['failed_reason']}"


def summary(states: Mapping[str, int]) -> str:
    """Say how many senders are known, and how many of them are in trouble.

    >>> summary({"": 3, "silent": 1}), summary({})
    ('4 senders: 0 with NOTHING TAKEN, 1 SILENT.', 'No sender has been seen yet.')
    """
    count = sum(states.values())
    if not count:
        return "No sender has been seen yet."
    failing, silent = states.get("failing", 0), states.get("silent", 0)
    plural = "s" * (count != 1)
    return f"{count:,} sender{plural}: {failing:,} with NOTHING TAKEN, {silent:,} SILENT."


def left_out(dropped: int) -> str:
    """Say how many senders were dropped; "" where none was."""
    if not dropped:
        return ""
    return f"{dropped:,} more were dropped, because there were too many senders."
