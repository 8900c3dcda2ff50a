"""The messages of parent and workers: exact bytes, both ways, and hostile ones."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tixd.dispatch import job
from tixd.errors import BadMessage

PINNED = [
    (
        job.ProcessInstallation("/r/1/2", 1, 2),
        b'["process","/r/1/2",1,2,[],false]',
    ),
    (
        job.ProcessInstallation("/r/1/2", 1, 2, ("a.json",), one_by_one=True),
        b'["process","/r/1/2",1,2,["a.json"],true]',
    ),
    (job.ListUsers("/r"), b'["users","/r"]'),
    (job.ListInstallations("/r", (1, 5)), b'["installations","/r",[1,5],0.0,0,1]'),
    (
        job.ListInstallations("/r", (1,), 1700000000.5, 2, 6),
        b'["installations","/r",[1],1700000000.5,2,6]',
    ),
    (job.CheckVolume("/r"), b'["volume","/r"]'),
    (job.ListFailed("/r", ((1, 2),)), b'["list-failed","/r",[[1,2]]]'),
    (job.RetryFailed("/r", ((1, 2), (3, 4))), b'["retry-failed","/r",[[1,2],[3,4]]]'),
    (job.Ready(77), b'["ready",77]'),
    (job.Phase("read", None, ("a.json",), 5), b'["phase","read",null,["a.json"],5]'),
    (job.Phase("post", 1505082345, (), 0), b'["phase","post",1505082345,[],0]'),
    (job.Done(), b'["done",{},false,[],"","",false,[]]'),
    (
        job.Done({"windows_posted": 2}, more=True, found=((1, 2), (3, 4)), failure="x"),
        b'["done",{"windows_posted":2},true,[[1,2],[3,4]],"x","",false,[]]',
    ),
    (
        job.Done({"windows_stored": 1}, kept="no answer"),
        b'["done",{"windows_stored":1},false,[],"","no answer",false,[]]',
    ),
    (
        job.Done(found=((1, 2),), reasons=("HTTP 500 Internal Server Error",)),
        b'["done",{},false,[[1,2]],"","",false,["HTTP 500 Internal Server Error"]]',
    ),
    (job.Done(failure="x", lacks_memory=True), b'["done",{},false,[],"x","",true,[]]'),
]


@pytest.mark.parametrize(("message", "frame"), PINNED)
def test_every_message_has_its_bytes_and_comes_back(message: job.Message, frame: bytes) -> None:
    assert job.encode(message) == frame
    assert job.decode(frame) == message


@pytest.mark.parametrize("frame", [frame for _, frame in PINNED])
def test_a_message_that_is_cut_anywhere_is_refused(frame: bytes) -> None:
    for end in range(len(frame)):
        with pytest.raises(BadMessage):
            job.decode(frame[:end])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"[]",
        b"7",
        b'"done"',
        b'["unknown"]',
        b"[[]]",
        b'["ready"]',
        b'["ready","1"]',
        b'["ready",true]',
        b'["ready",1,2]',
        b'["users",1]',
        b'["installations","/r",["1"],0.0,0,1]',
        b'["installations","/r",[1],"0",0,1]',
        b'["list-failed","/r",[1,2]]',
        b'["retry-failed","/r",[["1",2]]]',
        b'["phase","dance",null,[],0]',
        b'["phase","read",1.0,[],0]',
        b'["done",[],false,[],"",""]',
        b'["done",{"a":"b"},false,[],"",""]',
        b'["done",{},false,[],"",1]',
        b'["process","/r/1/2",1,2,"a.json",false]',
    ],
)
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    with pytest.raises(BadMessage):
        job.decode(frame)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_understood(frame: bytes) -> None:
    try:
        message = job.decode(frame)
    except BadMessage:
        return
    assert job.decode(job.encode(message)) == message


def test_every_job_has_words_of_its_own_kind():
    words = {
        job.ProcessInstallation("/r/1/2", 1, 2): "installation 1/2",
        job.ListUsers("/r"): "looking for installations",
        job.ListInstallations("/r", ()): "looking for installations",
        job.CheckVolume("/r"): "checking the volume",
        job.ListFailed("/r", ()): "listing kept results",
        job.RetryFailed("/r", ()): "bringing back rejected results",
    }
    assert {asked: job.in_words(asked) for asked in words} == words
    assert {type(asked) for asked in words} == set(get_args(job.Job))
