"""Lists of installations for the page: searched, sorted and cut in SQL, a page at a time.

Rules: no raw row is read to list installations, but the shown ones' last day, hour by hour; what
somebody searched for is a value, never a part of a statement or a pattern.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from tixd.history.installation_words import KINDS, Kind, Words
from tixd.history.installations import RECORDED, InstallationState
from tixd.history.job_record import MAX_ID
from tixd.history.results import GONE_SECONDS
from tixd.history.store import DAY_SECONDS, value

#: Longest text that is searched for, characters.
MAX_SEARCH = 100

#: How many results of an installation that the tix-api refused are counted one by one.
MAX_REJECTED = 1000


def as_posted(usage: str) -> str:
    """Return the expression of a view's usage as the tix-api gets it: 0 to 1."""
    return f"max(0.0, min(1.0, {usage}))"


class ListedInstallation(NamedTuple):
    """An installation: its state, its AS, and its last result; None: not known.

    Usage as the tix-api gets it, usage and quality 0 to 1.
    """

    state: InstallationState
    asn: int | None
    as_name: str | None
    up_usage: float | None
    down_usage: float | None
    up_quality: float | None
    down_quality: float | None


class Page(NamedTuple):
    """A part of a list: its number from 1, how many there are, its rows, and all rows' count."""

    number: int
    pages: int
    rows: Sequence[Any]
    total: int


