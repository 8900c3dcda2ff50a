"""How commands find a tixd that runs: the reports volume is looked at last, and not for long."""

import os
import threading
import time

import pytest

from tixd import errors
from tixd.commands import ask_running
from tixd.config import loader
from tixd.config.environment import Environment
from tixd.runtime import startup

LOADED = loader.load({}, {}, None)

LATER = 60.0


def nobody(*_: object) -> str:
    raise errors.NotRunning


def asked(ask) -> str:
    return ask_running(LOADED, ask, "GET /status", 5.0)


@pytest.fixture(autouse=True)
def as_root(monkeypatch):
    """Root asks, and the volume hangs."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tixd.commands.OWNER_SECONDS", 0.1)
    monkeypatch.setattr(startup, "identity", lambda _: threading.Event().wait(LATER))


def test_who_answers_is_heard_without_a_look_at_the_reports():
    begun = time.monotonic()
    assert asked(lambda *_: "status") == "status"
    assert time.monotonic() - begun < LATER / 2


def test_a_volume_that_hangs_does_not_hold_up_the_news_that_nobody_answers():
    begun = time.monotonic()
    with pytest.raises(errors.NotRunning):
        asked(nobody)
    assert time.monotonic() - begun < LATER / 2


def test_the_owner_of_the_reports_is_asked_when_root_has_no_tixd(monkeypatch):
    monkeypatch.setattr("tixd.commands.OWNER_SECONDS", LATER)
    monkeypatch.setattr(startup, "identity", lambda _: startup.privileges.Identity(77, (7,), ""))
    asked_at = []

    def ask(environment: Environment, *_: object) -> str:
        asked_at.append(environment.runtime_folders)
        return nobody() if len(asked_at) == 1 else "found"

    assert asked(ask) == "found"
    assert "/tmp/tixd-77" in asked_at[1]
    assert "/tmp/tixd-77" not in asked_at[0]
