"""What the stand-in for the tix-api takes: the next HTTP/1.1 request, its path, its measure; pure.

Strict on purpose: what the client sends must be right to the letter, else the tests hear of it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from typing import Any

#: Longest head and body that are read, bytes.
LONGEST_HEAD_BYTES, LONGEST_BODY_BYTES = 16 * 2**10, 64 * 2**10

_PATH = re.compile(r"/api/user/([1-9][0-9]*)/installation/([1-9][0-9]*)/reports")
_USAGES = ("upUsage", "downUsage")
_HURSTS = ("hurstUpRs", "hurstUpWavelet", "hurstDownRs", "hurstDownWavelet")
_NUMBERS = (*_USAGES, "upQuality", "downQuality", *_HURSTS)
_MEMBERS = {"timestamp", "version", "ip", *_NUMBERS}
_ALTERNATIVES = ("upUsageAlt", "downUsageAlt")
#: Members that the real one ignores.
_OPTIONAL = {"asn", "asName", *_ALTERNATIVES}


class Rejected(Exception):
    """The request is not what the tix-api takes; the status says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def next_request(buffer: bytearray) -> tuple[str, dict[str, str], bytes] | None:
    """The next whole request in the buffer, taken out of it; None: more must come."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > LONGEST_HEAD_BYTES:
            raise Rejected(431)
        return None
    line, *rest = buffer[:end].decode("latin-1").split("\r\n")
    parted = [header.partition(":") for header in rest]
    headers = {name.lower(): value.strip() for name, _, value in parted}
    if len(headers) < len(rest) or any(not colon or " " in name for name, colon, _ in parted):
        raise Rejected(400)
    length = headers.get("content-length", "0")
    if not length.isdigit() or "transfer-encoding" in headers or not headers.get("host"):
        raise Rejected(400)
    if int(length) > LONGEST_BODY_BYTES:
        raise Rejected(413)
    whole = end + 4 + int(length)
    if len(buffer) < whole:
        return None
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    return line, headers, body


def target(line: str) -> tuple[int, int]:
    method, _, rest = line.partition(" ")
    path, _, version = rest.partition(" ")
    found = _PATH.fullmatch(path)
    if version != "HTTP/1.1" or not found:
        raise Rejected(404 if version == "HTTP/1.1" else 505)
    if method != "POST":
        raise Rejected(405)
    return int(found[1]), int(found[2])


def is_question(line: str) -> bool:
    """Whether it asks who asks."""
    return line == "GET /api/user/current HTTP/1.1"


def has_as(address: str) -> bool:
    """Whether the real one finds an AS: never of IPv6 addresses and host names, which get 500."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address).version == 4
    return False


def measure(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The body, where it is exactly what the tix-api takes."""
    if headers.get("content-type") != "application/json":
        raise Rejected(415)
    try:
        content = json.loads(body)
    except ValueError:
        raise Rejected(400) from None
    if not isinstance(content, dict) or set(content) - _OPTIONAL != _MEMBERS:
        raise Rejected(400)
    numbers = [content[name] for name in _NUMBERS if content[name] is not None]
    plain = all(type(number) in (int, float) for number in numbers)
    if type(content["timestamp"]) is not int or content["version"] != "1.0.0" or not plain:
        raise Rejected(400)
    if not content["ip"] or not all(
        0 <= (content.get(name) or 0) <= 1 for name in (*_USAGES, *_ALTERNATIVES)
    ):
        raise Rejected(400)
    return content
