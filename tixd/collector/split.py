"""Split the text of a bundle into its records.

Rules:
- an `update` has tokens between `|`; the record is the first of the three tokens that follow a
  `replication`. A `|` in a double-quoted string does not cut, and a backslash there escapes the
  next character. An odd quote in ordinary text breaks that rule: then (`by_structure`) a record,
  and the raw and extra XML behind it, end with their root elements;
- a `multiupdate` is an envelope, whose children are the records; what it holds beside them is
  parsed as well, at the end;
- to find where an element ends, only tags of its name are looked at, and what may hold the text of
  such a tag; whether a cut was right shows when the piece is parsed, since an element that is cut
  short or too long is no XML. Pure.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tixd.collector.record_parser import (
    CDATA,
    COMMENT,
    INSTRUCTION,
    NO_ELEMENT,
    START_TAG,
    Limits,
    ParsedElement,
    check_size,
    declarations,
    find_root,
    parse_element,
)
from tixd.errors import BadRequest, MalformedBundle, OverLimit

#: Longest declarations of an envelope, in longest namespaces: each record gets them.
_DECLARATIONS = 4

#: Comments, character data and instructions; open ones too, up to the end of the text.
_NO_TAG = rb"<!--(?:%b|(?P<a>))|<!\[CDATA\[(?:%b|(?P<b>))|<\?(?:%b|(?P<c>))" % (
    COMMENT,
    CDATA,
    INSTRUCTION,
)

#: An element in which no other one has its name; what it holds is not looked at. %d: most pieces.
_SIMPLE = (
    rb"<([^\s/>!?]++)(?:[^\"'>/]++|\"[^\"]*+\"|'[^']*+'|/(?!>))*+(?:/>|>(?:[^<]++|<!--%b"
    rb"|<!\[CDATA\[%b|<\?%b|<(?!!|\?|/?\1[\s/>])){0,%d}+</\1\s*+>)"
)

_ANY_TAG = rb"<(?P<slash>/?)(?P<name>[^\s/>!?]++)(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+(?:>|(?P<d>))"

_OTHER = re.compile(_NO_TAG)
_ANY = re.compile(_NO_TAG + b"|" + _ANY_TAG)

_XML_DECLARATION = re.compile(rb"<\?xml\s")


def element_end(text: bytes, start: int, limits: Limits) -> int:
    """Return where the element ends that begins at `start`; raises BadRequest where it does not.

    >>> element_end(b"<R>1<R/><!-- </R> --></R >|<R/>", 0, Limits())
    26
    """
    limit = start + limits.record_bytes
    if simple := _simple(limits.tags).match(text, start, limit):
        return simple.end()
    first = START_TAG.match(text, start, limit)
    if first and (end := _nested_end(text, start, first[1], limits)):
        return end
    if first and len(text) > limit:
        raise OverLimit(f"a record of over {limits.record_bytes} bytes (maxRecordSize)", start)
    find_root(text, start)  # which knows a DOCTYPE
    raise MalformedBundle("no XML element, or one that does not end,", start)


@functools.cache
def _simple(tags: int) -> re.Pattern[bytes]:
    # Between tags there may be text.
    return re.compile(_SIMPLE % (COMMENT, CDATA, INSTRUCTION, 2 * tags))


def _nested_end(text: bytes, start: int, name: bytes, limits: Limits) -> int:
    """Return where an element ends in which others have its name; 0 where it does not."""
    depth, tags = 0, _ANY.finditer(text, start, start + limits.record_bytes)
    for count, found in enumerate(tags):
        if count > limits.tags:
            raise OverLimit(f"a record of over {limits.tags} tags (maxTags)", start)
        if found.lastgroup == "name" and found["name"] == name:
            depth += -1 if found["slash"] else not found[0].endswith(b"/>")
            if not depth:
                return found.end()
        elif found.lastgroup not in (None, "name"):
            break
    return 0


def envelope(text: bytes, name: str, limits: Limits) -> Iterator[ParsedElement | int]:
    """Yield the children of the root element, which must have this local name; raises BadRequest.

    Yields the length of each comment and instruction, too. An XML declaration before a child is
    ignored.
    """
    with _naming_envelope(name):
        start = find_root(text)
        root = START_TAG.match(text, start)
        if not root or root[1].rpartition(b":")[2] != name.encode():
            raise BadRequest(f"the root element is not {name}")
        outer, at = _envelope_declarations(root[0], limits), root.end()
    rest = _EnvelopeRest(name, text, limits)
    rest.add(start, at)
    for begin, end, is_markup in _children(text, at, limits, root[0]):
        rest.add(at, end if is_markup else begin)
        at = end
        if is_markup:
            yield end - begin
        elif not _XML_DECLARATION.match(text, begin):
            yield parse_element(text[begin:end], limits, outer, begin)
    rest.add(at, max(at, text.rfind(b">") + 1))
    with _naming_envelope(name):
        parse_element(b"".join(rest.pieces), limits, {}, start)


class _EnvelopeRest:
    """What an envelope holds beside its records."""

    def __init__(self, name: str, text: bytes, limits: Limits) -> None:
        self._name = name
        self._text = text
        self._max_bytes = limits.record_bytes
        self._bytes_left = limits.record_bytes
        self.pieces: list[bytes] = []

    def add(self, start: int, end: int) -> None:
        """Add this part of the text; raises OverLimit before it is copied."""
        self._bytes_left -= end - start
        if self._bytes_left < 0:
            raise OverLimit(f"{self._name}: over {self._max_bytes} bytes beside the records")
        self.pieces.append(self._text[start:end])


@contextmanager
def _naming_envelope(name: str) -> Iterator[None]:
    """Let an error name the envelope, because it is about no record."""
    try:
        yield
    except BadRequest as error:
        raise type(error)(f"{name}: {error.detail}") from error


def _envelope_declarations(tag: bytes, limits: Limits) -> dict[bytes, bytes]:
    """Return the namespaces that an envelope declares; raises OverLimit."""
    check_size(tag, limits)
    outer = declarations(tag)
    limit = _DECLARATIONS * limits.namespace_bytes
    if sum(len(name) + len(uri) for name, uri in outer.items()) > limit:
        raise OverLimit(f"over {limit} bytes of namespaces (maxNamespace)")
    return outer


def _children(text: bytes, at: int, limits: Limits, root: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield begin and end of each child, comment and instruction of the envelope.

    With each goes whether it is no child, but no XML declaration either. `root`: the envelope's
    start tag.
    """
    records = others = 0
    if root.endswith(b"/>"):
        return
    while (at := text.find(b"<", at)) >= 0 and not text.startswith(b"</", at):
        if other := _OTHER.match(text, at, at + limits.record_bytes):
            others += 1
            end = other.end()
            if other.lastgroup:
                raise MalformedBundle(f"a comment or the like that does not end at byte {at}")
        else:
            records += 1
            end = element_end(text, at, limits)
        if records > limits.records or others > limits.tags:
            raise OverLimit(f"over {limits.records} records (maxRecords)")
        yield at, end, bool(other) and not _XML_DECLARATION.match(text, at)
        at = end


