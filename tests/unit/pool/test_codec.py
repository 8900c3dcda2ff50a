"""The messages of parent and workers, and phases: exact bytes, both ways, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tixd import jobs
from tixd.errors import BadMessage
from tixd.pool.codec import Coded, decode, encode

PINNED = [
    (
        jobs.ProcessInstallation("/r/1/2", 1, 2),
        b'["process","/r/1/2",1,2,[],false,false]',
    ),
    (
        jobs.ProcessInstallation("/r/1/2", 1, 2, ("a.json",), isolated=True),
        b'["process","/r/1/2",1,2,["a.json"],true,false]',
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
    (jobs.Phase("read", None, ("a.json",), 5), b'["phase","read",null,["a.json"],5,false]'),
    (
        jobs.Phase("post", 1505082345, (), 0, has_finished_window=True),
        b'["phase","post",1505082345,[],0,true]',
    ),
    (jobs.Assignment(3, jobs.ListUsers("/r")), b'["assignment",3,["users","/r"]]'),
    (
        jobs.Done(3, jobs.JobResult(rows=((1,),))),
        b'["done",3,["result",{},false,[[1]],"","",false,[],"",null]]',
    ),
    (jobs.JobResult(), b'["result",{},false,[],"","",false,[],"",null]'),
    (
        jobs.JobResult({"windows_posted": 2}, has_more=True, rows=((1, 2), (3, 4)), failure="x"),
        b'["result",{"windows_posted":2},true,[[1,2],[3,4]],"x","",false,[],"",null]',
    ),
    (
        jobs.JobResult({"windows_stored": 1}, unposted_reason="no answer"),
        b'["result",{"windows_stored":1},false,[],"","no answer",false,[],"",null]',
    ),
    (
        jobs.JobResult(rows=((1, 2),), reasons=("HTTP 500 Internal Server Error",)),
        b'["result",{},false,[[1,2]],"","",false,["HTTP 500 Internal Server Error"],"",null]',
    ),
    (
        jobs.JobResult(
            failure="x", lacks_memory=True, phase=jobs.Phase("read", None, ("phase",), 5)
        ),
        b'["result",{},false,[],"x","",true,[],"",["phase","read",null,["phase"],5,false]]',
    ),
]


@pytest.mark.parametrize(("message", "frame"), PINNED)
def test_every_message_has_its_bytes_and_comes_back(message: Coded, frame: bytes) -> None:
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
        b'["phase","dance",null,[],0,false]',
        b'["phase","read",1.0,[],0,false]',
        b'["phase","read",null,[],0]',
        b'["result",[],false,[],"","",false,[],"",null]',
        b'["result",{"a":"b"},false,[],"","",false,[],"",null]',
        b'["result",{},false,[],"",1,false,[],"",null]',
        b'["result",{},false,[],"","",false,[],"",["ready",1]]',
        b'["result",{},false,[],"","",false,[],"",[]]',
        b'["done",null,["result",{},false,[],"","",false,[],"",null]]',
        b'["done",1,["users","/r"]]',
        b'["done",1,null]',
        b'["assignment",1,["ready",1]]',
        b'["assignment",1,["assignment",1,["users","/r"]]]',
        b'["process","/r/1/2",1,2,"a.json",false]',
        b'["users",' + 500 * b"[" + 500 * b"]" + b"]",
        500 * b'["assignment",1,' + b"0" + 500 * b"]",
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
