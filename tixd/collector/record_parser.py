"""Parse a record's XML within limits, with every namespace in it declared.

Rules:
- no DOCTYPE, so no entities but the five of XML: the parser is handed what begins with a start tag,
  behind which XML has no place for one, and raises at one wherever it meets it;
- the tree is not many times as large as its source: what could make it so (tags, attributes, long
  namespaces) is bounded before it is made, by patterns that match whenever the parser would;
- the source keeps every byte it has, and gets the declarations that it lacks: those of the envelope
  around it, and `urn:undeclared:PREFIX` for an undeclared prefix.
The parser is expat, which builds the trees in C and forgets every name afterwards (lxml keeps them
until the process ends). Pure.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser
from xml.parsers import expat

from tixd.errors import BadRequest, MalformedBundle, OverLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one bundle.

    token_bytes: longest token of an `update` (MaxBufferSize); records: most records of a bundle,
    unknown ones too; depth: of elements in each other, the envelope counts one; attributes: of one
    element; tags: of one record, and its attributes as well; record_bytes: longest record of a
    `multiupdate`; namespace_bytes: longest namespace; unknown_refused: an unknown record in an
    envelope fails the bundle.
    """

    token_bytes: int = 512 * 1024
    records: int = 10_000
    depth: int = 64
    attributes: int = 256
    tags: int = 20_000
    record_bytes: int = 4 * 1024 * 1024
    namespace_bytes: int = 256
    unknown_refused: bool = False


#: How many names are remembered with their local names; real bundles have about 100. Those that a
#: hostile sender makes up are computed each time.
_REMEMBERED_NAMES = 2000

#: Longest local name, characters: keys are made of it, up to seven of one.
_MAX_NAME_CHARACTERS = 1000

#: Longest name that is remembered, characters.
_REMEMBERED_CHARACTERS = 100

_UNBOUND_PREFIX = expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]

#: Prefixes that XML itself declares.
_BUILT_IN = frozenset(("xml", "xmlns"))

#: The rest of a comment, of character data, of an instruction, after their first characters.
COMMENT = rb"[^-]*+(?:-(?!->)[^-]*+)*+-->"
CDATA = rb"[^\]]*+(?:\](?!\]>)[^\]]*+)*+\]\]>"
INSTRUCTION = rb"[^?]*+(?:\?(?!>)[^?]*+)*+\?>"

#: What may stand before the root element, where the original looks for the first start tag, and
#: behind it.
NO_ELEMENT = re.compile(rb"(?:[^<|]++|<\?%b|<!--%b)*+" % (INSTRUCTION, COMMENT))

#: How far a start tag is looked for, bytes.
_MAX_PROLOG_BYTES = 1 << 20

#: The beginning of a start tag.
_TAG = re.compile(rb"<[^\s/>!?]")

#: The same up to the end of the name.
_TAG_NAME = re.compile(rb"<[^\s/>!?]++")

#: A start tag, or an empty one.
START_TAG = re.compile(rb"<([^\s/>!?]++)(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+>")

#: A tag of more attributes than are put in for %d.
_WIDE_TAG = rb"<(?![!?])[^<>\"']*+(?:(?:\"[^\"]*+\"|'[^']*+')[^<>\"']*+){%d}[\"']"

#: Where the value of an attribute may begin.
_VALUE = re.compile(rb"=\s*+[\"']")

_ATTRIBUTE = re.compile(rb"\s([^\s=]++)\s*+=\s*+(\"[^\"]*+\"|'[^']*+')")

#: What identifies a record, and where its text ends at the latest.
_IDENTITY = re.compile(rb"[\s:]recordId\s*+=\s*+[\"']([^\"'<>]++)|UniqueID[^<>]*+>([^<>]++)<")
_RECORD_END = re.compile(rb"\|replication\||</[^<>]*Record\s*+>")

#: How far the identity of a record is looked for, bytes.
_IDENTITY_BYTES = 4096

#: How much of it is shown, characters.
_SHOWN_CHARACTERS = 100


class ParsedElement(NamedTuple):
    """An element: its local name, its tree, its source as it is published."""

    name: str
    tree: Element
    source: bytes


