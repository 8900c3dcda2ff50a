"""Celery's messages: exact content both ways, and those that are never run."""

from __future__ import annotations

import json
import pickle
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.chosen import few
from tests.support.task_messages import JSON, TASK_ID, protocol_1, protocol_2
from tixd.amqp.messages import Properties
from tixd.errors import BadTask
from tixd.queues import celery_message
from tixd.queues.celery_message import InstallationTask, ScanTask, decode, encode

USERS = celery_message.USERS_TASK

#: 2017-09-10 22:13:05 UTC.
MOMENT = 1_505_081_585

ONE = InstallationTask(TASK_ID, "/r/1/2", 1, 2)

#: (task, the exact body of its message, headers in which messages differ).
PINNED: list[tuple[celery_message.Task, bytes, dict[str, Any]]] = [
    (
        ONE,
        b'[["/r/1/2","1","2"],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]',
        {
            "task": "processor.tasks.process_installation",
            "expires": None,
            "argsrepr": "('/r/1/2', '1', '2')",
        },
    ),
    (
        replace(ONE, expires=MOMENT + 0.5),
        b'[["/r/1/2","1","2"],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]',
        {
            "task": "processor.tasks.process_installation",
            "expires": "2017-09-10T22:13:05.500000+00:00",
            "argsrepr": "('/r/1/2', '1', '2')",
        },
    ),
    (
        ScanTask(TASK_ID, "/r"),
        b'[["/r"],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]',
        {
            "task": "processor.tasks.process_users_data",
            "expires": None,
            "argsrepr": "('/r',)",
        },
    ),
]

#: The headers that are the same in all of these.
HEADERS = {
    "lang": "py",
    "id": TASK_ID,
    "shadow": None,
    "eta": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "root_id": TASK_ID,
    "parent_id": None,
    "kwargsrepr": "{}",
    "origin": "7@host",
    "ignore_result": None,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}


@pytest.mark.parametrize(("task", "body", "headers"), PINNED)
def test_every_task_has_its_message_and_comes_back(
    task: celery_message.Task, body: bytes, headers: dict[str, Any]
) -> None:
    made, properties = encode(task, now=MOMENT, origin="7@host")
    assert made == body
    assert properties.headers == HEADERS | headers
    assert decode(body, properties) == task


def test_a_message_says_what_it_is_and_is_kept_on_disk() -> None:
    properties = encode(replace(ONE, expires=MOMENT + 600), now=MOMENT, origin="7@host")[1]
    said = (properties.content_type, properties.content_encoding, properties.persistent)
    assert said == ("application/json", "utf-8", True)
    assert (properties.correlation_id, properties.expiration) == (TASK_ID, "600000")


def test_what_has_expired_already_expires_at_once() -> None:
    assert encode(replace(ONE, expires=MOMENT), now=MOMENT + 9, origin="")[1].expiration == "0"
    assert encode(ONE, now=MOMENT, origin="")[1].expiration == ""


def test_protocol_1_is_read_with_ids_of_either_kind() -> None:
    assert decode(protocol_1(), JSON) == ONE
    assert decode(protocol_1(args=["/r/1/2", 1, 2]), JSON) == ONE
    assert decode(protocol_1(task=USERS, args=["/r"]), JSON) == ScanTask(TASK_ID, "/r")


@pytest.mark.parametrize(
    "text",
    [
        "2017-09-10T22:13:05",
        "2017-09-10T22:13:05+00:00",
        "2017-09-10T22:13:05Z",
        "2017-09-11T00:13:05.000000+02:00",
    ],
)
def test_a_time_of_expiry_without_offset_is_utc(text: str) -> None:
    assert decode(protocol_1(expires=text), JSON).expires == MOMENT
    assert decode(*protocol_2(expires=text)).expires == MOMENT


def test_an_eta_in_the_future_is_not_waited_for() -> None:
    assert decode(*protocol_2(eta="2099-01-01T00:00:00+00:00")) == ONE


