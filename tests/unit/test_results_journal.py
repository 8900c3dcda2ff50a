"""The journal: operations.md 5.2. Damaged or hostile, it must never delete what it should not."""

from __future__ import annotations

import os

import orjson
import pytest

from tests.support.log_events import heard
from tixd import errors
from tixd.folder import Folder
from tixd.results import journal
from tixd.results.backoff import Backoff, Refusal
from tixd.results.journal import Journal

FULL = Journal(
    window=1505080698,
    timestamp=1505082407,
    names=("tix-report-1505080698.json", "1505080700123-tix-log.json"),
    backoff=Backoff(
        2,
        1505083000.5,
        (Refusal("failed-report-7.json", 1, 1505082999.25, 500),),
        reason="no answer in time",
        unanswered=True,
    ),
)

PINNED = [
    (
        FULL,
        b'{"format":1,"window":1505080698,"timestamp":1505082407,'
        b'"delete":["tix-report-1505080698.json","1505080700123-tix-log.json"],"failures":2,'
        b'"not_before":1505083000.5,"refusals":[["failed-report-7.json",1,1505082999.25,500]],'
        b'"reason":"no answer in time","unanswered":true}',
    ),
    (
        Journal(),
        b'{"format":1,"window":null,"timestamp":null,"delete":[],"failures":0,'
        b'"not_before":0.0,"refusals":[],"reason":"","unanswered":false}',
    ),
]


@pytest.fixture
def folder(tmp_path):
    """An installation's folder."""
    with Folder(str(tmp_path)) as opened:
        yield opened


def written(folder: Folder, **changes: object) -> None:
    """Write a journal in which some members differ."""
    content = orjson.dumps(orjson.loads(PINNED[0][1]) | changes)
    folder.write(journal.FILE_NAME, content)


@pytest.mark.parametrize(("stored", "content"), PINNED)
def test_a_journal_has_pinned_bytes_both_ways(stored, content):
    assert journal.serialise(stored) == content
    assert journal.parse(content) == stored


def test_a_journal_of_before_reasons_were_kept_is_read():
    content = (
        b'{"format":1,"window":7,"timestamp":8,"delete":[],"failures":2,"not_before":9.5,'
        b'"refusals":[["failed-report-7.json",1,6.5]]}'
    )
    refusals = (Refusal("failed-report-7.json", 1, 6.5),)
    assert journal.parse(content) == Journal(7, 8, (), Backoff(2, 9.5, refusals))


def test_what_is_prepared_counts_only_once_it_is_committed(folder):
    journal.prepare(folder, FULL)
    assert journal.load(folder) == Journal()
    journal.commit(folder)
    assert journal.load(folder) == FULL
    assert os.listdir(folder.path) == [journal.FILE_NAME]


def test_a_kill_before_the_rename_leaves_the_journal_before(folder):
    journal.save(folder, FULL)
    journal.prepare(folder, Journal(window=1, timestamp=2))
    assert journal.load(folder) == FULL
    journal.save(folder, Journal(window=3, timestamp=4))
    assert journal.load(folder).window == 3


def test_what_is_abandoned_leaves_nothing(folder):
    journal.prepare(folder, FULL)
    journal.abandon(folder)
    journal.abandon(folder)
    assert os.listdir(folder.path) == []


def test_an_absent_journal_is_empty_and_no_warning(folder):
    with heard() as log:
        assert journal.load(folder) == Journal()
    assert log.events == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"1", b"\xff", b"{}", PINNED[0][1][:-1], b"[" * 100000],
)
def test_an_unreadable_journal_is_empty_with_a_warning(folder, content):
    folder.write(journal.FILE_NAME, content)
    with heard() as log:
        assert journal.load(folder) == Journal()
    assert log.events == [("warning", "journal_unreadable")]


@pytest.mark.parametrize(
    "changes",
    [
        *({"format": value} for value in (0, 2, True, "1", None, 1.0)),
        *({"window": value} for value in (-1, 1.5, "1", True, [])),
        *({"failures": value} for value in (-1, None, True, 1.5, "1")),
        *({"not_before": value} for value in (None, "1", True, [])),
        *({"refusals": value} for value in (None, {}, [[]], [["a.json", 1]], [["../x", 1, 1.0]])),
        *({"refusals": [["a.json", count, 1.0]]} for count in (-1, "1", None, True)),
        *({"reason": value} for value in (None, 5, ["x"], "a\nb", "\x1b[2J")),
        {"delete": "a.json"},
        {"delete": None},
    ],
)
def test_a_journal_with_a_wrong_type_is_not_trusted(folder, changes):
    written(folder, **changes)
    assert journal.load(folder) == Journal()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/etc/passwd.json", "../x.json", "a/b.json", "a/../b.json", "bad-reports"),
        *(".json", ".tixd.json", ".hidden.json", "x.txt", "x.json/", "x.JSON", "x.json\n"),
        *("a\x00.json", "a\n.json", "\x1b[2J.json", "x" * 300 + ".json", 5, None, ["a.json"]),
    ],
)
def test_a_journal_never_names_anything_but_a_plain_report(folder, name):
    written(folder, delete=["tix-report-1.json", name])
    assert journal.load(folder).names == ()


def test_a_journal_that_is_a_link_is_not_followed(folder, tmp_path):
    (tmp_path / "elsewhere").write_bytes(PINNED[0][1])
    (tmp_path / journal.FILE_NAME).symlink_to("elsewhere")
    assert journal.load(folder) == Journal()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_place_of_the_journal_counts_as_none(folder, tmp_path, make):
    make(tmp_path / journal.FILE_NAME)
    assert journal.load(folder) == Journal()


def test_a_disk_at_fault_ends_the_job_instead_of_forgetting_the_journal(folder, monkeypatch):
    def failing(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    journal.save(folder, FULL)
    monkeypatch.setattr(os, "read", failing)
    with pytest.raises(errors.VolumeFailed):
        journal.load(folder)


def test_a_full_disk_is_known_before_the_post_and_leaves_no_file(folder, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    journal.save(folder, FULL)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.DiskFull):
        journal.prepare(folder, Journal())
    assert os.listdir(folder.path) == [journal.FILE_NAME]
    assert journal.load(folder) == FULL


def test_a_leftover_fifo_does_not_block_the_journal(folder, tmp_path):
    os.mkfifo(tmp_path / ".tixd.json.tmp")
    journal.save(folder, FULL)
    assert journal.load(folder) == FULL
