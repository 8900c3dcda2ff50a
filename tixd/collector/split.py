"""The text of an `update` bundle to its records; pure.

In: tokens between `|`. Out: for each `replication` its record, the first of the three tokens that
follow; None for each other token. Rules: a `|` in a double-quoted string does not cut, and a
backslash there escapes the next character. An odd quote in ordinary text breaks that rule; then a
record, and the raw and extra XML behind it, are taken to end with their root elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tixd.collector.cut import element_end
from tixd.collector.elements import Found, parse, root_at
from tixd.collector.limits import Limits
from tixd.errors import Malformed, OverLimit

#: Tokens that follow `replication`: the record, its raw XML, extra XML.
_FOLLOWING = 3

#: Most tokens for each record that is allowed; four are needed.
_TOKENS_PER_RECORD = 10

_KEYWORD = b"replication"

#: A token by the quote rule (an open quote ends it early), and one that knows no quotes.
_QUOTED_TOKEN = re.compile(rb'[^|"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^|"]*+)*+', re.DOTALL)
_TOKEN = re.compile(rb"[^|]*+")

_BLANKS = re.compile(rb"\s*+")


def by_quotes(text: bytes, limits: Limits) -> Iterator[Found | None]:
    """The records, cut out by the quote rule.

    Raises Malformed where the rule does not fit the text, BadRequest for a DOCTYPE, OverLimit.
    """
    following = 0
    for at, token in _quoted_tokens(text, limits):
        yield parse(token[root_at(token) :], limits, {}, at) if following == _FOLLOWING else None
        if following:
            following -= 1
        elif token == _KEYWORD:
            following = _FOLLOWING
    if following:
        raise _too_few()


def by_structure(text: bytes, limits: Limits) -> Iterator[Found | None]:
    """The records, each cut where its root element ends; raises as by_quotes does."""
    at = 0
    for _ in range(_TOKENS_PER_RECORD * limits.records):
        end = _end(_TOKEN, text, at)
        if text[at:end].strip() == _KEYWORD:
            start = root_at(text, end + 1)
            end = element_end(text, start)
            _check_size(end - start, start, limits)
            yield parse(text[start:end], limits, {}, start)
            end = _cut_behind(text, end)
            for _ in range(_FOLLOWING - 1):
                end = _end_of_xml(text, end)
        else:
            yield None
        if end == len(text):
            return
        at = end + 1
    raise _too_many(limits)


def _quoted_tokens(text: bytes, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Where each token begins by the quote rule, and what it is without blanks around it."""
    at = 0
    for _ in range(_TOKENS_PER_RECORD * limits.records):
        end = _quoted_end(text, at, limits.token_bytes)
        _check_size(end - at, at, limits)
        if end < len(text) and not text.startswith(b"|", end):
            raise Malformed(f"a quote that stays open at byte {end}")
        yield at, text[at:end].strip()
        if end == len(text):
            return
        at = end + 1
    raise _too_many(limits)


def _quoted_end(text: bytes, at: int, most: int) -> int:
    """Where a token ends by the quote rule; quickly where its quotes are pairs without escapes."""
    end = text.find(b"|", at, at + most)
    if end >= 0 and not text.count(b'"', at, end) % 2 and text.find(b"\\", at, end) < 0:
        return end
    return _end(_QUOTED_TOKEN, text, at)


def _end_of_xml(text: bytes, cut: int) -> int:
    """Where the token behind a `|` ends: with the XML that it begins with, if it does."""
    if cut == len(text):
        raise _too_few()
    start = _end(_BLANKS, text, cut + 1)
    if text.startswith(b"<", start):
        return _cut_behind(text, element_end(text, root_at(text, start)))
    return _end(_TOKEN, text, start)


def _cut_behind(text: bytes, at: int) -> int:
    """The next `|`, or the end of the text, with nothing but blanks before it."""
    at = _end(_BLANKS, text, at)
    if at < len(text) and not text.startswith(b"|", at):
        raise Malformed(f"neither | nor the end behind a record at byte {at}")
    return at


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Where a pattern that always matches ends."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _check_size(size: int, at: int, limits: Limits) -> None:
    if size > limits.token_bytes:
        raise Malformed(f"a token of over {limits.token_bytes} bytes at byte {at}")


def _too_few() -> Malformed:
    return Malformed(f"a replication that {_FOLLOWING} tokens do not follow")


def _too_many(limits: Limits) -> OverLimit:
    return OverLimit(f"over {_TOKENS_PER_RECORD * limits.records} tokens")
