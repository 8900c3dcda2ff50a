"""G4: one file of an installation is odd in every way; the 40 good reports beside it are posted."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.ledger import reports_left
from tests.support.program import once
from tests.support.stand_in_api import StandInApi
from tests.support.volumes import failing_files, without_privilege

START = 1_700_000_000

#: A report in the midst of the others, and where an odd one stands.
FIFTH = f"tix-report-{START + 5 * 60}.json"
ODD = f"tix-report-{START + 5 * 60 + 30}.json"

#: Timestamps of the windows of 40 reports: they end with the 19th, the 28th and the 37th.
WINDOWS = [START + 60 * reports - 1 for reports in (19, 28, 37)]

#: The same without the sixth report.
WITHOUT_ONE = [timestamp + 60 for timestamp in WINDOWS]


def put(path: Path, content: bytes = b"") -> None:
    """Write a file that was finished long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (START, START))


def named_long(length: int) -> Callable[[Path], None]:
    """A bad report whose name has so many bytes."""
    return lambda folder: put(folder / f"{'ä' * 100}{'x' * (length - 205)}.json")


def expired_for_good(folder: Path) -> None:
    """A bad report that is to be deleted, where that is not permitted."""
    put(folder / "bad-reports/tix-report-7.json")
    (folder / "bad-reports").chmod(0o500)


def file_for_folder(folder: Path) -> None:
    """A bad report, and a file in the place of the folder for it."""
    put(folder / "bad-reports")
    put(folder / ODD)


def folders_for_files(folder: Path) -> None:
    """Folders named as a report and as files of tixd's own."""
    for name in (ODD, ".tixd.x.tmp", ".tixd.json.tmp", "tix-report-5.json.tmp"):
        (folder / name).mkdir()


def journal_of_a_folder(folder: Path) -> None:
    """A journal, as it was before, that lists a folder for deletion."""
    folders_for_files(folder)
    journal = (
        b'{"format":1,"window":null,"timestamp":null,"delete":["%b"],"failures":0,'
        b'"not_before":0,"refusals":[]}' % ODD.encode()
    )
    put(folder / ".tixd.json", journal)


ODDITIES: dict[str, Callable[[Path], None]] = {
    **{f"a name of {n} bytes": named_long(n) for n in (244, 245, 248, 249, 255)},
    "something expired that may not be deleted": expired_for_good,
    "a file named bad-reports": file_for_folder,
    "folders for files": folders_for_files,
    "a journal that lists a folder": journal_of_a_folder,
    "a report that may not be read": lambda folder: (folder / FIFTH).chmod(0),
}


def laid_out(base: Path) -> Path:
    """An installation of 40 good reports, finished long ago."""
    folder = made.installation(base, START, 40)
    for report in folder.glob("*.json"):
        os.utime(report, (START, START))
    return folder


def posted(api: StandInApi) -> list[int]:
    """Timestamps of the results, as they were accepted."""
    return [post.body["timestamp"] for post in api.accepted]


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A reports folder, which can be cleared up afterwards."""
    yield tmp_path / "base"
    for path in (tmp_path / "base").rglob("*"):
        path.chmod(0o700)


@pytest.mark.parametrize(
    "oddity",
    few(ODDITIES, *(oddity for oddity in ODDITIES if not oddity.startswith("a name of 24"))),
)
def test_an_odd_file_holds_up_no_window_of_its_installation(base, oddity):
    ODDITIES[oddity](laid_out(base))
    with StandInApi() as api:
        ended = once(base, api.port, before=without_privilege(), TIX_BAD_REPORTS_KEEP_FILES="0")
    assert posted(api) == (WITHOUT_ONE if FIFTH in ended.text else WINDOWS), ended.text
    assert ended.code == 0
    assert "jobs_failed" not in ended.counts


@pytest.mark.parametrize(
    ("name", "error"),
    few(
        itertools.product((FIFTH, "7-tix-log.json"), ("EIO", "ESTALE")),
        (FIFTH, "ESTALE"),
        ("7-tix-log.json", "EIO"),
    ),
)
def test_a_report_that_the_volume_cannot_read_is_passed_over(base, name, error):
    folder = laid_out(base)
    put(folder / name, (folder / FIFTH).read_bytes())
    with failing_files(base, {name: error}) as mounted, StandInApi() as api:
        ended = once(mounted, api.port)
    assert posted(api) == (WITHOUT_ONE if name == FIFTH else WINDOWS), ended.text
    assert ended.counts["reports_unreadable"] >= 1
    assert [line["file"] for line in ended.events("report_unreadable")] == [name]
    assert (folder / name).exists()


def test_a_young_report_that_cannot_be_read_is_waited_for(base):
    folder = laid_out(base)
    os.utime(folder / FIFTH)
    with failing_files(base, {FIFTH: "EIO"}) as mounted, StandInApi() as api:
        ended = once(mounted, api.port)
    assert ended.counts == {}
    assert len(reports_left(folder)) == 40


def test_a_volume_that_reads_nothing_ends_the_job_and_nothing_is_moved_or_deleted(base):
    folder = laid_out(base)
    put(folder / ODD, b"{")
    fails = base.with_name("base.fails")
    fails.touch()
    with failing_files(base, {}) as mounted, StandInApi() as api:
        ended = once(mounted, api.port)
        assert (ended.counts, posted(api)) == ({"jobs_failed": 1}, [])
        assert len(ended.events("installation_skipped")) == 1
        assert len(reports_left(folder)) == 41
        assert not (folder / "bad-reports").exists()
        fails.unlink()
        assert once(mounted, api.port).counts["windows_posted"] == 3
    assert posted(api) == WINDOWS


#: A name whose stat fails, and the installations that are posted all the same. A report of which
#: nothing is known is waited for until it was seen for a minute.
HIDDEN = {"3": {2}, "9": {2, 3}, ODD: {3}}


def test_a_report_that_is_listed_but_not_there_holds_up_no_window_before_it(base):
    """A directory entry without a file, as a damaged file system has them."""
    folder = laid_out(base)
    put(folder / f"tix-report-{START + 30 * 60 + 30}.json", (folder / FIFTH).read_bytes())
    broken = f"tix-report-{START + 30 * 60 + 30}.json"
    with failing_files(base, {broken: "ENOENT!"}) as mounted, StandInApi() as api:
        ended = once(mounted, api.port)
    assert posted(api) == WINDOWS[:2], ended.text
    assert "jobs_vanished" not in ended.counts


@pytest.mark.parametrize("name", HIDDEN)
def test_one_name_whose_stat_fails_hides_no_other(base, name):
    put(laid_out(base) / ODD, b"{")
    made.installation(base, START, 40, number=3)
    (base / "9").mkdir()
    with failing_files(base, {name: "EIO!"}) as mounted, StandInApi() as api:
        ended = once(mounted, api.port)
    assert {post.installation for post in api.accepted} == HIDDEN[name], ended.text
    assert ended.counts.get("jobs_failed", 0) == (name == "3")
