"""How much a sender may ask of the collector; frozen, so that a worker process can have it too."""

from __future__ import annotations

from dataclasses import dataclass


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
