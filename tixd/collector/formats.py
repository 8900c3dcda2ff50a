"""A record as the bytes of a message: JSON, its source, or its source in canonical form; pure.

In: a Record. Out: bytes and their content type. Rules: collector.md §4; raw and xml stand alone.
"""

from __future__ import annotations

from typing import get_args

import orjson

from tixd.collector.c14n import canonical
from tixd.collector.record import Record
from tixd.config.collector import Format

FORMATS: tuple[Format, ...] = get_args(Format)


def render(record: Record, form: Format) -> tuple[bytes, str]:
    """The body and the content type of a message."""
    if form == "json":
        raw = orjson.dumps(record.source.decode())
        return b"".join((record.flat[:-1], b',"RawXML":', raw, b"}")), "application/json"
    if form == "xml":
        return canonical(record.source), "text/xml"
    return record.source, "text/xml"