#: Tokens that follow `replication`: the record, its raw XML, extra XML.
_FOLLOWING = 3

#: Most tokens for each record that is allowed; four are needed.
_TOKENS_PER_RECORD = 10

_KEYWORD = b"replication"

#: A token by the quote rule; an open quote ends it early.
_QUOTED_TOKEN = re.compile(rb'[^|"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^|"]*+)*+', re.DOTALL)

_BLANKS = re.compile(rb"\s*+")


def by_quotes(text: bytes, limits: Limits) -> Iterator[ParsedElement | int]:
    """Yield the records, cut out by the quote rule.

    Raises MalformedBundle where the rule does not fit the text, BadRequest for a DOCTYPE,
    OverLimit.
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
        raise MalformedBundle("a replication that too few tokens follow")


def _record(text: bytes, at: int, end: int, limits: Limits) -> ParsedElement:
    """Return the record in a token, without what stands before and behind it."""
    start = find_root(text, at)
    return parse_element(text[start : text.rfind(b">", start, end) + 1], limits, {}, start)


def by_structure(text: bytes, limits: Limits) -> Iterator[ParsedElement | int]:
    """Yield the records, each cut where its root element ends; raises as by_quotes does."""
    at = 0
    for _ in range(_TOKENS_PER_RECORD * limits.records):
        end = _token_end(text, at)
        if text[at:end].strip() == _KEYWORD:
            start = find_root(text, end + 1)
            record_end = element_end(text, start, limits)
            _check_size(record_end - start, start, limits)
            end = _cut_behind(text, record_end, limits)
            yield end - at
            for _ in range(_FOLLOWING - 1):
                before, end = end, _end_of_xml(text, end, start, limits)
                yield end - before
            yield parse_element(text[start:record_end], limits, {}, start)
        else:
            yield end - at
        if end == len(text):
            return
        at = end + 1
    raise _too_many(limits)


def _quoted_tokens(text: bytes, limits: Limits) -> Iterator[tuple[int, int]]:
    """Yield where each token begins and ends by the quote rule."""
    at = 0
    for _ in range(_TOKENS_PER_RECORD * limits.records):
        end = _quoted_end(text, at, limits.token_bytes)
        _check_size(end - at, at, limits)
        if end < len(text) and not text.startswith(b"|", end):
            raise MalformedBundle("a quote that stays open", end)
        yield at, end
        if end == len(text):
            return
        at = end + 1
    raise _too_many(limits)


def _quoted_end(text: bytes, at: int, limit: int) -> int:
    """Return where a token ends by the quote rule; quickly where it has no escapes."""
    end = text.find(b"|", at, at + limit)
    if end >= 0 and not text.count(b'"', at, end) % 2 and text.find(b"\\", at, end) < 0:
        return end
    return _end(_QUOTED_TOKEN, text, at, limit + 1)


def _end_of_xml(text: bytes, cut: int, record: int, limits: Limits) -> int:
    """Return where the token behind a `|` ends: behind the XML that it begins with, if any."""
    if cut == len(text):
        raise MalformedBundle(f"too few of {_FOLLOWING} tokens of the record", record)
    start = _end(_BLANKS, text, cut + 1, limits.token_bytes)
    if text.startswith(b"<", start):
        return _cut_behind(text, element_end(text, find_root(text, start), limits), limits)
    return _token_end(text, start)


def _cut_behind(text: bytes, at: int, limits: Limits) -> int:
    """Return the next `|`, or the end of the text, with no other element before it."""
    end = _end(NO_ELEMENT, text, at, limits.token_bytes)
    if end < len(text) and not text.startswith(b"|", end):
        raise MalformedBundle("neither | nor the end behind a record", at)
    return end


def _token_end(text: bytes, at: int) -> int:
    """Return the next `|`, or the end of the text."""
    end = text.find(b"|", at)
    return len(text) if end < 0 else end


def _end(pattern: re.Pattern[bytes], text: bytes, at: int, limit: int) -> int:
    """Return where a pattern that always matches ends, within `most` bytes."""
    found = pattern.match(text, at, at + limit)
    return found.end() if found else at


def _check_size(size: int, at: int, limits: Limits) -> None:
    if size > limits.token_bytes:
        raise MalformedBundle(f"a token of over {limits.token_bytes} bytes", at)


def _too_many(limits: Limits) -> OverLimit:
    return OverLimit(f"over {_TOKENS_PER_RECORD * limits.records} tokens (maxRecords)")
