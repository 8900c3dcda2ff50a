"""The life of a role, in a loop of this process: what systemd hears of it, and when."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.log_events import heard
from tests.support.pools import in_loop
from tests.support.service import Manager, listening
from tests.support.stand_in_api import closed_port
from tixd import errors
from tixd.config import loader
from tixd.config.fields import Secret
from tixd.jobs import JobResult
from tixd.roles.collector import Collector
from tixd.roles.processing import ProcessingService
from tixd.runtime import control_server, tasks
from tixd.runtime.status import ApiView

Run = Callable[[ProcessingService], Awaitable[None]]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager."""
    with listening(tmp_path / "notify") as manager:
        yield manager


async def nothing(_: ProcessingService) -> None:
    """The work of a role that does none."""


def service(tmp_path: Path, run: Run = nothing) -> ProcessingService:
    """A service that has not begun, and that the manager hears of."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "TIX_HTTP_ADDRESS": "off"}

    def load() -> loader.Config:
        return loader.load({}, {**environ, "RUNTIME_DIRECTORY": str(tmp_path)}, None)

    return ProcessingService(load(), load, run)


@in_loop
async def test_a_pool_whose_supervision_does_not_turn_feeds_no_watchdog(
    tmp_path, manager, monkeypatch
):
    async def turn(running: ProcessingService) -> None:
        running.pool = SimpleNamespace(supervision_ticks=0, workers=(), restarts=Counter())
        for expected in (1, 1, 1, 2, 2):
            running.pool.supervision_ticks = expected
            await running.tick()
            assert manager.fed() == expected

    for module in ("runtime.systemd.STATUS", "runtime.service.TICK"):
        monkeypatch.setattr(f"tixd.{module}_SECONDS", 0.01)
    await service(tmp_path, turn)._live()


def test_what_the_tix_api_says_is_seen_until_it_takes_something(tmp_path):
    running = service(tmp_path)
    assert running.snapshot().api.reason == "TIX_API_USER is not set", "before any job"
    known = {"api_user": "tix", "api_password": Secret("secret"), "api_host": "alpha"}
    running.settings = replace(running.settings, **known)
    address = "http://alpha:80"
    running.on_job_done(JobResult({"windows_stored": 2}, unposted_reason="HTTP 401"))
    first = running.snapshot().api
    assert first == ApiView(None, first.kept_since, "HTTP 401", address)
    running.on_job_done(JobResult({"windows_stored": 1}, unposted_reason="HTTP 500"))
    assert running.snapshot().api == replace(first, reason="HTTP 500"), "since the first"
    running.on_job_done(JobResult({"results_reposted": 1}))
    posted = running.snapshot().api
    assert posted == ApiView(posted.posted, address=address)
    running.on_job_done(
        JobResult({"windows_posted": 1, "windows_stored": 1}, unposted_reason="HTTP 500")
    )
    assert running.snapshot().api.reason == "HTTP 500", "the last one counts"


@pytest.mark.parametrize("error", [None, errors.CannotStart("no room")], ids=["end", "error"])
@in_loop
async def test_a_required_task_that_ends_ends_the_role(tmp_path, manager, error):
    async def end_soon() -> None:
        if error:
            raise error

    async def work(running: ProcessingService) -> None:
        running.require(tasks.start(end_soon(), "a task"))
        while not running.stopping.is_set():
            await running.tick()
        await running.end_required()

    expected = pytest.raises(errors.CannotStart) if error else contextlib.nullcontext()
    with heard() as log, expected:
        await service(tmp_path, work)._live()
    assert log.events[0] == ("info", "stopping")
    assert log.text.count("a task has ended") == 1
    assert manager.states() == ["STOPPING=1"]


@in_loop
async def test_the_first_signal_hurries_no_role_that_stops_by_itself(tmp_path, monkeypatch):
    killed: list[str] = []
    stopped = service(tmp_path)
    monkeypatch.setattr(stopped, "kill", lambda: killed.append("killed"))
    stopped.stop()
    stopped.on_stop_signal(signal.SIGTERM)
    assert not killed
    stopped.on_stop_signal(signal.SIGTERM)
    assert killed == ["killed"]


@pytest.mark.parametrize(
    "begin",
    [
        lambda service: service.enter_running(workers=1),
        lambda service: service.enter_standby("pid 7"),
    ],
    ids=["run", "stand by"],
)
@in_loop
async def test_a_stop_during_the_start_is_the_last_that_is_said(
    tmp_path, manager, monkeypatch, begin
):
    async def stop(*_: object, **__: object) -> None:
        stopped.on_stop_signal(signal.SIGTERM)

    stopped = service(tmp_path)
    monkeypatch.setattr(control_server, "listen", stop)
    await begin(stopped)
    await begin(stopped)
    stopped.on_reload_signal()
    assert set(manager.states()) == {"STOPPING=1"}
    assert stopped.snapshot().state == "stopping"


@in_loop
async def test_a_stop_during_a_collectors_start_is_the_last_that_is_said(
    tmp_path, manager, monkeypatch
):
    environ = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "GRACC_ADDRESS": "127.0.0.1",
        "GRACC_PORT": str(closed_port()),
        "GRACC_AMQP_ENABLE": "false",
        "GRACC_FILE_PATH": str(tmp_path / "records"),
    }

    async def stop(*_: object, **__: object) -> None:
        collector.on_stop_signal(signal.SIGTERM)

    collector = Collector(loader.load_collector({}, environ, None), lambda: 1 // 0, "")
    monkeypatch.setattr(control_server, "listen", stop)
    await collector._live()
    collector.on_reload_signal()
    assert manager.states() == ["STOPPING=1"]
