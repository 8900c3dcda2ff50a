"""What a journal says: hostile, it never names what it should not."""

from __future__ import annotations

import math
from dataclasses import replace

import orjson
import pytest

from tixd.analysis.noise import MAX_SPREADS
from tixd.results import journal_format
from tixd.results.backoff import Backoff, Refusal
from tixd.results.journal_format import (
    SLOT_BYTES,
    JournalEntry,
    from_members,
    in_parts,
    lay_out,
    members,
)

FULL = JournalEntry(
    window=1505080698,
    timestamp=1505082407,
    names=("tix-report-1505080698.json", "1505080700123-tix-log.json"),
    backoff=Backoff(
        2,
        1505083000.5,
        (Refusal("failed-report-7.json", 1, 1505082999.25, 500),),
        reason="no answer in time",
        unanswered=True,
        unfinished=True,
    ),
    accepted=("failed-report-3.json",),
    spreads=(412_000.0, math.inf, 1_000.0),
)

PINNED = [
    (
        FULL,
        b'{"format":2,"window":1505080698,"timestamp":1505082407,'
        b'"delete":["tix-report-1505080698.json","1505080700123-tix-log.json"],'
        b'"accepted":["failed-report-3.json"],"failures":2,'
        b'"not_before":1505083000.5,"refusals":[["failed-report-7.json",1,1505082999.25,500]],'
        b'"reason":"no answer in time","unanswered":true,'
        b'"unfinished":true,"spreads_us":[412,null,1]}',
    ),
    (
        JournalEntry(),
        b'{"format":2,"window":null,"timestamp":null,"delete":[],"accepted":[],"failures":0,'
        b'"not_before":0.0,"refusals":[],"reason":"","unanswered":false,'
        b'"unfinished":false}',
    ),
]


def refused(**changes: object) -> bool:
    """Whether a journal in which some members differ is not trusted."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_members(orjson.loads(PINNED[0][1]) | changes)
    return True


@pytest.mark.parametrize(("stored", "content"), PINNED)
def test_a_journal_has_pinned_bytes_both_ways(stored, content):
    assert orjson.dumps(members(stored)) == content
    assert from_members(orjson.loads(content)) == stored


@pytest.mark.parametrize(
    "changes",
    [
        *({"format": value} for value in (0, 1, 3, True, "2", None, 2.0)),
        *({"window": value} for value in (-1, 1.5, "1", True, [])),
        *({"failures": value} for value in (-1, 2**64 - 1, None, True, 1.5, "1")),
        *({"not_before": value} for value in (None, "1", True, [])),
        *({"refusals": value} for value in (None, {}, [[]], [["a.json", 1]], [["../x", 1, 1.0]])),
        *({"refusals": [["a.json", count, 1.0]]} for count in (-1, "1", None, True)),
        *({"reason": value} for value in (None, 5, ["x"], "a\nb", "\x1b[2J")),
        *({"delete": value} for value in (None, "a.json", {})),
        *({"spreads_us": value} for value in (None, 5, "1", [1.5], ["1"], [-1], [True], [[1]])),
        *({"accepted": value} for value in (None, "a.json", [5], ["../a.json"])),
    ],
)
def test_a_journal_with_a_wrong_type_is_not_trusted(changes):
    assert refused(**changes)


def test_a_journal_of_before_reasons_were_kept_is_read():
    content = (
        b'{"format":1,"window":7,"timestamp":8,"delete":[],"failures":2,"not_before":9.5,'
        b'"refusals":[["failed-report-7.json",1,6.5]]}'
    )
    refusals = (Refusal("failed-report-7.json", 1, 6.5),)
    assert from_members(orjson.loads(content), 1) == JournalEntry(
        7, 8, (), Backoff(2, 9.5, refusals)
    )


def test_a_day_of_noise_fits_into_the_slot_beside_the_reports_of_a_window():
    names = tuple(f"tix-report-{1_505_080_680 + 60 * number}.json" for number in range(19))
    entry = replace(FULL, names=names, spreads=(3_599_999_000.0,) * MAX_SPREADS)
    slot, overflow = lay_out(entry, 2**40, None)
    assert (len(overflow), len(slot.line) <= SLOT_BYTES) == (0, True)


def test_words_that_could_not_be_read_again_are_never_written():
    stored = members(JournalEntry(backoff=Backoff(reason="500\r\n\x1b[2J")))
    assert from_members(orjson.loads(orjson.dumps(stored))).backoff.reason == "500???[2J"


@pytest.mark.parametrize("stored", [None, [], 1, "x", {}, {"format": 2}])
def test_what_is_no_journal_is_not_trusted(stored):
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_members(stored)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/etc/passwd.json", "../x.json", "a/b.json", "a/../b.json", "bad-reports"),
        *(".json", ".tixd.json", ".hidden.json", "x.txt", "x.json/", "x.JSON", "x.json\n"),
        *("a\x00.json", "a\n.json", "\x1b[2J.json", "x" * 300 + ".json", 5, None, ["a.json"]),
    ],
)
def test_a_journal_never_names_anything_but_a_plain_report(name):
    assert refused(delete=["tix-report-1.json", name])


def test_a_long_list_of_names_is_cut_in_parts_of_which_none_is_lost(monkeypatch):
    monkeypatch.setattr(journal_format, "MAX_NAMES_BYTES", 100)
    names = tuple(f"{number}-tix-log.json" for number in range(50))
    parts = list(in_parts(names))
    assert sum(parts, ()) == names
    assert all(sum(len(name) + 3 for name in part) <= 100 for part in parts)
    assert list(in_parts(())) == [()]
    assert list(in_parts(("x" * 255,))) == [("x" * 255,)]
