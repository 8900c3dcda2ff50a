"""Each number on the pages of the lines is what was posted, to the digits shown."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.histories import ANSWERS, PARTS, WELL, WIDE, write_all
from tests.support.page_reader import Reader
from tests.support.service import snapshot
from tixd.analysis.summary import Direction, Summary
from tixd.asn.origin import Origin
from tixd.history.recorder import Recorder
from tixd.history.writer import HistoryWriter, running
from tixd.page.installation_detail import MAX_WINDOWS
from tixd.page.render import answer
from tixd.page.views import Asked
from tixd.reports.model import Installation
from tixd.results.payload import WindowResult, payload
from tixd.runtime.status import HistoryView

#: Steps of a day, ten minutes each, and its end.
STEPS, END = 144, 1_700_000_000

Key = tuple[int, int]

#: Members of a post, and what the pages call them.
NAMES = {
    "upUsage": "up_usage",
    "downUsage": "down_usage",
    "upQuality": "up_quality",
    "downQuality": "down_quality",
    "hurstUpRs": "up_hurst_rs",
    "hurstDownRs": "down_hurst_rs",
    "hurstUpWavelet": "up_hurst_wavelet",
    "hurstDownWavelet": "down_hurst_wavelet",
}


@dataclass(frozen=True, slots=True)
class Posted:
    """A result as it was given to the tix-api, and what became of it."""

    body: dict[str, Any]
    outcome: str

    def number(self, member: str) -> float | None:
        """A number to the four decimals that the history keeps."""
        value = self.body[member]
        return None if value is None else round(value * 10_000) / 10_000


class Day:
    """A day of installations, three of each user; the posts of each by the second of its window."""

    def __init__(self, count: int) -> None:
        self.posts: dict[Key, dict[int, Posted]] = {
            (n // 3 + 1, n % 3 + 1): {} for n in range(count)
        }
        self._chance = random.Random(count)

    def records(self) -> Iterator[str]:
        """Yield what the jobs of the day tell, and note what was posted."""
        for step in range(STEPS):
            for key, posts in self.posts.items():
                at = END - (STEPS - step) * 600 + self._chance.randrange(60, 590)
                result = self._result(at - 60)
                outcome = self._chance.choices(("posted", "kept", "rejected"), (96, 3, 1))[0]
                posts[at - 60] = Posted(json.loads(payload(result)), outcome)
                job = Recorder(
                    Installation(*key, "/reports"),
                    lambda _, asn=64500 + key[0] % 7: Origin(asn, f"Network {asn}"),
                    lambda at=at: at,
                )
                job.add(result, "fresh", outcome, ANSWERS[outcome])
                kept = sum(posted.outcome == "kept" for posted in posts.values())
                job.state = {**WELL, "newest": at, "kept": kept, "reason": "HTTP 500"}
                yield job.text()

    def _result(self, timestamp: int) -> WindowResult:
        one, other = (self._direction() for _ in "ab")
        return WindowResult("203.0.113.7", Summary(timestamp, one, other))

    def _direction(self) -> Direction:
        if self._chance.random() < 0.03:
            return Direction(None, None, None, None)
        usage = self._chance.choice((self._chance.random(), -0.1, 1.3, 0.00005, 0.125))
        quality = self._chance.randrange(11) / 10
        return Direction(usage, quality, self._chance.random(), self._chance.gauss(0.7, 0.5))


def written(day: Day, path: Path) -> None:
    """Let the history's writer write the day."""

    async def run() -> None:
        async with running(HistoryWriter(str(path), PARTS, WIDE)) as writer:
            await write_all(writer, day.records())

    asyncio.run(run())


class Pages:
    """The pages over a file, at the end of the day."""

    def __init__(self, path: Path) -> None:
        self._now = snapshot(moment=float(END), history=HistoryView(str(path)))

    def body(self, path: str, query: str = "") -> str:
        found = answer(Asked(path, query, "", self._now))
        assert found.status == 200, found.body
        return found.body.decode()

    def members(self, path: str, query: str = "") -> dict[str, Any]:
        return json.loads(self.body(f"{path}.json", query))

    def rows(self, path: str, query: str = "") -> list[dict[str, str]]:
        return [*csv.DictReader(io.StringIO(self.body(f"{path}.csv", query)))]


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:z.2f}"


def in_csv(value: float | None) -> str:
    return "" if value is None else str(value)


