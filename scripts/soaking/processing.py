"""The world of the processing roles: reports on a small volume, a tix-api, a broker for hosts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import psutil

from soaking.account import Account, settle
from soaking.load import Key, Load
from soaking.world import Report, World, holds
from tests.support import odd_workers
from tests.support.broker import Broker
from tests.support.debian import library
from tests.support.direct import Direct
from tests.support.ledger import at_api, kept, set_back_pauses, temporary_files
from tests.support.program import TIXD
from tests.support.relay import Relay
from tests.support.service import SHORT, Service
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.volumes import fill, remount, tmpfs

#: Installations under load, and seconds from one to the next: a window each time.
USERS, PACE_SECONDS = 12, 0.5

#: Size of the volume of the reports, KiB: enough for all that faults hold back.
VOLUME_KIB = 256 * 1024

#: Posts of a worker process that may be in flight, and worker processes of a role.
IN_FLIGHT, WORKERS = 4, 2

#: Of the tix-api, which reads it as UTF-8.
PASSWORD = "Schlüssel €"

#: How long the drain at the end may take, seconds.
DRAIN_SECONDS = 180.0


class Processing(World):
    """Roles that process reports; the API answers through a relay."""

    def __init__(self, report: Report, folder: Path, stack: contextlib.ExitStack) -> None:
        super().__init__(report, folder)
        self.volume = stack.enter_context(tmpfs(folder / "volume", VOLUME_KIB))
        self.base = self.volume / "reports"
        self.base.mkdir()
        self.state = folder
        self.load = Load(self.base, USERS, PACE_SECONDS)
        self.api = stack.enter_context(StandInApi(user="tix", password=PASSWORD))
        self.relay = stack.enter_context(Relay(self.api.port))
        self.clock = folder / "clock"
        self.broker: Broker | None = None
        self.broker_relay: Relay | None = None
        self.filler: Path | None = None
        self._make: dict[str, Callable[..., Service]] = {}
        #: Unusable reports that were put beside good ones.
        self.junk = 0

    # --- start and end ---------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the settings that all roles have: short limits."""
        return {
            "TIX_PROCESSING_PERIOD": SHORT,
            "TIX_WORKERS": str(WORKERS),
            "TIX_POSTS_IN_FLIGHT": str(IN_FLIGHT),
            "TIX_API_PASSWORD": PASSWORD,
            "TIX_API_CONNECT_SECONDS": "4",
            "TIX_API_READ_SECONDS": "6",
            "TIX_API_TOTAL_SECONDS": "8",
            "TIX_BAD_REPORTS_KEEP_FILES": "100000",
        }

    def begin(self) -> None:
        """Start every role, and the load once they work."""
        if self.broker_relay:
            port = {
                "TIX_RABBITMQ_HOST": "127.0.0.1",
                "TIX_RABBITMQ_PORT": str(self.broker_relay.port),
            }
            self._begin_role("one", PROCESSOR_TYPE="WORKER", **port)
            self._begin_role("two", PROCESSOR_TYPE="WORKER", **port)
            self._begin_role("dispatcher", PROCESSOR_TYPE="BEAT", **port)
        else:
            self._begin_role("standalone")
        if not holds(self.is_well, 90):
            raise RuntimeError(f"the roles are not ready after 90 s: {self.folder}")
        self.load.start()

    def _begin_role(self, name: str, **variables: str) -> None:
        options = self.environment() | variables
        state = self.folder / name[0]
        self._make[name] = partial(Service, self.base, state, self.relay.port, **options)
        self.start(name, self._make[name])

    def again_with_a_clock_that_can_be_set(self, name: str) -> None:
        """Start a role that has ended so that it reads its wall clock from the file `clock`.

        No role runs so for long: libfaketime makes threads that want the same lock very slow.
        """
        self.clock.write_text("+0")
        self.roles[name] = self._make[name](**fake_clock(self.clock))

    def again_with_odd_workers(self, name: str, function: str) -> None:
        """Start a role that has ended with workers that run a function of odd_workers.py."""
        odd = (sys.executable, "-m", odd_workers.__name__, function)
        self.roles[name] = self._make[name](before=odd)

    def second(self, name: str) -> Service:
        """Start the same role once more, beside it."""
        return self._make[name](name=f"second-{len(self.report.done)}")

    def taken_count(self) -> int:
        """Return how many results the tix-api has taken."""
        return len(self.api.accepted)

    def is_well(self) -> bool:
        """Return whether every role runs and says that it is ready."""
        return all(is_ready(role) for role in self.roles.values())

    def mend(self) -> None:
        """End whatever a fault may have left: of the tix-api, relays, volume, clock, processes."""
        self.api.unknown.clear()
        self.api.let_go()
        self.relay.pass_on()
        self._mend_volume()
        if self.broker and self.broker_relay:
            self.broker_relay.pass_on()
            if not self.broker.is_running():
                self.broker.start()
            self.broker.thaw()
        for name, role in list(self.roles.items()):
            if role.poll() is not None:
                self.again(name)

    def _mend_volume(self) -> None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            remount(self.volume, "rw")
        if self.filler:
            self.filler.unlink(missing_ok=True)
            self.filler = None

    # --- what faults need ------------------------------------------------------------------------

    def addresses(self) -> list[str]:
        """Return where the roles answer HTTP."""
        return [role.http for role in list(self.roles.values())]

    def history(self) -> tuple[str, Path]:
        """Return the role that has a history, and its file."""
        name = "dispatcher" if "dispatcher" in self.roles else "standalone"
        return name, self.roles[name].state / "schedule" / "history.sqlite"

    def skipped(self) -> int:
        """Return how many installations were skipped because their jobs still ran."""
        found: int = self.roles[self.history()[0]].told()["counts"].get("installations_skipped", 0)
        return found

    def fill_volume(self) -> None:
        """Leave no room on the volume."""
        self.filler = fill(self.volume)

    def worker_process(self, random: Random) -> tuple[Any, int]:
        """Return a role that has workers, and the process of one of them."""
        names = sorted(name for name in self.roles if name != "dispatcher")
        role = self.roles[random.choice(names)]
        found = children(role.pid)
        return role, random.choice(found)

    def installation(self, random: Random) -> Path:
        """Return the folder of an installation."""
        return self.load.folder(random.choice(list(self.load.users)))

    def add_unusable(self, random: Random, content: bytes, size: int = 0) -> Path:
        """Put a report that cannot be used beside good ones; return where it must be moved to.

        size: of the file in bytes, where it is larger than its content: the rest is a hole.
        """
        folder = self.installation(random)
        file = folder / f"tix-report-{random.randrange(10**9, 15 * 10**8)}.json"
        file.write_bytes(content)
        os.truncate(file, max(size, len(content)))
        os.utime(file, (1.5e9, 1.5e9))
        self.junk += 1
        return folder / "bad-reports" / file.name

    def direct(self) -> Direct:
        """Return a look into the broker's queues."""
        assert self.broker
        return Direct(self.broker.port)

    # --- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Stop the load, let everything be posted, stop the roles, and settle the account."""
        self.load.stop()
        self.mend()
        sent = self.load.sent()
        account = Account("windows (user, installation, timestamp)")
        account.held_back = len(set(kept(self.base)))
        self._drain(sent)
        for name, role in self.roles.items():
            role.send_signal(15)
            if not holds(partial(_has_ended, role), 40) or role.poll() != 0:
                self.report.problems.append(f"{name}: SIGTERM at the end gave {role.poll()}")
        self.read_logs()
        settle(account, sent, self._taken(), set(kept(self.base)), self.disturbances)
        self.report.accounts.append(account)
        self._leftovers()
        self.check()

    def check(self) -> None:
        """Note names of tixd's own that the original would take for reports."""
        odd = {p.name for p in self.base.glob("*/*/*.json") if not p.name.startswith("tix-report-")}
        if odd:
            self.report.problems.append(f"names that the original reads: {sorted(odd)[:5]}")

    def _taken(self) -> list[tuple[Key, bool]]:
        """Return what the tix-api has kept, and whether the client got the answer."""
        heard = [post.status is not None for post in self.api.accepted]
        return list(zip(at_api(self.api), heard, strict=True))

    def _drain(self, sent: set[Key]) -> None:
        """Let each pause pass, and rejected results be tried again, until nothing is kept."""
        ends = time.monotonic() + DRAIN_SECONDS
        begun = time.monotonic()
        while time.monotonic() < ends:
            for role in self.roles.values():
                self._retry_rejected(role)
            set_back_pauses(self.base)
            if holds(lambda: self._is_drained(sent), 15):
                break
        self.report.figures["drain_seconds"] = round(time.monotonic() - begun, 1)

    def _is_drained(self, sent: set[Key]) -> bool:
        time.sleep(0.5)
        return set(at_api(self.api)) >= sent and not kept(self.base)

    def _retry_rejected(self, role: Any) -> None:
        """`tixd failed retry`, as an operator does."""
        if kept_rejected(self.base):
            words = (*TIXD, "failed", "retry", "--all")
            subprocess.run(words, env=role.env, capture_output=True, timeout=60)

    def _leftovers(self) -> None:
        """Note what should not lie about."""
        report = self.report
        if found := temporary_files(self.base):
            report.problems.append(f"temporary files are left: {found[:10]}")
        aside = [*self.base.glob("*/*/bad-reports/*.json")]
        report.figures |= {"unusable_reports": self.junk, "set_aside": len(aside)}
        if len(aside) != self.junk:
            report.problems.append(f"{self.junk} unusable reports, {len(aside)} in bad-reports")


