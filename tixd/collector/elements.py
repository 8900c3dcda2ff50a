"""A record's XML to its elements, with every namespace in it declared; pure.

In: the source of one element. Out: Found: the tree, and the source as it is published. Rules: no
DOCTYPE ever, so there are no entities but the five of XML; the source keeps every byte it has, and
gets the declarations that it lacks: those of the envelope around it, and `urn:undeclared:PREFIX`
for a prefix that nobody declares. The standard library reads: expat builds the trees in C, and
forgets every name afterwards (lxml keeps them until the process ends).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, XMLParser
from xml.parsers import expat

from tixd.collector.limits import Limits
from tixd.errors import BadRequest, Malformed, OverLimit

#: Most tags and comments of one record, so that its tree stays small; a real record has about 100.
MAX_TAGS = 20_000

#: How many names are remembered with their local names; real bundles have about 100. What a hostile
#: sender makes up is worked out anew each time.
_REMEMBERED_NAMES = 2000

#: Longest name that is remembered, characters.
_REMEMBERED_CHARACTERS = 100

_UNBOUND_PREFIX = expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]

#: Prefixes that XML itself declares; "" is that of a name without one.
_BUILT_IN = frozenset(("", "xml", "xmlns"))

#: What may stand before the root element: blanks, an XML declaration, instructions, comments.
_PROLOG = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)

#: The beginning of a start tag, up to the end of the name.
_TAG_NAME = re.compile(rb"<[^\s/>]++")

#: A start tag, or an empty one.
START_TAG = re.compile(rb"<([^\s/>!?]++)(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+>")

#: A tag of more attributes than are put in for %d.
_WIDE_TAG = rb"<(?![!?])[^<>\"']*+(?:(?:\"[^\"]*+\"|'[^']*+')[^<>\"']*+){%d}[\"']"

_ATTRIBUTE = re.compile(rb"\s([^\s=]++)\s*+=\s*+(\"[^\"]*+\"|'[^']*+')")


class Found(NamedTuple):
    """An element: its local name, its tree, its source as it is published."""

    name: str
    tree: Element
    source: bytes


class _LocalNames(dict[str, str]):
    """Local names by `{namespace}name`; fills itself."""

    def __missing__(self, name: str) -> str:
        local = name.rpartition("}")[2]
        if len(self) < _REMEMBERED_NAMES and len(name) < _REMEMBERED_CHARACTERS:
            self[name] = local
        return local


#: Local names of elements and attributes, by the names that the trees have.
LOCAL = _LocalNames()


def text(element: Element) -> str:
    """The direct character data of an element, before, between and behind those in it."""
    found = element.text or ""
    return found + "".join(child.tail or "" for child in element) if len(element) else found


def attributes(element: Element) -> dict[str, str]:
    """The attributes of an element by local name, empty ones left out."""
    return {LOCAL[name]: value for name, value in element.items() if value}


def root_at(source: bytes, start: int = 0) -> int:
    """Where the root element begins of XML that begins at `start`; raises BadRequest for a DOCTYPE.

    >>> root_at(b" <?xml version='1.0'?><!-- > --> <R/>")
    33
    """
    found = _PROLOG.match(source, start)
    at = found.end() if found else start
    if source.startswith(b"<!DOCTYPE", at):
        raise BadRequest("a DOCTYPE is not accepted")
    return at


def declared(tag: bytes) -> dict[bytes, bytes]:
    """What a start tag declares: names and values as they stand.

    >>> declared(b"<R a=' xmlns=0' xmlns='urn:a' xmlns:b = 'urn:b'>")
    {b'xmlns': b"'urn:a'", b'xmlns:b': b"'urn:b'"}
    """
    pairs = _ATTRIBUTE.findall(tag)
    return {name: uri for name, uri in pairs if name.partition(b":")[0] == b"xmlns"}


def parse(source: bytes, limits: Limits, outer: Mapping[bytes, bytes], at: int = 0) -> Found:
    """The one element that the source is.

    outer: what the envelope declares; at: where in the bundle the source begins, for messages.
    Raises Malformed where it is no XML, OverLimit.
    """
    check_size(source, limits)
    if outer and (tag := START_TAG.match(source)):
        own = declared(tag[0])
        source = _with(source, {name: uri for name, uri in outer.items() if name not in own})
    try:
        source, tree = _completed(source)
    except (ParseError, expat.ExpatError) as error:
        raise Malformed(f"no XML in what begins at byte {at}: {error}") from error
    if source.count(b"</") >= limits.depth:
        _check_depth(tree, limits)
    return Found(LOCAL[tree.tag], tree, source)


def _completed(source: bytes) -> tuple[bytes, Element]:
    """The source with its undeclared prefixes declared, and its tree."""
    try:
        return source, _tree(source)
    except ParseError as error:
        if error.code != _UNBOUND_PREFIX:
            raise
    missing = _undeclared(source)
    source = _with(source, {b"xmlns:" + p: b'"urn:undeclared:%b"' % p for p in missing})
    return source, _tree(source)


def _tree(source: bytes) -> Element:
    parser = XMLParser(encoding="utf-8")  # noqa: S314 - there is no DOCTYPE
    parser.feed(source)
    tree: Element = parser.close()
    return tree


def _with(source: bytes, declarations: Mapping[bytes, bytes]) -> bytes:
    """The source with declarations behind the name in its start tag."""
    name = _TAG_NAME.match(source)
    if not name or not declarations:
        return source
    added = b"".join(b" %b=%b" % pair for pair in declarations.items())
    return name[0] + added + source[name.end() :]


def _undeclared(source: bytes) -> list[bytes]:
    """The prefixes that are used where nobody has declared them."""
    missing: dict[str, None] = {}
    scopes = [_BUILT_IN]

    def begin(name: str, given: dict[str, str]) -> None:
        scopes.append(scopes[-1].union(n[6:] for n in given if n.startswith("xmlns:")))
        prefixes = (n.partition(":")[0] for n in (name, *given) if ":" in n)
        missing.update((prefix, None) for prefix in prefixes if prefix not in scopes[-1])

    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: scopes.pop()
    parser.Parse(source, True)  # noqa: FBT003 - expat takes it by position only
    return [prefix.encode() for prefix in missing]


def check_size(source: bytes, limits: Limits) -> None:
    """Look for what would make a tree many times as large as its source; raises OverLimit."""
    if source.count(b"<") > MAX_TAGS:
        raise OverLimit(f"a record of over {MAX_TAGS} tags")
    most = limits.attributes
    if source.count(b"=") > most and re.search(_WIDE_TAG % most, source):
        raise OverLimit(f"an element of over {most} attributes")


def _check_depth(tree: Element, limits: Limits) -> None:
    depth, row = 0, [tree]
    while row:
        depth, row = depth + 1, [child for element in row for child in element]
    if depth > limits.depth:
        raise OverLimit(f"elements over {limits.depth} deep")
