"""What tests of several folders ask for by name, and who may run beside whom."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import gc
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests.support.broker import Broker
from tests.support.case_tables import Recorder
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

#: No tests; some are programs, and one needs a library that the tests install.
collect_ignore = ["support"]


#: The folder for temporary files, where it was made here.
_FOLDER = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the table of cases be made anew."""
    noting = "note outcomes of tests/faults in tests/data/cases.json, for the manual"
    parser.addoption("--record-cases", action="store_true", help=noting)


@pytest.hookimpl(tryfirst=True)  # before pytest makes its own
def pytest_configure(config: pytest.Config) -> None:
    """Give temporary files a folder with a short name: addresses of sockets begin with it.

    The kernel takes 107 characters of them, and pytest's own name grows with the number of runs.
    """
    if config.option.record_cases and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())
    if config.option.basetemp is None:
        config.stash[_FOLDER] = config.option.basetemp = tempfile.mkdtemp(prefix="tixd-")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave the folder where a test has failed."""
    if exitstatus == 0 and _FOLDER in session.config.stash:
        shutil.rmtree(session.config.stash[_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def _broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def broker(_broker: Broker) -> Broker:
    """A RabbitMQ that is as good as new and the module's own, to be killed and changed at will."""
    _broker.renew()
    return _broker


@pytest.fixture
def small_heap() -> Iterator[None]:
    """Keep what earlier tests have left in this process out of the garbage collector's way.

    A collection over all of it takes longer than any step; a role has no such heap.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _same_signals() -> Iterator[None]:
    """A service that has ended within a test's own process lets no signal in any more."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# --- where several processes run tests -----------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process that runs tests which folder it shares with the others."""
    node.workerinput["shared"] = os.environ["RUNTIME_DIRECTORY"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that are `alone` come last."""
    if hasattr(config, "workerinput"):
        items.sort(key=_is_alone)
        names = [item.nodeid for item in items if _is_alone(item)]
        Path(config.workerinput["shared"], "alone").write_text(json.dumps(names))


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """A process runs a whole module, and one of them all tests that are `alone`."""
    return _Scheduling(config, log)


class _Scheduling(LoadFileScheduling):
    """If several ran tests that are alone, each of these would wait for the others' ends."""

    @functools.cached_property
    def _alone(self) -> frozenset[str]:
        return frozenset(json.loads(Path(os.environ["RUNTIME_DIRECTORY"], "alone").read_text()))

    def _split_scope(self, nodeid: str) -> str:
        return "alone" if nodeid in self._alone else super()._split_scope(nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the time of pytest-timeout begins
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is `alone` waits for the others' ends."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    shared = Path(item.config.workerinput["shared"])
    how = fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH
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
