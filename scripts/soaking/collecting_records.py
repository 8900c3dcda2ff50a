"""The world of the collector: probes that post bundles, RabbitMQ, Kafka and a file behind it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from soaking.account import Account
from soaking.plan import Planned
from soaking.world import Report, World, holds
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.direct import EXCHANGE, QUEUE, Direct, bound_queue, to_broker
from tests.support.kafka import NoidaDb, identities
from tests.support.relay import Relay
from tests.support.senders import Senders
from tests.support.stand_in_api import closed_port
from tests.support.volumes import fill, remount, tmpfs

#: Senders, records of a bundle, seconds from one bundle of a sender to the next, and to a repeat.
SENDERS, RECORDS, REST_SECONDS, PAUSE_SECONDS = 3, 8, 1.0, 0.5

#: Size of the volume with the collector's file, KiB.
VOLUME_KIB = 512 * 1024

#: Seconds between two looks into the queue.
DRAIN_SECONDS = 10.0

#: noida-db confirms before it has written: what it took so shortly before a kill, it may forget.
FORGETS_SECONDS = 20.0


class Collecting(World):
    """A collector under load."""

    def __init__(self, report: Report, folder: Path, stack: contextlib.ExitStack) -> None:
        super().__init__(report, folder)
        self.volume = stack.enter_context(tmpfs(folder / "volume", VOLUME_KIB))
        self.broker = stack.enter_context(Broker(folder / "b"))
        self.broker_relay = stack.enter_context(Relay(self.broker.port))
        self.kafka = stack.enter_context(NoidaDb(folder))
        self.port = closed_port()
        self.senders = Senders(self.port, SENDERS, RECORDS, PAUSE_SECONDS, REST_SECONDS)
        self.filler: Path | None = None
        self._queued: list[str] = []
        self._drained = 0.0
        self._sending = False
        #: When Kafka was killed (monotonic).
        self.kafka_kills: list[float] = []
        stack.callback(self._stop_senders)

    def begin(self) -> None:
        """Start the collector, and the probes once it works."""
        bound_queue(self.broker)
        self.start("collector", lambda: Collector(self.folder, self.settings(), port=self.port))
        if not holds(self.is_well, 90):
            raise RuntimeError(f"the collector is not ready after 90 s: {self.folder}")
        self.senders.__enter__()
        self._sending = True

    def settings(self) -> dict[str, Any]:
        """Return what the file says: three outputs, short limits."""
        return to_broker(
            self.broker_relay.port,
            kafka={"enable": True, "brokers": self.kafka.address, "topic": "gracc"},
            file={"path": str(self.volume / "records"), "maxBytes": 4 * 2**20, "keep": 0},
            timeout="5s",
            historyFile=str(self.folder / "collector.sqlite"),
        )

    def taken_count(self) -> int:
        """Return how many records were answered 200 so far."""
        return len(self.senders.accepted)

    def is_well(self) -> bool:
        """Return whether the collector runs and says that it is ready."""
        return all(role.poll() is None and role.ready() for role in self.roles.values())

    def do(self, planned: Planned) -> None:
        """Do a fault; then, where it is time, take what is in the queue."""
        super().do(planned)
        if time.monotonic() > self._drained + DRAIN_SECONDS:
            self._drain_once()

    def mend(self) -> None:
        """End whatever a fault may have left."""
        self.broker_relay.pass_on()
        if not self.broker.is_running():
            self.broker.start()
        self.broker.thaw()
        with contextlib.suppress(ProcessLookupError):
            self.kafka.thaw()
        with contextlib.suppress(subprocess.CalledProcessError):
            remount(self.volume, "rw")
        if self.filler:
            self.filler.unlink(missing_ok=True)
            self.filler = None
        for name, role in list(self.roles.items()):
            if role.poll() is not None:
                self.again(name)

    def addresses(self) -> list[str]:
        """Return where the collector answers HTTP."""
        return [f"127.0.0.1:{self.port}"]

    def history(self) -> tuple[str, Path]:
        """Return the role that has a history, and its file."""
        return "collector", self.folder / "collector.sqlite"

    def fill_volume(self) -> None:
        """Leave no room for the collector's file."""
        self.filler = fill(self.volume)

    def direct(self) -> Direct:
        """Return a look into the broker's queues."""
        return Direct(self.broker.port, seconds=10)

    def bind(self) -> None:
        """Bind the queue to the exchange, as the operator of the broker does."""
        with self.direct().channel() as channel:
            channel.exchange_declare(EXCHANGE, "fanout", durable=True)
            channel.queue_bind(QUEUE, EXCHANGE)

    # --- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let the probes end, stop the collector, and settle what each output has."""
        self.mend()
        before = len(self.senders.accepted)
        holds(lambda: len(self.senders.accepted) > before + SENDERS * RECORDS, 60)
        self._stop_senders()
        for name, role in self.roles.items():
            if role.ends()[0] != 0:
                self.report.problems.append(f"{name}: SIGTERM at the end gave {role.poll()}")
        self.read_logs()
        self._drain_once()
        statuses = {str(status): n for status, n in sorted(self.senders.statuses().items())}
        self.report.figures |= {"answers": statuses}
        if strange := set(statuses) - {"0", "200", "503"}:
            self.report.problems.append(f"good bundles were answered {sorted(strange)}")
        self._settle("records in RabbitMQ", self._queued)
        self._settle("records in the file", self._in_file())
        self._settle("records in Kafka", identities(self.kafka.address), self._forgotten())

    def _settle(self, of: str, found: list[str], forgotten: frozenset[str] = frozenset()) -> None:
        """Every record of a 200 is there; one that came twice was sent twice."""
        account, senders = Account(of), self.senders
        counts = Counter(found)
        lost = senders.accepted - counts.keys() - forgotten
        account.sent, account.taken = len(senders.accepted), len(counts)
        account.lost, account.unexpected = len(lost), len(counts.keys() - senders.tried)
        again = [name for name, count in counts.items() if count > 1]
        account.repeated = sum(counts[name] - 1 for name in again)
        account.unanswered = sum(counts[name] - 1 for name in again if name not in senders.at_once)
        account.held_back = len(senders.accepted & forgotten - counts.keys())
        account.problems += [f"{of}: lost {name}" for name in sorted(lost)[:10]]
        twice = [name for name in again if name in senders.at_once]
        account.problems += [f"{of}: {name} was sent once and came twice" for name in twice[:10]]
        if account.unexpected:
            account.problems.append(f"{of}: {account.unexpected} records that nobody sent")
        self.report.accounts.append(account)

    def _forgotten(self) -> frozenset[str]:
        """Return the records that Kafka may have forgotten when it was killed."""
        kills = self.kafka_kills
        return frozenset(
            name
            for name, moment in self.senders.moments.items()
            if any(kill - FORGETS_SECONDS < moment < kill + 1 for kill in kills)
        )

    def _in_file(self) -> list[str]:
        lines = (line for path in sorted(self.volume.glob("records*")) for line in _lines(path))
        return [json.loads(line)["RecordId"] for line in lines]

    def _drain_once(self) -> None:
        """Take what is in the queue; what was taken before and not acknowledged comes again."""
        self._drained, known = time.monotonic(), set(self._queued)
        for message in self.direct().each(QUEUE):
            name = message.json["RecordId"]
            if not (message.redelivered and name in known):
                self._queued.append(name)

    def _stop_senders(self) -> None:
        if self._sending:
            self._sending = False
            self.senders.stop()


def _lines(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        yield from file


@contextlib.contextmanager
def collector(report: Report, folder: Path) -> Iterator[Collecting]:
    """A collector at work."""
    with contextlib.ExitStack() as stack:
        world = Collecting(report, folder, stack)
        stack.callback(world.end_all)
        world.begin()
        yield world