def page_numbers(number: int, total: int, size: int) -> tuple[int, int]:
    """Return which page of a list is shown, and how many there are; beyond the last: the last.

    >>> page_numbers(3, 11, 5), page_numbers(9, 11, 5), page_numbers(2, 0, 5)
    ((3, 3), (3, 3), (1, 1))
    """
    pages = max(1, -(-total // size))
    return min(max(1, number), pages), pages


# --- search --------------------------------------------------------------------------------------

_AS_NUMBER = re.compile(r"AS\s*([0-9]{1,10})", re.IGNORECASE)

_IDS = re.compile(r"([0-9]{1,19})(?:\s*/\s*([0-9]{1,19}))?")


def _condition(search: str) -> tuple[str, dict[str, object]]:
    """Return the condition for a search, and its values.

    >>> _condition(" 7/1 ")
    ('user = :user AND installation = :installation', {'user': 7, 'installation': 1})
    >>> _condition("as 64500")
    ('asn = :asn', {'asn': 64500})
    """
    text = search.strip()[:MAX_SEARCH].encode("utf-8", "replace").decode()
    if not text:
        return "true", {}
    if found := _AS_NUMBER.fullmatch(text):
        return "asn = :asn", {"asn": int(found[1])}
    if (found := _IDS.fullmatch(text)) and found.string.isascii():
        ids = {"user": min(int(found[1]), MAX_ID)}
        if found[2]:
            ids["installation"] = min(int(found[2]), MAX_ID)
            return "user = :user AND installation = :installation", {**ids}
        return "(user = :user OR asn = :user)", {**ids}
    named = "SELECT asn FROM networks WHERE instr(lower(name), lower(:text))"
    return f"asn IN ({named})", {"text": text}


# --- sort ----------------------------------------------------------------------------------------

_LAST = "coalesce(nullif(result_at, 0), timestamp, 0)"

#: KINDS as conditions, at the moments of _times, in the order in which they are tried.
_IS = {
    "gone": "seen_at < :gone",
    "blocked": "trouble > ''",
    "silent": f"{_LAST} BETWEEN 1 AND :silent",
    "kept": "kept > 0",
    "set-aside": "set_aside_at >= coalesce(result_at, 0)",
    "new": f"{_LAST} = 0",
}

_CASES = " ".join(f"WHEN {condition} THEN {KINDS.index(kind)}" for kind, condition in _IS.items())

_WELL = KINDS.index("well")

_RANK = f"CASE {_CASES} ELSE {_WELL} END"

#: Whether the last result is too old to be compared with others.
_IS_OLD = f"{_LAST} < :old"

#: What a list can be sorted by. Values of installations without a recent result come last.
SORTS: Mapping[str, str] = MappingProxyType(
    {
        "state": f"{_RANK}, iif({_RANK} = {_WELL}, 0, -{_LAST})",
        "usage": f"{_IS_OLD}, -max(coalesce(up_usage, -1), coalesce(down_usage, -1))",
        "quality": f"{_IS_OLD}, min(coalesce(up_quality, 1e9), coalesce(down_quality, 1e9))",
        "result": f"-{_LAST}",
        "installation": "true",
    }
)


def _times(words: Words) -> dict[str, object]:
    return {
        "gone": words.latest - GONE_SECONDS,
        "silent": math.ceil(words.now - words.silent_seconds) - 1,
        "old": words.now - DAY_SECONDS,
    }


# --- lists ---------------------------------------------------------------------------------------


def _page(
    history: sqlite3.Connection,
    total: int,
    number: int,
    size: int,
    statement: str,
    values: Mapping[str, object],
) -> Page:
    """Run a statement for the rows of a page."""
    number, pages = page_numbers(number, total, size)
    limits = {"size": size, "offset": (number - 1) * size}
    found = history.execute(statement, {**values, **limits})
    found.row_factory = None
    return Page(number, pages, found.fetchall(), total)


def latest(history: sqlite3.Connection, now: float) -> int:
    """Return when any installation was visited last, before now; 0: not known."""
    statement = "SELECT max(seen_at) FROM installation_rows WHERE seen_at <= ?"
    return history.execute(statement, [now]).fetchone()[0] or 0


def counts(history: sqlite3.Connection, words: Words) -> Mapping[Kind, int]:
    """Return how many installations there are of each kind that there is."""
    rows = history.execute(
        f"SELECT {_RANK} AS rank, count(*) FROM installation_rows GROUP BY rank", _times(words)
    )
    return {KINDS[rank]: count for rank, count in rows}


def listed(
    history: sqlite3.Connection, words: Words, search: str, sort: str, number: int, size: int
) -> Page:
    """Return a page of the installations that a search finds: rows of ListedInstallation.

    search: `user`, `user/installation`, `AS64500` or a part of an AS's name; sort: one of SORTS;
    number: of the page, from 1; size: rows of a page.
    """
    condition, values = _condition(search)
    count = history.execute(
        f"SELECT count(*) FROM installation_rows WHERE {condition}", values
    ).fetchone()[0]
    found = _page(
        history,
        count,
        number,
        size,
        # The keys alone are sorted; the rest is read for those that are shown.
        f"WITH shown AS (SELECT user, installation FROM installation_rows WHERE {condition}"
        f" ORDER BY {SORTS[sort]}, user, installation LIMIT :size OFFSET :offset)"
        f" SELECT {', '.join(RECORDED)}, asn, as_name, {as_posted('up_usage')},"
        f" {as_posted('down_usage')}, up_quality, down_quality"
        " FROM shown CROSS JOIN installations USING (user, installation)",
        {**values, **_times(words)},
    )
    return found._replace(rows=[_listed(row) for row in found.rows])


def _listed(row: Sequence[Any]) -> ListedInstallation:
    at = len(RECORDED)
    return ListedInstallation(InstallationState(*row[:at]), *row[at:])


class NotPosted(NamedTuple):
    """Results of an installation that the tix-api does not have; times are epoch seconds.

    kept: how many wait until next_try (0: the next visit) because of `reason`; rejected: how many
    the tix-api refused for good, MAX_REJECTED at most, the last one at rejected_at with its words.
    """

    user: int
    installation: int
    kept: int
    next_try: int
    reason: str
    rejected: int
    rejected_at: int | None
    rejected_words: str


#: Rows of results that the tix-api refused for good.
_REJECTED = "result_rows AS r INDEXED BY rejected_rows WHERE r.outcome = 2"

#: The installations that have any, each found by a step in the index, and those with kept results.
_KEYS = f"""
WITH RECURSIVE users (user) AS (
  SELECT min(r.user) FROM {_REJECTED}
  UNION ALL SELECT (SELECT min(r.user) FROM {_REJECTED} AND r.user > users.user)
  FROM users WHERE user IS NOT NULL),
refused (user, installation) AS (
  SELECT user, (SELECT min(r.installation) FROM {_REJECTED} AND r.user = users.user)
  FROM users WHERE user IS NOT NULL
  UNION ALL SELECT user, (SELECT min(r.installation) FROM {_REJECTED}
    AND r.user = refused.user AND r.installation > refused.installation)
  FROM refused WHERE installation IS NOT NULL),
keys AS (
  SELECT user, installation FROM refused WHERE installation IS NOT NULL
  UNION SELECT user, installation FROM installation_rows INDEXED BY kept_rows WHERE kept > 0)
"""

_OF_SHOWN = f"{_REJECTED} AND r.user = shown.user AND r.installation = shown.installation"

_LAST_REJECTED = f"(SELECT {{}} FROM {_OF_SHOWN} ORDER BY hour DESC, r.timestamp DESC LIMIT 1)"


def not_posted(history: sqlite3.Connection, number: int, size: int) -> Page:
    """Return a page of the installations with results that are kept or rejected: NotPosted."""
    total = value(history, f"{_KEYS} SELECT count(*) FROM keys")
    found = _page(
        history,
        total,
        number,
        size,
        f"{_KEYS}, shown AS (SELECT user, installation FROM keys"
        " ORDER BY user, installation LIMIT :size OFFSET :offset)"
        " SELECT user, installation, coalesce(kept, 0), coalesce(next_try, 0),"
        " coalesce(reason, ''),"
        f" (SELECT count(*) FROM (SELECT 1 FROM {_OF_SHOWN} LIMIT {MAX_REJECTED})),"
        f" {_LAST_REJECTED.format('r.at')}, coalesce({_LAST_REJECTED.format('r.words')}, '')"
        " FROM shown LEFT JOIN installation_rows USING (user, installation)"
        " ORDER BY user, installation",
        {},
    )
    return found._replace(rows=[NotPosted(*row) for row in found.rows])
