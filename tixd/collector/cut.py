"""Where elements end in a text that holds several; pure.

In: the text of a bundle. Out: Found elements. Rules: only what decides is looked at: tags of the
same name, and what may hold the text of such a tag; whether a cut was right shows when the piece is
parsed, since an element that is cut short or too long is no XML. What an envelope holds beside its
records is parsed as well, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tixd.collector.elements import MAX_TAGS, START_TAG, Found, check_size, declared, parse, root_at
from tixd.collector.limits import Limits
from tixd.errors import BadRequest, Malformed, OverLimit

#: Longest record in an envelope, bytes; in an `update` the longest token is. Real ones have 3 kB.
MAX_RECORD_BYTES = 4 << 20

#: Longest declarations of namespaces in an envelope, bytes: each record gets them.
MAX_DECLARATION_BYTES = 2048

#: Comments, character data and instructions; open ones too, up to the end of the text.
_NO_TAG = rb"<!--(?:.*?-->|(?P<a>))|<!\[CDATA\[(?:.*?\]\]>|(?P<b>))|<\?(?:.*?\?>|(?P<c>))"

#: An element in which no other one has its name; what it holds is not looked at.
_SIMPLE = re.compile(
    rb"<([^\s/>!?]++)(?:[^\"'>/]++|\"[^\"]*+\"|'[^']*+'|/(?!>))*+(?:/>|>(?:[^<]++|<!--.*?-->"
    rb"|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?!!|\?|/?\1[\s/>]))*+</\1\s*+>)",
    re.DOTALL,
)

_TAG = rb"<(?P<slash>/?)(?P<name>[^\s/>!?]++)(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+(?:>|(?P<d>))"

_OTHER = re.compile(_NO_TAG, re.DOTALL)
_ANY = re.compile(_NO_TAG + b"|" + _TAG, re.DOTALL)

_XML_DECLARATION = re.compile(rb"<\?xml\s")


def element_end(text: bytes, start: int) -> int:
    """Where the element ends that begins at `start`; raises Malformed where it does not, OverLimit.

    >>> element_end(b"<R>1<R/><!-- </R> --></R >|<R/>", 0)
    26
    """
    most = start + MAX_RECORD_BYTES
    if simple := _SIMPLE.match(text, start, most):
        return simple.end()
    first, depth = START_TAG.match(text, start, most), 0
    name = first[1] if first else b""
    for count, found in enumerate(_ANY.finditer(text, start, most) if first else ()):
        if count > MAX_TAGS:
            raise OverLimit(f"a record of over {MAX_TAGS} tags")
        if found.lastgroup == "name" and found["name"] == name:
            depth += -1 if found["slash"] else not found[0].endswith(b"/>")
            if not depth:
                return found.end()
        elif found.lastgroup not in (None, "name"):
            break
    if first and len(text) > most:
        raise OverLimit(f"a record of over {MAX_RECORD_BYTES} bytes")
    raise Malformed(f"no element, or one without end, at byte {start}")


def envelope(text: bytes, name: str, limits: Limits) -> Iterator[Found]:
    """The children of the root element, which must have this local name; raises BadRequest.

    An XML declaration before a child is let pass.
    """
    start = root_at(text)
    root = START_TAG.match(text, start)
    if not root or root[1].rpartition(b":")[2] != name.encode():
        raise BadRequest(f"the root element is not {name}")
    check_size(root[0], limits)
    outer, at = declared(root[0]), root.end()
    if sum(len(name) + len(uri) for name, uri in outer.items()) > MAX_DECLARATION_BYTES:
        raise OverLimit(f"over {MAX_DECLARATION_BYTES} bytes of namespaces")
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
            if other.lastgroup:
                raise Malformed(f"a comment or the like that does not end at byte {at}")
        else:
            records += 1
            end = element_end(text, at)
        if records > limits.records or others > MAX_TAGS:
            raise OverLimit(f"over {limits.records} records")
        if not other or _XML_DECLARATION.match(text, at):
            yield at, end
        at = end
