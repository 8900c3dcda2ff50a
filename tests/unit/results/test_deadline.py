"""A deadline over a call: what happens where its thread cannot be had."""

from __future__ import annotations

import threading

import pytest

from tixd.results.deadline import DeadlinePassed, TimedCaller


def test_a_call_for_which_no_thread_can_be_had_breaks_no_later_one(monkeypatch):
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    caller = TimedCaller()
    with monkeypatch.context() as lacking:
        lacking.setattr(threading.Thread, "start", exhausted)
        with pytest.raises(RuntimeError):
            caller.call_with_deadline(1.0, lambda: 1)
    assert caller.call_with_deadline(60.0, lambda: 2) == 2
    caller.close()


def test_after_a_deadline_the_next_call_has_a_thread_of_its_own():
    caller, hanging = TimedCaller(), threading.Event()
    with pytest.raises(DeadlinePassed):
        caller.call_with_deadline(0.01, lambda: hanging.wait(60))
    assert caller.call_with_deadline(60.0, lambda: 2) == 2
    hanging.set()
    caller.close()