def _has_ended(role: Any) -> bool:
    return role.poll() is not None


def kept_rejected(base: Path) -> list[Path]:
    """Return the results that were rejected."""
    return list(base.glob("*/*/failed-results/rejected/*.json"))


def is_ready(role: Any) -> bool:
    """Return whether a role runs and says that it can work."""
    return role.poll() is None and role.get("/readyz", 5)[0] == 200


def children(pid: int) -> list[int]:
    """Return the worker processes of a role."""
    found = psutil.Process(pid).children()
    return sorted(child.pid for child in found if "spawn_main" in " ".join(child.cmdline()))


def fake_clock(file: Path) -> dict[str, str]:
    """Return variables that let a program read its wall clock from the file."""
    return {
        "LD_PRELOAD": library("faketime/libfaketime.so.1", "libfaketime"),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "FAKE_UTIME": "1",
    }


@contextlib.contextmanager
def standalone(report: Report, folder: Path) -> Iterator[Processing]:
    """The role standalone at work."""
    with contextlib.ExitStack() as stack:
        world = Processing(report, folder, stack)
        stack.callback(world.end_all)
        world.begin()
        yield world


@contextlib.contextmanager
def hosts(report: Report, folder: Path) -> Iterator[Processing]:
    """A dispatcher and two workers over a RabbitMQ of their own."""
    with contextlib.ExitStack() as stack:
        world = Processing(report, folder, stack)
        world.broker = stack.enter_context(Broker(folder / "b"))
        world.broker_relay = stack.enter_context(Relay(world.broker.port))
        stack.callback(world.end_all)
        world.begin()
        yield world


#: An answer as the tix-api gives it when nothing is wrong.
USUAL = Behaviour()
