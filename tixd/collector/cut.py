"""Where elements end in a text that holds several; pure.

In: the text of a bundle. Out: Found elements. Rules: only what decides is looked at: tags of the
same name, and what may hold the text of such a tag; whether a cut was right shows when the piece is
parsed, since an element that is cut short or too long is no XML. What an envelope holds beside its
records is parsed as well, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tixd.collector.elements import MAX_TAGS, START_TAG, Found, declared, parse, root_at
from tixd.collector.limits import Limits
from tixd.errors import BadRequest, Malformed, OverLimit

#: Longest record in an envelope, bytes; in an `update` the longest token is. Real ones have 3 kB.
MAX_RECORD_BYTES = 4 << 20

#: Longest name of a record, bytes.
_MAX_NAME_BYTES = 100

#: What may hold the text of a tag, and an end that is missing.
_NO_TAG = rb"<!--(?:.*?-->|(?P<a>))|<!\[CDATA\[(?:.*?\]\]>|(?P<b>))|<\?(?:.*?\?>|(?P<c>))"

#: A tag of the name that is put in for %b; also without an end.
_TAG = rb"|<(?P<slash>/?)%b(?=[\s/>])(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+(?:>|(?P<d>))"

#: The groups that tell of a missing end.
_NO_END = frozenset("abcd")

_OTHER = re.compile(_NO_TAG, re.DOTALL)

_XML_DECLARATION = re.compile(rb"<\?xml\s")


def element_end(text: bytes, start: int) -> int:
    """Where the element ends that begins at `start`; raises Malformed where it does not.

    >>> element_end(b"<R>1<R/><!-- </R> --></R >|<R/>", 0)
    26
    """
    tag = START_TAG.match(text, start, start + MAX_RECORD_BYTES)
    if not tag or len(tag[1]) > _MAX_NAME_BYTES:
        raise Malformed(f"no element at byte {start}")
    depth = 0
    for found in re.compile(_NO_TAG + _TAG % re.escape(tag[1]), re.DOTALL).finditer(text, start):
        if found.lastgroup == "slash":
            depth += -1 if found["slash"] else not found[0].endswith(b"/>")
            if not depth:
                return found.end()
        if found.lastgroup in _NO_END or found.end() - start > MAX_RECORD_BYTES:
            break
    raise Malformed(f"an element that does not end within {MAX_RECORD_BYTES} bytes at byte {start}")


def envelope(text: bytes, name: str, limits: Limits) -> Iterator[Found]:
    """The children of the root element, which must have this local name; raises BadRequest.

    An XML declaration before a child is let pass.
    """
    start = root_at(text)
    root = START_TAG.match(text, start)
    if not root or root[1].rpartition(b":")[2] != name.encode():
        raise BadRequest(f"the root element is not {name}")
    outer, at = declared(root[0]), root.end()
    kept = [text[start:at]]
    for begin, end in _children(text, at, limits) if not root[0].endswith(b"/>") else ():
        kept.append(text[at:begin])
        at = end
        if not _XML_DECLARATION.match(text, begin):
            yield parse(text[begin:end], limits, outer, begin)
    kept.append(text[at:])
    parse(b"".join(kept), limits, {}, start)


def _children(text: bytes, at: int, limits: Limits) -> Iterator[tuple[int, int]]:
    """Begin and end of each child of the envelope, and of each XML declaration among them."""
    records = others = 0
    while (at := text.find(b"<", at)) >= 0 and not text.startswith(b"</", at):
        if other := _OTHER.match(text, at):
            others += 1
            end = other.end()
        else:
            records += 1
            end = element_end(text, at)
        if records > limits.records or others > MAX_TAGS:
            raise OverLimit(f"over {limits.records} records")
        if not other or _XML_DECLARATION.match(text, at):
            yield at, end
        at = end