class Trap:
    """Unpickling it would be noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (pickle.dumps(Trap()), {"content_type": "application/x-python-serialize"}, "content type"),
        (pickle.dumps(Trap()), {}, "not valid JSON"),
        (b"!!python/object:os.system", {"content_type": "application/x-yaml"}, "content type"),
        (protocol_1(), {"content_type": ""}, "content type ''"),
        (protocol_1(), {"content_type": "text/plain"}, "content type 'text/plain'"),
        (protocol_1(), {"content_encoding": "binary"}, "content encoding 'binary'"),
        (protocol_1(), {"content_encoding": "utf-16"}, "content encoding"),
        (protocol_1(), {"headers": {"compression": "application/x-gzip"}}, "compression"),
        (b" " * (1 << 20) + protocol_1(), {}, "more than 1048576"),
        (b"", {}, "not valid JSON"),
        (b"\xff\xfe", {}, "not valid JSON"),
        (b'{"task": NaN}', {}, "not valid JSON"),
        (b"[" * 500_000 + b"]" * 500_000, {}, "not valid JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {}, "not valid JSON"),
        (b"7", {}, "no header names a task"),
        (b"[[], {}, {}]", {}, "no header names a task"),
        (b"{}", {}, "unknown task 'NoneType'"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_json_task_is_refused_unread(
    body: bytes, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadTask, match=reason):
        decode(body, replace(JSON, **changes))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"task": "os.system"}, "unknown task 'os.system'"),
        ({"task": ["os.system"]}, "unknown task 'list'"),
        ({"task": "x" * 5000}, "unknown task 'x{80}'"),
        ({"task": "a\nb"}, r"unknown task 'a\\nb'"),
        ({"task": None}, "unknown task 'NoneType'"),
        ({"args": []}, "0 arguments"),
        ({"args": ["/r/1/2", "1"]}, "2 arguments"),
        ({"args": ["/r/1/2", "1", "2", "3"]}, "4 arguments"),
        ({"args": {"0": "/r"}}, "not a list"),
        ({"args": None}, "not a list"),
        ({"kwargs": {"path": "/r/1/2"}}, "keyword arguments"),
        ({"args": [7, "1", "2"]}, "not a path"),
        ({"args": ["", "1", "2"]}, "not a path"),
        ({"args": ["/r/1/2\0", "1", "2"]}, "not a path"),
        ({"args": ["/" * 4097, "1", "2"]}, "not a path"),
        *(
            ({"args": ["/r/1/2", odd, "2"]}, "not the number of a user or installation")
            for odd in ("", "0", "-1", "+1", "1.0", " 1", "1 ", "1_0", "\u0661", "x", "9" * 19)
        ),
        *(
            ({"args": ["/r/1/2", "1", odd]}, "not the number of a user or installation")
            for odd in (0, -1, 1.0, True, None, ["2"], 10**18, 10**30)
        ),
        ({"task": USERS, "args": ["/r", "1"]}, "2 arguments"),
        ({"task": USERS, "args": []}, "0 arguments"),
        ({"task": USERS, "args": [None]}, "not a path"),
        ({"id": None}, "not a task id"),
        ({"id": ""}, "not a task id"),
        ({"id": "x" * 256}, "not a task id"),
        ({"expires": "soon"}, "not a time"),
        ({"expires": 1505082345}, "not a time"),
    ],
    ids=str,
)
def test_a_task_that_is_not_exactly_one_is_refused(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadTask, match=reason):
        decode(protocol_1(**members), JSON)
    with pytest.raises(BadTask, match=reason):
        decode(*protocol_2(**members))


@pytest.mark.parametrize("content", [{}, [], [["/r/1/2", "1", "2"], {}], "text", None])
def test_protocol_2_with_another_body_is_refused(content: object) -> None:
    with pytest.raises(BadTask, match="body is not"):
        decode(json.dumps(content).encode(), protocol_2()[1])


def test_a_message_that_is_cut_anywhere_is_refused() -> None:
    for whole, properties in ((protocol_1(), JSON), protocol_2()):
        for end in range(len(whole)):
            with pytest.raises(BadTask):
                decode(whole[:end], properties)


TEXT = st.text("aT/.:-+ 0129\0\n\u0661\ud800\U0001f600", max_size=20)

HEADER = st.none() | st.booleans() | st.integers() | TEXT | st.binary() | st.lists(TEXT)

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


def understood_or_refused(body: bytes, properties: Properties) -> None:
    """Decode it; what comes out is a task that comes back from its own message, or BadTask."""
    reason = ""
    try:
        task = decode(body, properties)
    except BadTask as error:
        reason = str(error)
    else:
        assert decode(*encode(task, now=0, origin="")) == task
    assert reason.isprintable()
    assert len(reason) < 400


@given(st.binary(max_size=100), st.dictionaries(st.sampled_from(sorted(HEADERS)), HEADER))
def test_any_bytes_are_refused_or_understood(body: bytes, headers: dict[str, Any]) -> None:
    understood_or_refused(body, replace(JSON, headers=headers))


@given(st.dictionaries(st.sampled_from(("task", "id", "args", "kwargs", "expires")), JSONS))
def test_any_members_are_refused_or_understood(members: dict[str, Any]) -> None:
    understood_or_refused(protocol_1(**members), JSON)
    understood_or_refused(*protocol_2(**members))


@given(st.integers(0, 400), st.binary(max_size=3))
def test_any_damage_is_refused_or_understood(place: int, damage: bytes) -> None:
    for whole, properties in ((protocol_1(expires="2017-09-10T22:13:05"), JSON), protocol_2()):
        understood_or_refused(whole[:place] + damage + whole[place + len(damage) :], properties)


@pytest.mark.parametrize(
    "piece", few([b"[],", b"{},", b'"",', b"1.5,", b'{"":[]},'], b'{"":[]},', b"1.5,")
)
def test_the_largest_body_takes_little_time_and_memory(piece: bytes) -> None:
    body = b"[" + piece * ((celery_message.MAX_BODY_BYTES - 4) // len(piece)) + b"1]"
    begun = time.process_time()
    with pytest.raises(BadTask):
        decode(body, JSON)
    assert time.process_time() - begun < 1.0
    tracemalloc.start()  # which makes it many times slower
    with pytest.raises(BadTask):
        decode(body, JSON)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
