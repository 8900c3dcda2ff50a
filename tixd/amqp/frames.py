"""Encode a message to publish as frames of AMQP 0.9.1.

pika makes an object of each frame and of the properties before it encodes them: 7.3 us a message of
2 kB, where these functions take 2.5, and are the same bytes. Pure.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

from pika import data, frame, spec

from tixd.amqp.messages import Properties

#: Head of a frame: type, channel, length of its content; and what ends a frame.
_FRAME = struct.Struct(">BHL")
_END = bytes([spec.FRAME_END])

#: Content of a header frame before the properties: class, weight, length of the body, flags.
_HEADER = struct.Struct(">HHQH")

#: AMQP's delivery-mode, by whether a message is persistent.
DELIVERY_MODES = {True: 2, False: 1}
_MODES = {persistent: bytes([mode]) for persistent, mode in DELIVERY_MODES.items()}

#: How many exchanges and keys are remembered with their frames, for each channel.
_REMEMBERED = 1024


@functools.lru_cache(maxsize=_REMEMBERED)
def publish_frame(channel: int, exchange: str, key: str, *, mandatory: bool) -> bytes:
    """Return the frame that a message begins with; raises AMQPError for a name that is too long."""
    method = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)
    return bytes(frame.Method(channel, method).marshal())


def content_frames(channel: int, body: bytes, properties: Properties, max_bytes: int) -> bytes:
    """Return the other frames of a message; its body is cut at `max_bytes`.

    Raises AMQPError where the properties cannot be encoded.
    """
    flags, encoded = _encode(properties)
    return b"".join(
        (
            _FRAME.pack(spec.FRAME_HEADER, channel, _HEADER.size + len(encoded)),
            _HEADER.pack(spec.Basic.INDEX, 0, len(body), flags),
            encoded,
            _END,
            *_body_frames(channel, body, max_bytes),
        )
    )


def _encode(properties: Properties) -> tuple[int, bytes]:
    """Return the flags and the encoded properties, in the order of the specification."""
    flags = spec.BasicProperties.FLAG_DELIVERY_MODE
    pieces: list[bytes] = []
    for flag, text in (
        (spec.BasicProperties.FLAG_CONTENT_TYPE, properties.content_type),
        (spec.BasicProperties.FLAG_CONTENT_ENCODING, properties.content_encoding),
    ):
        if text:
            flags |= flag
            data.encode_short_string(pieces, text)
    if properties.headers:
        flags |= spec.BasicProperties.FLAG_HEADERS
        data.encode_table(pieces, dict(properties.headers))
    pieces.append(_MODES[properties.persistent])
    for flag, text in (
        (spec.BasicProperties.FLAG_CORRELATION_ID, properties.correlation_id),
        (spec.BasicProperties.FLAG_REPLY_TO, properties.reply_to),
        (spec.BasicProperties.FLAG_EXPIRATION, properties.expiration),
        (spec.BasicProperties.FLAG_MESSAGE_ID, properties.message_id),
    ):
        if text:
            flags |= flag
            data.encode_short_string(pieces, text)
    return flags, b"".join(pieces)


def _body_frames(channel: int, body: bytes, max_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(body), max_bytes):
        part = body[start : start + max_bytes]
        yield _FRAME.pack(spec.FRAME_BODY, channel, len(part))
        yield part
        yield _END
