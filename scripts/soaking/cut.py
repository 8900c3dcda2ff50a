"""Let bytes of a stream through up to one of them. Pure."""

from __future__ import annotations


class CutAt:
    """A filter of the relay; at: how many bytes pass; acted: whether more have come."""

    def __init__(self, at: int) -> None:
        self.at, self.acted = at, False
        self._passed = 0

    def __call__(self, data: bytes) -> bytes:
        """Return what of the bytes goes on its way."""
        passed = data[: max(0, self.at - self._passed)]
        self._passed += len(data)
        self.acted = self.acted or len(passed) < len(data)
        return passed
