"""A deadline for a whole call with any number of waits in it.

Rules: a time-out per read cannot do this, because a server that sends a byte a second never reaches
it, nor can a signal interrupt a name look-up in the C library. So the function runs in a thread,
and the caller waits for it: a caller that stops waiting must close what the function waits for,
else the thread stays until it ends by itself.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Returned = TypeVar("_Returned")


class DeadlinePassed(Exception):
    """The function had not returned in time."""


class _Call(Generic[_Returned]):
    """A function, and its result or exception."""

    __slots__ = ("_ended", "_function", "_raised", "_returned")

    def __init__(self, function: Callable[[], _Returned]) -> None:
        self._function = function
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()  # cheaper than an Event
        self._returned: list[_Returned] = []
        self._raised: BaseException | None = None

    def run(self) -> None:
        try:
            self._returned.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
            self._raised = error
        self._ended.put(None)

    def result(self, seconds: float) -> _Returned:
        try:
            self._ended.get(timeout=seconds)
        except queue.Empty:
            raise DeadlinePassed from None
        if self._raised is not None:
            raise self._raised
        return self._returned[0]


class TimedCaller:
    """Calls functions one after the other, in a thread that stays between calls."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call[object] | None] | None = None

    def call_with_deadline(self, seconds: float, function: Callable[[], _Returned]) -> _Returned:
        """Return what `function` returns; raises DeadlinePassed once `seconds` have passed.

        The thread is abandoned then, and ends when the function does.
        """
        call = _Call(function)
        self._thread_calls().put(call)  # type: ignore[arg-type]
        try:
            return call.result(seconds)
        except DeadlinePassed:
            self.close()
            raise

    def close(self) -> None:
        """Let the thread end."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    def _thread_calls(self) -> queue.SimpleQueue[_Call[object] | None]:
        """Return the queue of the thread, which is started where there is none."""
        if self._calls is None:
            calls: queue.SimpleQueue[_Call[object] | None] = queue.SimpleQueue()
            threading.Thread(target=_run_calls, args=(calls,), daemon=True).start()
            self._calls = calls
        return self._calls


def _run_calls(calls: queue.SimpleQueue[_Call[object] | None]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
    while call := calls.get():
        call.run()