class _LocalNames(dict[str, str]):
    """Local names by the names of a tree, NAMESPACE}NAME; fills itself, raises OverLimit."""

    def __missing__(self, name: str) -> str:
        local = name.rpartition("}")[2]
        if len(local) > _MAX_NAME_CHARACTERS:
            raise OverLimit(f"a name of over {_MAX_NAME_CHARACTERS} characters")
        if len(self) < _REMEMBERED_NAMES and len(name) < _REMEMBERED_CHARACTERS:
            self[name] = local
        return local


#: Local names of elements and attributes, by the names that the trees have.
LOCAL_NAMES = _LocalNames()


def direct_text(element: Element) -> str:
    """Return the character data of an element, without that of its children."""
    found = element.text or ""
    return found + "".join(child.tail or "" for child in element) if len(element) else found


def attributes(element: Element) -> dict[str, str]:
    """Return the attributes of an element by local name, empty ones left out."""
    found = {}
    for name, value in element.items():  # of one attribute faster than a comprehension
        if value:
            found[LOCAL_NAMES[name]] = value
    return found


def find_root(source: bytes, start: int = 0) -> int:
    """Return where the first start tag begins, behind what may stand before it.

    Raises BadRequest for a DOCTYPE, MalformedBundle for anything else.

    >>> find_root(b" <?xml version='1.0'?><!-- > --> <R/>")
    33
    """
    found = NO_ELEMENT.match(source, start, start + _MAX_PROLOG_BYTES)
    at = found.end() if found else start
    if source.startswith(b"<!DOCTYPE", at):
        raise _doctype(at)
    if not _TAG.match(source, at):
        raise MalformedBundle("no element", start)
    return at


def describe_record(text: bytes, start: int, number: int) -> str:
    """Name the record that begins there in messages: its number, and its id where it has one.

    >>> describe_record(b'<UsageRecord><RecordIdentity a:recordId="host:1"/></Usage', 0, 3)
    'record 3 ("host:1")'
    """
    end = _RECORD_END.search(text, start, start + _IDENTITY_BYTES)
    found = _IDENTITY.search(text, start, end.start() if end else start + _IDENTITY_BYTES)
    if not found:
        return f"record {number}"
    identity = (found[1] or found[2])[:_SHOWN_CHARACTERS].decode(errors="replace")
    return f"record {number} ({json.dumps(identity)})"


def declarations(tag: bytes) -> dict[bytes, bytes]:
    """Return the namespaces that a start tag declares: names and values as they stand.

    >>> declarations(b"<R a=' xmlns=0' xmlns='urn:a' xmlns:b = 'urn:b'>")
    {b'xmlns': b"'urn:a'", b'xmlns:b': b"'urn:b'"}
    """
    pairs = _ATTRIBUTE.findall(tag)
    return {name: uri for name, uri in pairs if name.partition(b":")[0] == b"xmlns"}


def new_parser(separator: str | None = None) -> expat.XMLParserType:
    """Make a parser of UTF-8, whatever the text declares, that raises BadRequest at a DOCTYPE.

    separator: what stands between namespace and name; None: it ignores namespaces.
    """
    made = expat.ParserCreate("UTF-8", separator)
    made.buffer_text = True
    made.StartDoctypeDeclHandler = _refuse_doctype
    return made


def parse_element(
    source: bytes, limits: Limits, outer: Mapping[bytes, bytes], at: int = 0
) -> ParsedElement:
    """Parse the one element that the source is.

    outer: what the envelope declares; at: where in the bundle the source begins, for messages.
    Raises MalformedBundle where it is not XML, OverLimit.
    """
    check_size(source, limits, at)
    if outer and (tag := START_TAG.match(source)):
        own = declarations(tag[0])
        source = _with_declarations(
            source, {name: uri for name, uri in outer.items() if name not in own}
        )
    if not _TAG.match(source):
        raise MalformedBundle("no element", at)
    try:
        source, tree = _parse_completed(source, limits, at)
    except (ParseError, expat.ExpatError) as error:
        raise MalformedBundle(f"no XML ({error}) in what begins", at) from error
    if source.count(b"<") > 2 * limits.depth:  # the innermost element may need one alone
        _check_depth(tree, limits, at)
    return ParsedElement(tree.tag.rpartition("}")[2], tree, source)


