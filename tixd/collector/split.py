"""The text of an `update` bundle to its records; pure.

In: tokens between `|`. Out: for each `replication` its record, the first of the three tokens that
follow; of each token its length, so that work can be measured. Rules: a `|` in a double-quoted
string does not cut, and a backslash there escapes the next character. An odd quote in ordinary text
breaks that rule; then a record, and the raw and extra XML behind it, are taken to end with their
root elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tixd.collector.cut import element_end
from tixd.collector.limits import Limits
from tixd.collector.record_parser import NO_ELEMENT, Found, parse, root_at
from tixd.errors import Malformed, OverLimit

#: Tokens that follow `replication`: the record, its raw XML, extra XML.
_FOLLOWING = 3

#: Most tokens for each record that is allowed; four are needed.
_TOKENS_PER_RECORD = 10

_KEYWORD = b"replication"

#: A token by the quote rule; an open quote ends it early.
_QUOTED_TOKEN = re.compile(rb'[^|"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^|"]*+)*+', re.DOTALL)

_BLANKS = re.compile(rb"\s*+")


def by_quotes(text: bytes, limits: Limits) -> Iterator[Found | int]:
    """The records, cut out by the quote rule.

    Raises Malformed where the rule does not fit the text, BadRequest for a DOCTYPE, OverLimit.
    """
    following = 0
    for at, end in _quoted_tokens(text, limits):
        yield end - at
        if following == _FOLLOWING:
            yield _record(text, at, end, limits)
        if following:
            following -= 1
        elif text[at:end].strip() == _KEYWORD:
            following = _FOLLOWING
    if following:
        raise Malformed("a replication that too few tokens follow")


def _record(text: bytes, at: int, end: int, limits: Limits) -> Found:
    """The record in a token, without what stands before and behind it."""
    start = root_at(text, at)
    return parse(text[start : text.rfind(b">", start, end) + 1], limits, {}, start)


def by_structure(text: bytes, limits: Limits) -> Iterator[Found | int]:
    """The records, each cut where its root element ends; raises as by_quotes does."""
    at = 0
    for _ in range(_TOKENS_PER_RECORD * limits.records):
        end = _token_end(text, at)
        if text[at:end].strip() == _KEYWORD:
            start = root_at(text, end + 1)
            record_end = element_end(text, start, limits)
            _check_size(record_end - start, start, limits)
            end = _cut_behind(text, record_end, limits)
            yield end - at
            for _ in range(_FOLLOWING - 1):
                before, end = end, _end_of_xml(text, end, start, limits)
                yield end - before
            yield parse(text[start:record_end], limits, {}, start)
        else:
            yield end - at
        if end == len(text):
            return
        at = end + 1
    raise _too_many(limits)


def _quoted_tokens(text: bytes, limits: Limits) -> Iterator[tuple[int, int]]:
    """Where each token begins and ends by the quote rule."""
    at = 0
    for _ in range(_TOKENS_PER_RECORD * limits.records):
        end = _quoted_end(text, at, limits.token_bytes)
        _check_size(end - at, at, limits)
        if end < len(text) and not text.startswith(b"|", end):
            raise Malformed("a quote that stays open", end)
        yield at, end
        if end == len(text):
            return
        at = end + 1
    raise _too_many(limits)


def _quoted_end(text: bytes, at: int, most: int) -> int:
    """Where a token ends by the quote rule; quickly where its quotes are pairs without escapes."""
    end = text.find(b"|", at, at + most)
    if end >= 0 and not text.count(b'"', at, end) % 2 and text.find(b"\\", at, end) < 0:
        return end
    return _end(_QUOTED_TOKEN, text, at, most + 1)


def _end_of_xml(text: bytes, cut: int, record: int, limits: Limits) -> int:
    """Where the token behind a `|` ends: with the XML that it begins with, if it does."""
    if cut == len(text):
        raise Malformed(f"too few of {_FOLLOWING} tokens of the record", record)
    start = _end(_BLANKS, text, cut + 1, limits.token_bytes)
    if text.startswith(b"<", start):
        return _cut_behind(text, element_end(text, root_at(text, start), limits), limits)
    return _token_end(text, start)


def _cut_behind(text: bytes, at: int, limits: Limits) -> int:
    """The next `|`, or the end of the text, with no other element before it."""
    end = _end(NO_ELEMENT, text, at, limits.token_bytes)
    if end < len(text) and not text.startswith(b"|", end):
        raise Malformed("neither | nor the end behind a record", at)
    return end


def _token_end(text: bytes, at: int) -> int:
    """The next `|`, or the end of the text."""
    end = text.find(b"|", at)
    return len(text) if end < 0 else end


def _end(pattern: re.Pattern[bytes], text: bytes, at: int, most: int) -> int:
    """Where a pattern that always matches ends, within so many bytes."""
    found = pattern.match(text, at, at + most)
    return found.end() if found else at


def _check_size(size: int, at: int, limits: Limits) -> None:
    if size > limits.token_bytes:
        raise Malformed(f"a token of over {limits.token_bytes} bytes", at)


def _too_many(limits: Limits) -> OverLimit:
    return OverLimit(f"over {_TOKENS_PER_RECORD * limits.records} tokens (maxRecords)")