def check_detail(pages: Pages, key: Key, posts: dict[int, Posted], *, html: bool) -> None:
    """Compare the page of one installation with its posts."""
    path = f"/installations/{key[0]}/{key[1]}"
    found, newest = pages.members(path), sorted(posts, reverse=True)
    assert [at + 300 for at in found["series"]["at"]] == sorted(
        t for t in posts if t >= END - 86100
    )
    for member, name in NAMES.items():
        expected = [posts[at + 300].number(member) for at in found["series"]["at"]]
        assert found["series"][name] == expected, (key, name)
    assert [row["timestamp_at"] for row in found["rows"]] == newest[:MAX_WINDOWS]
    for row in found["rows"]:
        posted = posts[row["timestamp_at"]]
        assert row["outcome"] == posted.outcome
        assert {name: row[name] for name in NAMES.values()} == {
            name: posted.number(member) for member, name in NAMES.items()
        }
    withheld = {at: one.outcome for at, one in posts.items() if one.outcome != "posted"}
    assert {each["timestamp_at"]: each["outcome"] for each in found["withheld"]} == withheld
    if html:
        check_table(pages, path, posts, newest[:MAX_WINDOWS])


#: Columns of numbers in the table of windows, after the time and the outcome.
IN_TABLE = ("Usage", "Quality", "HurstRs", "HurstWavelet")


def check_table(pages: Pages, path: str, posts: dict[int, Posted], newest: list[int]) -> None:
    """Compare the table that people see, and the one in CSV, number by number."""
    members = ["downUsage", "upUsage", "downQuality", "upQuality", "hurstDownRs", "hurstUpRs"]
    members += ["hurstDownWavelet", "hurstUpWavelet"]
    rows = Reader(pages.body(path)).tables[-1][1:]
    assert [row[2:10] for row in rows] == [
        [shown(posts[at].number(member)) for member in members] for at in newest
    ]
    for at, row in zip(newest, pages.rows(path), strict=True):
        assert int(row["timestamp_at"]) == at
        for member, name in NAMES.items():
            assert row[name] == in_csv(posts[at].number(member))


def check_list(pages: Pages, day: Day) -> None:
    """Compare every row of every page of the list with the last post of its installation."""
    found: dict[Key, dict[str, Any]] = {}
    total = pages.members("/installations")["pages"]
    for number in range(1, total + 1):
        query = f"page={number}&sort=usage"
        told = pages.members("/installations", query)["rows"]
        page = Reader(pages.body("/installations", query)).tables[0][1:]
        assert [row[0] for row in page] == [f"{r['user']}/{r['installation']}" for r in told]
        for row, cells in zip(told, page, strict=True):
            found[row["user"], row["installation"]] = row
            numbers = [cell.partition(" ")[0] for cell in cells[2:6]]
            names = ("down_usage", "up_usage", "down_quality", "up_quality")
            assert numbers == [shown(row[name]) for name in names]
    assert found.keys() == day.posts.keys()
    for key, row in found.items():
        last = day.posts[key][max(day.posts[key])]
        for member in ("downUsage", "upUsage", "downQuality", "upQuality"):
            assert row[NAMES[member]] == last.number(member), (key, member)
        assert row["kept"] == sum(p.outcome == "kept" for p in day.posts[key].values())


def check_failed(pages: Pages, day: Day) -> None:
    """Compare what is not posted with the ledger."""
    counted = {
        key: tuple(sum(p.outcome == o for p in posts.values()) for o in ("kept", "rejected"))
        for key, posts in day.posts.items()
    }
    found: dict[Key, tuple[int, int]] = {}
    for number in range(1, pages.members("/failed")["pages"] + 1):
        told = pages.members("/failed", f"page={number}")["rows"]
        page = Reader(pages.body("/failed", f"page={number}")).tables[0][1:]
        for row, cells in zip(told, page, strict=True):
            assert [cells[0], cells[1], cells[4]] == [
                f"{row['user']}/{row['installation']}",
                str(row["kept"] or "-"),
                str(row["rejected"] or "-"),
            ]
            found[row["user"], row["installation"]] = row["kept"], row["rejected"]
    assert found == {key: counts for key, counts in counted.items() if any(counts)}


def agrees(tmp_path: Path, count: int, in_html: int) -> None:
    """Replay a day of so many installations, then compare every page with it."""
    day, path = Day(count), tmp_path / "h.sqlite"
    written(day, path)
    pages = Pages(path)
    check_list(pages, day)
    check_failed(pages, day)
    for number, (key, posts) in enumerate(day.posts.items()):
        check_detail(pages, key, posts, html=number < in_html)


def test_a_replayed_day_is_on_the_pages_as_it_was_posted(tmp_path):
    agrees(tmp_path, 60, 20)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_replayed_day_of_a_thousand_installations_is_on_the_pages_as_it_was_posted(tmp_path):
    agrees(tmp_path, 1000, 50)