def check_size(source: bytes, limits: Limits, at: int = 0) -> None:
    """Raise OverLimit for what would make a tree many times as large as its source."""
    values = source.count(b"=")
    if len(source) > limits.tags and (
        source.count(b"<") > limits.tags
        or (values > limits.tags and _has_more(limits.tags, _VALUE.finditer(source)))
    ):
        raise OverLimit(f"a record of over {limits.tags} tags or attributes (maxTags)", at)
    limit = limits.attributes
    if values > limit and re.search(_WIDE_TAG % limit, source):
        raise OverLimit(f"an element of over {limit} attributes (maxAttributes)", at)
    if _long_namespace(limits.namespace_bytes).search(source):
        raise OverLimit(f"a namespace of over {limits.namespace_bytes} bytes (maxNamespace)", at)


@functools.cache
def _long_namespace(limit: int) -> re.Pattern[bytes]:
    # Each name in a namespace becomes as long as it.
    return re.compile(
        b"xmlns(?<=\\sxmlns)[^\\s=<>\"']*+\\s*+=\\s*+(?:\"[^\"]{%d}[^\"]|'[^']{%d}[^'])"
        % (limit, limit)
    )


def _parse_completed(source: bytes, limits: Limits, at: int) -> tuple[bytes, Element]:
    """Return the source with its undeclared prefixes declared, and its tree.

    Raises ParseError, ExpatError.
    """
    try:
        return source, _tree(source)
    except (ParseError, expat.ExpatError) as error:
        if error.code != _UNBOUND_PREFIX:
            raise
    missing = _undeclared_prefixes(source, limits.attributes, at)
    source = _with_declarations(
        source, {b"xmlns:" + p: b'"urn:undeclared:%b"' % p for p in missing}
    )
    return source, _tree(source)


def _tree(source: bytes) -> Element:
    """Return the tree of a source; raises ExpatError, or ParseError, which says the same.

    Where no DOCTYPE can be in it, expat's handlers are in C too, which takes 27 us of 30.
    """
    if b"<!DOCTYPE" not in source:
        quick = XMLParser(encoding="UTF-8")  # noqa: S314 - no DOCTYPE, so no entities
        quick.feed(source)
        return quick.close()
    builder, parser = TreeBuilder(), new_parser("}")
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(source, True)  # noqa: FBT003 - expat takes it by position only
    tree: Element = builder.close()
    return tree


def _with_declarations(source: bytes, declarations: Mapping[bytes, bytes]) -> bytes:
    """Return the source with declarations behind the name in its start tag."""
    name = _TAG_NAME.match(source)
    if not name or not declarations:
        return source
    added = b"".join(b" %b=%b" % pair for pair in declarations.items())
    return name[0] + added + source[name.end() :]


def _undeclared_prefixes(source: bytes, limit: int, at: int) -> list[bytes]:
    """Return the prefixes that are used where none declares them; raises OverLimit."""
    missing: dict[str, None] = {}
    scope = Counter(_BUILT_IN)
    opened: list[list[str]] = []

    def begin(name: str, attrs: dict[str, str]) -> None:
        own = [key[6:] for key in attrs if key.startswith("xmlns:")]
        opened.append(own)
        if own:
            scope.update(own)
        for key in (name, *attrs):
            prefix, colon, _ = key.partition(":")
            if colon and not scope[prefix]:
                missing[prefix] = None
        if len(missing) > limit:
            raise OverLimit(f"over {limit} undeclared prefixes", at)

    def end(_: str) -> None:
        if own := opened.pop():
            scope.subtract(own)

    parser = new_parser()
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.Parse(source, True)  # noqa: FBT003 - expat takes it by position only
    return [prefix.encode() for prefix in missing]


# --- limits --------------------------------------------------------------------------------------


def _has_more(limit: int, found: Iterable[object]) -> bool:
    return any(number > limit for number, _ in enumerate(found, 1))


def _check_depth(tree: Element, limits: Limits, at: int) -> None:
    depth, row = 0, [tree]
    while row:
        depth, row = depth + 1, [child for element in row for child in element]
    if depth > limits.depth:
        raise OverLimit(f"elements over {limits.depth} deep (maxDepth)", at)


# --- a DOCTYPE -----------------------------------------------------------------------------------


def _refuse_doctype(*_: object) -> None:
    raise _doctype()


def _doctype(at: int | None = None) -> BadRequest:
    return BadRequest("a DOCTYPE is not accepted", at)
