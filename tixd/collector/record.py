"""Make a usage record of its elements, and render it as a message.

Rules: the specification's collector.md §3 and §4; the published map is kept as JSON bytes, a tenth
of the memory of a dict, and without the source, which is its RawXML; raw and xml stand alone. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import get_args
from xml.etree.ElementTree import Element

import orjson

from tixd.collector.c14n import canonical
from tixd.collector.conversions import Value
from tixd.collector.mapping import KINDS, Flat, Kind
from tixd.collector.record_parser import ParsedElement
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
    published map without RawXML, as JSON; memory_bytes: about how much memory it takes.
    """

    kind: str
    identity: str
    source: bytes
    flat: bytes
    memory_bytes: int

    @property
    def fields(self) -> dict[str, Value]:
        """The published map, with RawXML."""
        keys: dict[str, Value] = orjson.loads(self.flat)
        return keys | {"RawXML": self.source.decode()}

    @property
    def message_id(self) -> str:
        """32 characters, the same for the same identity and source, however often they are sent."""
        content = b"\0".join((self.kind.encode(), self.identity.encode(), self.source))
        return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def record(found: ParsedElement) -> Record:
    """Make the record of an element of one of the KINDS; raises BadRecord."""
    kind = KINDS[found.name]
    keys = _flatten(found.tree, kind)
    identity = str(keys.get(kind.identity, ""))
    # Copied, because what orjson gives holds a buffer of at least 4 KiB.
    flat = bytes(memoryview(orjson.dumps(keys)))
    memory_bytes = len(found.source) + len(flat) + _OBJECTS_BYTES
    return Record(kind.name, identity, found.source, flat, memory_bytes)


def _flatten(tree: Element, kind: Kind) -> dict[str, Value]:
    flat = Flat()
    writers = kind.writers
    for child in tree:
        writers[child.tag](child, flat)
    kind.finish(flat)
    flat.fixed["type"] = kind.name
    flat.other.pop("RawXML", None)
    return flat.other | flat.fixed


#: Every format of a message.
FORMATS: tuple[Format, ...] = get_args(Format)


def render(record: Record, wanted: Format) -> tuple[bytes, str]:
    """Return the body and the content type of a message in this format."""
    if wanted == "json":
        raw = orjson.dumps(record.source.decode())
        return b"".join((record.flat[:-1], b',"RawXML":', raw, b"}")), "application/json"
    if wanted == "xml":
        return canonical(record.source), "text/xml"
    return record.source, "text/xml"
