"""Made Gratia requests: parameters as a form gives them, and the records in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.support.recordings import OWN_DATA

UR = "http://www.gridforum.org/2003/ur-wg"
NAMESPACES = f'xmlns="{UR}" xmlns:urwg="{UR}"'


def job(inside: str = "", *, record_id: str = "host:1.0", attributes: str = NAMESPACES) -> str:
    """A JobUsageRecord with this inside."""
    identity = f'<RecordIdentity urwg:recordId="{record_id}"/>' if record_id else ""
    return f"<JobUsageRecord {attributes}>{identity}{inside}</JobUsageRecord>"


def storage(inside: str, name: str = "StorageElementRecord") -> str:
    """A record about storage with this inside."""
    return f"<{name}><UniqueID>u</UniqueID>{inside}</{name}>"


def update(text: str | bytes, size: int = 1) -> dict[str, bytes]:
    """The parameters of an `update` with this text as it stands."""
    content = text.encode() if isinstance(text, str) else text
    return {
        "command": b"update",
        "arg1": content,
        "from": b"test",
        "bundlesize": str(size).encode(),
    }


def replicated(records: Iterable[str], raw: str = "", extra: str = "") -> dict[str, bytes]:
    """The parameters of an `update` of these records."""
    texts = [f"replication|{record}|{raw}|{extra}|" for record in records]
    return update("".join(texts), len(texts))


def enveloped(text: str | bytes, attributes: str = "") -> dict[str, bytes]:
    """The parameters of a `multiupdate` of what stands in the envelope."""
    content = text.encode() if isinstance(text, str) else text
    envelope = b"<RecordEnvelope %b>%b</RecordEnvelope>" % (attributes.encode(), content)
    return {"command": b"multiupdate", "arg1": envelope, "from": b"test"}


def cases() -> list[dict[str, Any]]:
    """Requests of our own, and what gracc-collector answered and published for each."""
    lines = (OWN_DATA / "gracc" / "cases.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
