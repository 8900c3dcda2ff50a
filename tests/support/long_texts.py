"""Requests to the collector with a long text in one place, for each place that a sender fills.

In: the text's length. Out: requests by the name of the place. Each is made when it is asked for,
because all of them together need much memory.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlencode

from tests.support.bundles import JOB, parameters, update
from tixd.collector.server import SERVLET


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; the usual Host and Content-Length are added where they are not given."""

    body: bytes = b""
    method: bytes = b"POST"
    target: bytes = SERVLET.encode()
    version: bytes = b"HTTP/1.1"
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    def octets(self) -> bytes:
        """The request on the wire."""
        usual = {
            b"Host": b"x",
            b"Connection": b"close",
            b"Content-Type": b"application/x-www-form-urlencoded",
            b"Content-Length": b"%d" % len(self.body),
        }
        lines = b"".join(b"%b: %b\r\n" % pair for pair in {**usual, **self.headers}.items())
        first = b"%b %b %b\r\n" % (self.method, self.target, self.version)
        return first + lines + b"\r\n" + self.body


Make = Callable[[], Request]


def answer_to(sock: socket.socket, octets: bytes) -> bytes:
    """The answer to these bytes; b"" where the connection was closed instead."""
    answer = b""
    sock.settimeout(30)
    with contextlib.suppress(OSError):  # it may answer before all is sent, and close
        sock.sendall(octets)
    with contextlib.suppress(OSError):
        while piece := sock.recv(65536):
            answer += piece
    return answer


def _posted(fill: bytes, **changes: str) -> Request:
    """A form with these changes, in which @@ is then replaced: encoding long texts takes long."""
    body = urlencode(parameters([1], **changes)).encode()
    return Request(body.replace(b"%40%40", fill))


def _packed(body: bytes) -> Request:
    return Request(gzip.compress(body, 1), headers={b"Content-Encoding": b"gzip"})


def forms(length: int) -> dict[str, Make]:
    """A long text in a form, beside its records."""
    good = urlencode(parameters([1])).encode()
    fields = ("command", "from", "bundlesize", "arg1", "unknown")
    return {
        **{
            f"form {name}": lambda name=name: _posted(b"x" * length, **{name: "@@"})
            for name in fields
        },
        "form number": lambda: _posted(b"9" * length, bundlesize="@@"),
        "form name": lambda: Request(good + b"&" + b"n" * length + b"=1"),
        "form escapes": lambda: Request(good + b"&n=" + b"%41" * (length // 3)),
        "form broken escapes": lambda: Request(good + b"&n=" + b"%" * length),
        "form ampersands": lambda: Request(good + b"&" * length),
        "form not UTF-8": lambda: Request(good + b"&from=" + b"\xff" * length),
        "no form": lambda: Request(b"\0" * length),
        "packed from": lambda: _packed(good + b"&from=" + b"x" * length),
        "packed nonsense": lambda: Request(
            b"\x1f\x8b" + b"x" * length, headers={b"Content-Encoding": b"gzip"}
        ),
    }


#: A record with one place to fill; by name.
_PLACES = {
    **{
        f"element {name}": re.sub(rf"(<{name}\b[^>]*>)[^<]*(</{name}>)", r"\1@@\2", JOB)
        for name in re.findall(r"<(\w+)\b[^>]*>[^<\n]+</", JOB)
    },
    "element name": JOB.replace("</JobUsageRecord>", "<@@>1</@@></JobUsageRecord>"),
    "element unknown": JOB.replace("</JobUsageRecord>", "<Strange>@@</Strange></JobUsageRecord>"),
    "element QueueTime": JOB.replace("<JobName>", "<QueueTime>@@</QueueTime><JobName>"),
    "element TimeInstant": JOB.replace(
        "<JobName>", '<TimeInstant urwg:type="@@">2016-05-27T20:00:00Z</TimeInstant><JobName>'
    ),
    "attribute recordId": JOB.replace("{id}", "@@"),
    "attribute createTime": JOB.replace("2016-05-27T22:46:46Z", "@@"),
    "attribute usageType": JOB.replace('"user"', '"@@"'),
    "attribute description": JOB.replace('"exit code"', '"@@"'),
    "attribute primary": JOB.replace('"true"', '"@@"'),
    "attribute name": JOB.replace('primary="', '@@="'),
    "namespace": JOB.replace("http://www.gridforum.org/2003/ur-wg", "@@"),
    "prefix": JOB.replace("urwg:", "@@:").replace("xmlns:urwg", "xmlns:@@"),
    "record name": JOB.replace("JobUsageRecord", "@@"),
    "comment": JOB.replace("<JobName>", "<!--@@--><JobName>"),
    "instruction": JOB.replace("<JobName>", "<?@@?><JobName>"),
    "character data": JOB.replace("a job", "<![CDATA[@@]]>"),
    "end tag": JOB.replace("</JobName>", "</@@>"),
    "text before": "@@" + JOB,
    "text behind": JOB + "@@",
    "entity": JOB.replace("a job", "&@@;"),
    "doctype": "<!DOCTYPE @@>" + JOB,
}


def records(length: int) -> dict[str, Make]:
    """A long text in a record, or where one could be."""
    text = b"x" * length

    def in_update(place: str) -> Request:
        return _posted(text, arg1=f"replication|{_PLACES[place].replace('{id}', '1')}|||")

    def in_envelope(place: str) -> Request:
        record = _PLACES[place].replace("{id}", "1")
        envelope = f"<RecordEnvelope>{record}</RecordEnvelope>"
        return _posted(text, command="multiupdate", arg1=envelope)

    raw = f"replication|{JOB.format(id=1)}|@@|@@|"
    quotes = update([1]).replace("a job", "@@")
    return {
        **{f"update: {place}": partial(in_update, place) for place in _PLACES},
        **{f"envelope: {place}": partial(in_envelope, place) for place in _PLACES},
        "update: raw and extra": lambda: _posted(text[: length // 2], arg1=raw),
        "update: kind of token": lambda: _posted(text, arg1="@@" + update([1])),
        "update: quotes": lambda: _posted(b"%22" * length, arg1=quotes),
    }


def heads(length: int) -> dict[str, Make]:
    """A long text in what stands before a body."""
    text = b"x" * length
    names = (
        *(b"Host", b"User-Agent", b"X-Forwarded-For", b"X-Real-IP", b"Forwarded", b"Cookie"),
        *(b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Expect", b"Strange"),
        *(b"Authorization", b"Upgrade", b"Range", b"Accept-Encoding"),
    )
    good = urlencode(parameters([1])).encode()
    return {
        **{
            f"header {name.decode()}": lambda name=name: Request(good, headers={name: text})
            for name in names
        },
        "header Content-Length": lambda: Request(headers={b"Content-Length": b"9" * length}),
        "header name": lambda: Request(good, headers={text: b"1"}),
        "headers": lambda: Request(
            good, headers={b"X-%d" % n: b"x" * 90 for n in range(length // 100)}
        ),
        "method": lambda: Request(method=text),
        "target": lambda: Request(target=b"/" + text),
        "query": lambda: Request(good, target=SERVLET.encode() + b"?" + text),
        "version": lambda: Request(version=text),
    }
