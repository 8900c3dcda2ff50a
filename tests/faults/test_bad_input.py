"""Cases 12-15: every kind of bad thing in an installation of its own, in one cycle.

User 1 has reports that cannot be used, user 2 one that is still being written, user 3 odd but
lawful ones, user 4 what is no report at all; user 5 is a good neighbour.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import made
from tests.support.ledger import reports_left, temporary_files
from tests.support.made import SECOND, UNUSABLE, WHOLE
from tests.support.program import Ended, once
from tests.support.stand_in_api import Post, StandInApi
from tixd.installation import MAX_LOGGED_DISCARDS

START = 1_700_000_000

#: When files that nobody is writing any more were last changed: an hour before any test.
LONG_AGO = START

#: Timestamp of the result of 19 one-minute reports from START.
LAST = START + 19 * 60 - 1

Files = dict[str, bytes]


def good(reports: int = 19, start: int = START, **members: str) -> Files:
    """One-minute reports as the condenser names them."""
    seconds = [start + 60 * i for i in range(reports)]
    return {f"tix-report-{second}.json": made.minute(second, **members) for second in seconds}


def logs_of_client(files: Files) -> Files:
    """The same reports under the names that the client gives its own log."""
    seconds = ((name.split("-")[2].removesuffix(".json"), text) for name, text in files.items())
    return {f"{second}000-tix-log.json": content for second, content in seconds}


def reversed_rows(files: Files) -> Files:
    """The same reports with the observations of each one in the opposite order."""
    reversed_files = {}
    for name, content in files.items():
        message = base64.b64decode(json.loads(content)["message"])
        rows = [message[at : at + 45] for at in range(0, len(message), 45)]
        reversed_files[name] = made.report(b"".join(reversed(rows)))
    return reversed_files


def sparse(kind: bytes) -> Files:
    """19 reports of packets of this kind."""
    return {
        name: made.report(b"".join(made.record(START + 60 * i + s, kind) for s in range(60)))
        for i, name in enumerate(good())
    }


@dataclass(frozen=True, slots=True)
class Lawful:
    """Odd files, and what the specification makes of them: timestamps, reports left, counts."""

    files: Files
    timestamps: tuple[int, ...]
    left: int
    counts: dict[str, int]


GAP = START + 9 * 60

LAWFUL = {
    "in order": Lawful(good(), (LAST,), 10, {}),
    "out of order": Lawful(reversed_rows(good()), (LAST,), 10, {}),
    "one long report": Lawful(
        {f"tix-report-{START}.json": made.minute(START, 1200)}, (START + 1199,), 0, {}
    ),
    "every report twice": Lawful(
        good() | logs_of_client(good()),
        (START + 659, START + 959),
        18,
        {"observations_duplicate": 1200},
    ),
    "other content at the same seconds": Lawful(
        good() | logs_of_client(sparse(b"S")), (START + 659, START + 959), 18, {}
    ),
    "two sources": Lawful(
        good(10, source="[2001:db8::1]:80") | good(19, START + 600),
        (LAST + 600,),
        10,
        {"reports_discarded_source": 10},
    ),
    "a gap of six minutes": Lawful(
        good(10) | good(19, GAP + 360),
        (LAST + GAP + 360 - START,),
        10,
        {"reports_discarded_gap": 10},
    ),
    "a pause of five minutes": Lawful(
        good(10) | good(9, GAP + 300), (GAP + 300 + 9 * 60 - 1,), 10, {}
    ),
    "long packets only": Lawful(sparse(b"L"), (), 10, {"windows_without_short": 1}),
    "too few": Lawful(good(18), (), 18, {}),
    "sources in turn": Lawful(
        good(20, source="192.0.2.1:80") | dict([*good(20, source="192.0.2.2:80").items()][::2]),
        (),
        1,
        {"reports_discarded_source": 19},
    ),
    "the year 1970": Lawful(good(start=0), (1139,), 10, {}),
    "the year 2099": Lawful(good(start=4_070_908_800), (4_070_909_939,), 10, {}),
}


def put(folder: Path, files: Files) -> None:
    """Write files that were finished long ago."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (LONG_AGO, LONG_AGO))


