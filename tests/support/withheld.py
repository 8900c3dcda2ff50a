"""A broker's confirm that never arrives: a filter for Relay that knows AMQP 0.9.1's frames."""

from __future__ import annotations

import struct

#: Type and channel and size of a frame; class, method, tag and flag of basic.ack.
_HEAD, _ACK = struct.Struct(">BHL"), struct.Struct(">HHQB")

_METHOD_FRAME, _BASIC_ACK = 1, (60, 80)


class Withheld:
    """Holds back the ack with this tag on the first channel that gets one; `acted`: it did."""

    def __init__(self, tag: int) -> None:
        self._tag, self._rest = tag, b""
        self._channel: int | None = None

    @property
    def acted(self) -> bool:
        """Whether a confirm was held back."""
        return self._channel is not None

    def __call__(self, data: bytes) -> bytes:
        """What of the server's bytes goes on its way."""
        self._rest += data
        passed = b""
        while len(self._rest) >= _HEAD.size:
            kind, channel, size = _HEAD.unpack_from(self._rest)
            end = _HEAD.size + size + 1
            if len(self._rest) < end:
                break
            frame, self._rest = self._rest[:end], self._rest[end:]
            passed += self._passed(frame, kind, channel)
        return passed

    def _passed(self, frame: bytes, kind: int, channel: int) -> bytes:
        if kind != _METHOD_FRAME or len(frame) != _HEAD.size + _ACK.size + 1:
            return frame
        *method, tag, multiple = _ACK.unpack_from(frame, _HEAD.size)
        if tuple(method) != _BASIC_ACK or tag < self._tag or self._channel not in (None, channel):
            return frame
        self._channel = channel
        if not multiple:
            return b""
        ack = _ACK.pack(*method, self._tag - 1, multiple)
        return frame[: _HEAD.size] + ack + frame[-1:]
