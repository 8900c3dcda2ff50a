"""One usage record: its source and the flat map that is published.

In: a record's elements. Out: a Record, or BadRecord. Rules: collector.md §3; the map is
kept as JSON bytes, a tenth of the memory of a dict, and without the source, which is its RawXML.

A record as the bytes of a message: JSON, its source, or its source in canonical form.

In: a Record. Out: bytes and their content type. Rules: collector.md §4; raw and xml stand alone.
Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import get_args
from xml.etree.ElementTree import Element

import orjson

from tixd.collector.c14n import canonical
from tixd.collector.conversions import Value
from tixd.collector.mapping import KINDS, OTHER, Flat, Kind
from tixd.collector.record_parser import LOCAL, Found
from tixd.config.collector_settings import Format

#: Bytes of the digest that is a message's id: enough that no two records ever share one.
_DIGEST_BYTES = 16

#: What the objects of a record and of its message take beside their texts, bytes.
_OBJECTS_BYTES = 600


@dataclass(frozen=True, slots=True)
class Record:
    """A usage record, ready to be published.

    kind: JobUsageRecord, StorageElement or StorageElementRecord; identity: its RecordId or
    UniqueID, "" where it has none; source: its XML from `<` to `>`, which stands alone; flat: the
    published map without RawXML, as JSON.
    """

    kind: str
    identity: str
    source: bytes
    flat: bytes

    @property
    def fields(self) -> dict[str, Value]:
        """The published map."""
        keys: dict[str, Value] = orjson.loads(self.flat)
        return keys | {"RawXML": self.source.decode()}

    @property
    def held_bytes(self) -> int:
        """How much memory it takes, about."""
        return len(self.source) + len(self.flat) + _OBJECTS_BYTES

    @property
    def message_id(self) -> str:
        """32 characters, the same for the same identity and source, however often it is sent."""
        content = b"\0".join((self.kind.encode(), self.identity.encode(), self.source))
        return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def record(found: Found) -> Record:
    """The record in an element of one of the KINDS; raises BadRecord."""
    kind = KINDS[found.name]
    keys = _flattened(found.tree, kind)
    identity = str(keys.get(kind.identity, ""))
    # Copied, because what orjson gives holds a buffer of at least 4 KiB.
    flat = bytes(memoryview(orjson.dumps(keys)))
    return Record(kind.name, identity, found.source, flat)


def _flattened(tree: Element, kind: Kind) -> dict[str, Value]:
    flat = Flat()
    rules = kind.rules
    for child in tree:
        rules.get(LOCAL[child.tag], OTHER).write(child, flat)
    kind.finish(flat)
    flat.fixed["type"] = kind.name
    flat.other.pop("RawXML", None)
    return flat.other | flat.fixed


FORMATS: tuple[Format, ...] = get_args(Format)


def render(record: Record, form: Format) -> tuple[bytes, str]:
    """The body and the content type of a message."""
    if form == "json":
        raw = orjson.dumps(record.source.decode())
        return b"".join((record.flat[:-1], b',"RawXML":', raw, b"}")), "application/json"
    if form == "xml":
        return canonical(record.source), "text/xml"
    return record.source, "text/xml"