@dataclass(frozen=True, slots=True)
class Run:
    """One cycle over everything: where, what was posted, how it ended, odd files before it."""

    base: Path
    posts: list[Post]
    ended: Ended
    odd: dict[bytes, tuple[int, ...]]

    def posted(self, user: int, number: int = 1) -> tuple[int, ...]:
        """Timestamps of the results of an installation, as they came in."""
        own = [post for post in self.posts if (post.user, post.installation) == (user, number)]
        return tuple(post.body["timestamp"] for post in own)


def lay_out_unusable(base: Path) -> None:
    """User 1."""
    for number, (content, _) in enumerate(UNUSABLE.values(), 1):
        put(base / f"1/{number}", good() | {f"tix-report-{SECOND}.json": content})
    huge = base / f"1/100/tix-report-{SECOND}.json"
    put(huge.parent, good() | {huge.name: b""})
    os.truncate(huge, 2**31)
    os.utime(huge, (LONG_AGO, LONG_AGO))


def lay_out_odd(base: Path, outside: Path) -> None:
    """User 4: an installation with much beside its reports; and names that are no ids."""
    folder = base / "4/1"
    put(folder, good())
    put(folder, {".hidden.json": WHOLE, "note.txt": b"x", "\u200b.json": WHOLE, "a\nb.json": WHOLE})
    (folder / f"tix-report-{START + 1}.json").symlink_to(outside / "1/1" / next(iter(good())))
    (folder / f"tix-report-{START + 2}.json").symlink_to("/dev/zero")
    (folder / f"tix-report-{START + 3}.json").mkdir()
    os.mkfifo(folder / f"tix-report-{START + 4}.json")
    Path(os.fsdecode(os.fsencode(folder) + b"/tix-\xff.json")).write_bytes(WHOLE)
    at = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{at}/tix-report-{START + 5}.json")
    os.close(at)


def lay_out_names(base: Path, outside: Path) -> None:
    """What stands where ids are due, each with good reports in it."""
    (base / "6").symlink_to(outside / "1")
    (base / "4/9").symlink_to(outside / "1/1")
    for name in NO_IDS:
        put(base / name / "1", good())
        put(base / "4" / name, good())
    (base / "7").write_text("no folder")


#: Names that are no positive decimal integer, though some take them for one.
NO_IDS = ("..%2f", "%2e%2e", "0", "007", "-1", "+1", "1.0", " 1", "1 ", "\uff11", "\u0661", "1_0")


