"""Tries: all at once, each in a process of its own, and none that holds the others up."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.program import until
from tixd import errors
from tixd.diagnostics.runner import Check, CheckResult, run_check, run_checks


def never() -> str:
    """A volume that hangs."""
    signal.pause()
    return ""


def broken() -> str:
    raise ZeroDivisionError


def unusable() -> str:
    raise errors.Unusable("it is\nbroken: mend it")


def check(run, what: str = "thing") -> Check:
    return Check(what, run, "wait for it")


def test_what_is_fine_and_what_is_wrong_say_so_in_one_line_each():
    assert run_check(check(lambda: "good")) == CheckResult("thing", True, "good")
    assert run_check(check(unusable)) == CheckResult("thing", False, "it is broken: mend it")


def test_findings_come_in_the_order_of_the_checks_from_other_processes():
    pids = [check(lambda: str(os.getpid()), name) for name in "cab"]
    found = run_checks(pids)
    assert [finding.what for finding in found] == ["c", "a", "b"]
    assert len({finding.text for finding in found} | {str(os.getpid())}) == 4


@pytest.mark.alone
def test_one_that_hangs_holds_up_nobody_and_says_what_to_do():
    began = time.monotonic()
    hanging, other = run_checks([check(never), check(lambda: "good")], 3.0)
    assert time.monotonic() - began < 5.7
    assert not hanging.fine
    assert hanging.text == "no answer within 3 s: wait for it"
    assert other.fine


def test_one_that_hangs_is_ended(tmp_path):
    note = tmp_path / "pid"

    def told() -> str:
        note.write_text(str(os.getpid()))
        return never()

    run_checks([check(told)], 5.0)
    until(lambda: not os.path.exists(f"/proc/{note.read_text()}") or reaped(int(note.read_text())))


def reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def test_a_try_that_breaks_by_our_own_mistake_is_no_answer():
    assert run_checks([check(broken)]) == [
        CheckResult("thing", False, "the check itself failed unexpectedly: please report it")
    ]


def test_an_answer_of_any_length_arrives_whole():
    assert run_checks([check(lambda: "x" * 1_000_000)])[0].text == "x" * 1_000_000
