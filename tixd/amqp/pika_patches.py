"""Headers that pika reads wrong or not at all: no message may end the connection that delivers it.

In and out: AMQP tables as bytes, Python's values. Rules: floats stay floats (pika cuts them to
integers), a time after Python's last one is its seconds as a text, and headers that cannot be read
at all count as absent. A frame longer than any broker may send ends its connection: pika would keep
what arrives until all of it is there. `mend_pika` changes pika for the whole process.
"""

from __future__ import annotations

import struct
from typing import Any

import pika
from pika import data, frame, spec
from pika.exceptions import AMQPError, InvalidFrameError

#: How a value of each type with a point is written, by the octet that names the type.
_FLOATS = {b"f": struct.Struct(">f"), b"d": struct.Struct(">d")}

#: The octet that names a time, and how it is written: whole seconds since 1970.
_TIME, _SECONDS = b"T", struct.Struct(">Q")

#: How a frame begins: its type, its channel, how long its content is; how long that may be.
_FRAME, _LONGEST_BYTES = struct.Struct(">BHL"), pika.ConnectionParameters.DEFAULT_FRAME_MAX

#: How what a broker says begins that speaks another version.
_OTHER_VERSION = b"AMQP"

#: What a value may raise that has no name in Python.
_UNREADABLE = (ArithmeticError, ValueError, OSError)

_pikas_decode, _pikas_encode = data.decode_value, data.encode_value
_pikas_frame = frame.decode_frame


def apply_pika_patches() -> None:
    """Have pika read and write values and headers by this module; once is enough."""
    data.decode_value, data.encode_value = _decode, _encode
    spec.props[pika.BasicProperties.INDEX] = _Lenient
    frame.decode_frame = _frame


def _frame(received: bytes) -> Any:
    if len(received) >= _FRAME.size and not received.startswith(_OTHER_VERSION):
        size = _FRAME.unpack_from(received)[2]
        if size > _LONGEST_BYTES:
            raise InvalidFrameError(f"a frame of {size} bytes; that is not AMQP")
    return _pikas_frame(received)


def _decode(encoded: bytes, offset: int) -> tuple[Any, int]:
    kind, begin = encoded[offset : offset + 1], offset + 1
    if written := _FLOATS.get(kind):
        return written.unpack_from(encoded, begin)[0], begin + written.size
    try:
        decoded: tuple[Any, int] = _pikas_decode(encoded, offset)
    except _UNREADABLE:
        if kind != _TIME:
            raise
        return str(_SECONDS.unpack_from(encoded, begin)[0]), begin + _SECONDS.size
    return decoded


def _encode(pieces: list[bytes], value: Any) -> int:
    if isinstance(value, float):
        pieces += [b"d", _FLOATS[b"d"].pack(value)]
        return sum(map(len, pieces[-2:]))
    return int(_pikas_encode(pieces, value))


class _Lenient(pika.BasicProperties):  # type: ignore[misc]
    """Properties whose headers may be anything, such as 5000 arrays in one another."""

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Reads what can be read; that comes in the order of the specification."""
        try:
            return super().decode(encoded, offset)
        except (*_UNREADABLE, AMQPError, RecursionError):
            return self
