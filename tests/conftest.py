"""What tests of several folders ask for by name, and who may run beside whom."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.broker import Broker
from tests.support.program import OWN_VARIABLES
from tixd.config import loader

# How long an example takes, and how long it takes to make one, says how busy the machine is.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# A shell keeps SIGINT from what it runs in the background, nohup SIGHUP, and so from every process
# of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A tixd that is installed here is neither seen nor touched: not its variables, those of its service
# manager, its tixd.toml, its sockets. Programs are called as support/program.py says; that all of
# this is enough: acceptance/test_beside_tixd.py.
_OF_A_SERVICE = ("CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "XDG_RUNTIME_DIR")
for name in list(os.environ):
    if name.startswith((*OWN_VARIABLES, *_OF_A_SERVICE)):
        del os.environ[name]
os.environ["RUNTIME_DIRECTORY"] = tempfile.mkdtemp(prefix="tixd-")
atexit.register(shutil.rmtree, os.environ["RUNTIME_DIRECTORY"], ignore_errors=True)
loader.DEFAULT_FILE = Path(os.devnull)

#: Programs, which read their environment when they start.
collect_ignore = ["support/original"]


@pytest.fixture(scope="session")
def _broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def broker(_broker: Broker) -> Broker:
    """A RabbitMQ that is as good as new and the module's own, to be killed and changed at will."""
    _broker.renew()
    return _broker


@pytest.fixture(autouse=True)
def _same_signals() -> Iterator[None]:
    """A service that has ended within a test's own process lets no signal in any more."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes run tests, modules with one that is `alone` come last.

    Before that there are tests of minutes that it would have to wait for.
    """
    if hasattr(config, "workerinput"):
        late = {item.path for item in items if item.get_closest_marker("alone")}
        items.sort(key=lambda item: item.path in late)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the time of pytest-timeout begins
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where several processes run tests, one that is marked `alone` waits for the others' ends."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    shared = Path(item.config.getoption("basetemp")).parent
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with contextlib.ExitStack() as held:
        with _locked(shared / "next", fcntl.LOCK_EX):  # or those who come later went in first
            held.enter_context(_locked(shared / "machine", how))
        return (yield)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also for children that have inherited the descriptor