def facts(folder: Path) -> dict[bytes, tuple[int, ...]]:
    """What is true of everything in a folder that is no good report."""
    own = {*good(), "bad-reports", ".tixd.lock"}
    odd = [name for name in os.listdir(os.fsencode(folder)) if os.fsdecode(name) not in own]
    stats = {name: os.lstat(os.fsencode(folder) + b"/" + name) for name in odd}
    return {name: (s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The cycle."""
    base, outside = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("outside")
    lay_out_unusable(base)
    for number, lawful in enumerate(LAWFUL.values(), 1):
        put(base / f"3/{number}", lawful.files)
    put(outside / "1/1", good())
    lay_out_odd(base, outside)
    lay_out_names(base, outside)
    put(base / "5/1", good())
    odd, before = facts(base / "4/1"), facts(outside / "1/1")
    with StandInApi(user="tix", password="secret") as api:
        ended = once(base, api.port)
    assert facts(outside / "1/1") == before
    assert reports_left(outside / "1/1") == sorted(good()), "nothing outside the base is touched"
    return Run(base, list(api.posts), ended, odd)


@pytest.mark.parametrize("name", [*UNUSABLE, "2 GiB"])
def test_an_unusable_report_is_set_aside_with_a_readable_reason(run, name):
    number = [*UNUSABLE, *[""] * (99 - len(UNUSABLE)), "2 GiB"].index(name) + 1
    words = UNUSABLE[name][1] if name in UNUSABLE else "2147483648 bytes are more than"
    aside = run.base / f"1/{number}/bad-reports"
    bad = f"tix-report-{SECOND}.json"
    assert sorted(os.listdir(aside)) == [bad, f"{bad}.reason"]
    reason = (aside / f"{bad}.reason").read_text()
    assert words in reason
    assert bad in reason
    assert reason[:-1].isprintable()
    assert len(reason) < 300
    assert run.posted(1, number) == (LAST,), "the reports around it are posted in the same cycle"


@pytest.mark.parametrize("name", LAWFUL)
def test_odd_but_lawful_reports_give_what_the_specification_says(run, name):
    number, lawful = list(LAWFUL).index(name) + 1, LAWFUL[name]
    assert run.posted(3, number) == lawful.timestamps
    assert len(reports_left(run.base / f"3/{number}")) == lawful.left


def test_results_do_not_depend_on_the_order_within_reports(run):
    bodies = {p.installation: p.body for p in run.posts if p.user == 3}
    in_order, reversed_one = (
        bodies[list(LAWFUL).index(n) + 1] for n in ("in order", "out of order")
    )
    assert in_order == reversed_one


def test_reports_that_are_discarded_one_by_one_fill_no_log(run):
    number = list(LAWFUL).index("sources in turn") + 1
    own = {"user": 3, "installation": number}
    lines = [x for x in run.ended.events("reports_discarded") if own.items() <= x.items()]
    assert len(lines) == MAX_LOGGED_DISCARDS


def test_whatever_is_dropped_is_counted_by_its_reason(run):
    due = sum((Counter(lawful.counts) for lawful in LAWFUL.values()), Counter())
    due["reports_bad"] = len(UNUSABLE) + 1
    due["windows_posted"] = len(run.posts)
    counted = {name: n for name, n in run.ended.counts.items() if name != "reports_deleted"}
    assert counted == due
    assert run.ended.code == 0
    assert temporary_files(run.base) == []


def test_links_pipes_sockets_and_odd_names_are_left_alone_with_one_warning_each(run):
    assert len(run.odd) == 10
    assert facts(run.base / "4/1") == run.odd
    warned = Counter(line["file"] for line in run.ended.events("file_ignored"))
    assert warned == {os.fsdecode(name): 1 for name in run.odd}
    assert run.posted(4) == (LAST,)


def test_only_folders_named_by_a_positive_integer_are_looked_into(run):
    looked_into = {(post.user, post.installation) for post in run.posts if post.user not in (1, 3)}
    assert looked_into == {(4, 1), (5, 1)}
    for name in NO_IDS:
        assert reports_left(run.base / name / "1") == sorted(good()), name
        assert reports_left(run.base / "4" / name) == sorted(good()), name
    ignored = {line["name"] for line in run.ended.events("folder_ignored")}
    told = [name for name in NO_IDS if not name.startswith((".", "@"))]
    links = {f"{run.base}/6", f"{run.base}/4/9"}
    assert ignored == links | {f"{run.base}/{above}{name}" for above in ("", "4/") for name in told}


#: How much of a report the condenser, or a client that writes its log, may have written so far.
WRITTEN_BYTES = (0, 1, 2000)


def test_a_young_report_is_waited_for_and_used_once_it_is_complete(tmp_path):
    put(tmp_path / "5/1", good())
    unfinished = {}
    for number in range(1, 7):
        files = logs_of_client(good()) if number % 2 else good()
        put(tmp_path / f"2/{number}", files)
        name, content = list(files.items())[7]
        unfinished[tmp_path / f"2/{number}" / name] = content
        (tmp_path / f"2/{number}" / name).write_bytes(content[: WRITTEN_BYTES[number // 2 % 3]])
    with StandInApi(user="tix", password="secret") as api:
        first = once(tmp_path, api.port)
        assert [post.user for post in api.posts] == [5], "only its neighbours are posted"
        assert all(len(reports_left(path.parent)) == 19 for path in unfinished)
        complete(unfinished)
        second = once(tmp_path, api.port)
    assert [post.body["timestamp"] for post in api.posts] == [LAST] * 7
    assert "reports_bad" not in first.counts | second.counts
    assert not list(tmp_path.glob("2/*/bad-reports"))


def complete(unfinished: dict[Path, bytes]) -> None:
    """What was still being written is written to its end."""
    for path, content in unfinished.items():
        path.write_bytes(content)
