"""The messages of parent and workers: exact bytes, both ways, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tixd import jobs
from tixd.errors import BadMessage
from tixd.pool.codec import decode, encode

PINNED = [
    (
        jobs.ProcessInstallation("/r/1/2", 1, 2),
        b'["process","/r/1/2",1,2,[],false]',
    ),
    (
        jobs.ProcessInstallation("/r/1/2", 1, 2, ("a.json",), isolated=True),
        b'["process","/r/1/2",1,2,["a.json"],true]',
    ),
    (jobs.ListUsers("/r"), b'["users","/r"]'),
    (jobs.ListInstallations("/r", (1, 5)), b'["installations","/r",[1,5],0.0,0,1]'),
    (
        jobs.ListInstallations("/r", (1,), 1700000000.5, 2, 6),
        b'["installations","/r",[1],1700000000.5,2,6]',
    ),
    (jobs.CheckVolume("/r"), b'["volume","/r"]'),
    (jobs.ListFailed("/r", ((1, 2),)), b'["list-failed","/r",[[1,2]]]'),
    (jobs.RetryFailed("/r", ((1, 2), (3, 4))), b'["retry-failed","/r",[[1,2],[3,4]]]'),
    (jobs.Ready(77), b'["ready",77]'),
    (jobs.Phase("read", None, ("a.json",), 5), b'["phase","read",null,["a.json"],5]'),
    (jobs.Phase("post", 1505082345, (), 0), b'["phase","post",1505082345,[],0]'),
    (jobs.JobResult(), b'["done",{},false,[],"","",false,[],""]'),
    (
        jobs.JobResult({"windows_posted": 2}, has_more=True, rows=((1, 2), (3, 4)), failure="x"),
        b'["done",{"windows_posted":2},true,[[1,2],[3,4]],"x","",false,[],""]',
    ),
    (
        jobs.JobResult({"windows_stored": 1}, unposted_reason="no answer"),
        b'["done",{"windows_stored":1},false,[],"","no answer",false,[],""]',
    ),
    (
        jobs.JobResult(rows=((1, 2),), reasons=("HTTP 500 Internal Server Error",)),
        b'["done",{},false,[[1,2]],"","",false,["HTTP 500 Internal Server Error"],""]',
    ),
    (jobs.JobResult(failure="x", lacks_memory=True), b'["done",{},false,[],"x","",true,[],""]'),
]


@pytest.mark.parametrize(("message", "frame"), PINNED)
def test_every_message_has_its_bytes_and_comes_back(message: jobs.Message, frame: bytes) -> None:
    assert encode(message) == frame
    assert decode(frame) == message


@pytest.mark.parametrize("frame", [frame for _, frame in PINNED])
def test_a_message_that_is_cut_anywhere_is_refused(frame: bytes) -> None:
    for end in range(len(frame)):
        with pytest.raises(BadMessage):
            decode(frame[:end])


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
        decode(frame)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_understood(frame: bytes) -> None:
    try:
        message = decode(frame)
    except BadMessage:
        return
    assert decode(encode(message)) == message
