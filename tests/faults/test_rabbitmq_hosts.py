"""Cases 3, 5, 24 and 25 over hosts of their own: broker, tix-api, dispatcher, two workers.

Each fault comes in the middle of a wave of windows; the wave must be done afterwards. Prints
what was lost (nothing), what was posted twice, and how soon work went on.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.hosts import Hosts, inside
from tests.support.ledger import at_api, kept, on_disk, set_back_pauses, temporary_files
from tests.support.program import until
from tests.support.service import Service
from tests.support.site import Fleet
from tests.support.stand_in_api import StandInApi
from tests.support.waves import Waves

#: Longest that a wave may take after its fault has gone: far more than it does.
WAVE_SECONDS = 120.0

#: How often an installation gives a sign of life, so that it is looked at again: a period or two.
LIFE_SECONDS = 10.0

#: Minutes of a period: long enough for a wave, short enough to wait for the next one.
PERIOD = "0.1"

#: Growth of memory that is not called a leak, as a share.
MOST_GROWTH = 1.15


@dataclass
class Site:
    """Five hosts at work."""

    base: Path
    hosts: Hosts
    broker: Broker
    api: StandInApi
    users: int
    waves: Waves
    start_worker: Callable[[str], Service]
    dispatcher: Service
    workers: dict[str, Service]
    again_seconds: list[float] = field(default_factory=list)
    _alive_until: float = 0.0

    @property
    def direct(self) -> Direct:
        """The broker's queues, seen from its own host."""
        return Direct(self.broker.port, self.broker.host, netns=self.broker.netns)

    def safe(self) -> int:
        """How many different windows the tix-api has, or will get out of failed-results."""
        windows, due = set(at_api(self.api)), self.waves.due
        return len(windows if len(windows) == due else windows.union(kept(self.base)))

    def is_done(self) -> bool:
        """Whether the wave is; now and then the installations give a sign of life meanwhile."""
        if time.monotonic() > self._alive_until:
            self._alive_until = time.monotonic() + LIFE_SECONDS
            self.waves.live()
        elif len(self.api.accepted) < self.waves.due:
            return False  # and what is in failed-results is looked at only now and then
        return self.safe() == self.waves.due

    def wave(self, fault: Callable[[], None] = lambda: None) -> None:
        """A wave, and a fault when some of it is done; back when all of it is safe."""
        before = len(self.api.accepted)
        self.waves.write()
        until(lambda: len(self.api.accepted) > before + self.users // 50, 60)
        fault()
        until(self.is_done, WAVE_SECONDS)

    def goes_on(self) -> None:
        """Wait for the next post, unless there is none to come, and note how long it took."""
        begun, before = time.monotonic(), len(self.api.accepted)
        until(lambda: len(self.api.accepted) > before or self.is_done(), 60)
        self.again_seconds.append(time.monotonic() - begun)

    def processes(self) -> list[psutil.Process]:
        """The parents of all roles."""
        return [psutil.Process(role.pid) for role in (self.dispatcher, *self.workers.values())]


def works(role: Service) -> bool:
    """Whether it says so, over its socket: HTTP stays on its host."""
    assert role.poll() is None, role.log_file.read_text()
    return role.status().get("not_ready") == []


@contextmanager
def site(tmp_path: Path, users: int) -> Iterator[Site]:
    """Everything started and at work; each user has an installation, a window in every wave."""
    with ExitStack() as stack:
        hosts = stack.enter_context(Hosts("broker", "api", "dispatcher", "one", "two"))
        where, netns = hosts.addresses, hosts.netns
        api = inside(netns("api"), lambda: StandInApi(host=where["api"]))
        stack.enter_context(api)
        config = {"loopback_users": "none"}
        broker = Broker(tmp_path / "b", host=where["broker"], netns=netns("broker"), config=config)
        stack.enter_context(broker)
        base = tmp_path / "reports"
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        options = {
            "TIX_RABBITMQ_HOST": where["broker"],
            "TIX_API_HOST": where["api"],
            "TIX_PROCESSING_PERIOD": PERIOD,
        }

        def start_worker(name: str) -> Service:
            before = tuple(hosts.command(name))
            return stack.enter_context(fleet.worker(name, before=before, **options))

        before = tuple(hosts.command("dispatcher"))
        dispatcher = stack.enter_context(fleet.dispatcher(before=before, **options))
        workers = {name: start_worker(name) for name in ("one", "two")}
        waves = Waves(base, users)
        made = Site(base, hosts, broker, api, users, waves, start_worker, dispatcher, workers)
        until(lambda: all(map(works, [dispatcher, *workers.values()])), 60)
        yield made


def broker_dies(site: Site) -> None:
    """kill -9 of the broker, and a new start."""
    site.broker.kill()
    until(lambda: site.dispatcher.told()["broker"]["reason"], 60)
    site.broker.start()
    site.goes_on()


def worker_host_dies(site: Site) -> None:
    """kill -9 of all processes of host two; it comes back later."""
    assert len(site.hosts.kill("two")) >= 2
    site.goes_on()
    site.workers["two"] = site.start_worker("two")
    until(lambda: works(site.workers["two"]), 60)


def worker_host_is_cut_off(site: Site, seconds: float) -> None:
    """Nothing gets to host one for some time; the broker and its worker both notice."""
    site.hosts.cut("one")
    end = time.monotonic() + seconds
    site.goes_on()
    until(lambda: site.workers["one"].told()["broker"]["reason"], 60)
    until(lambda: time.monotonic() > end, seconds + 1)
    site.hosts.join("one")
    until(lambda: works(site.workers["one"]), 60)


def queue_is_purged_and_deleted(site: Site) -> None:
    """The messages of a cycle go, then the queue itself under its consumers."""
    site.direct.purge("celery")
    site.direct.delete("celery")
    until(lambda: site.direct.exists("celery") and site.direct.consumers("celery") == 2, 60)


def password_changes(site: Site) -> None:
    """Nobody can log in for a while."""
    site.broker.set_password("another")
    site.broker.close_connections()
    roles = [site.dispatcher, *site.workers.values()]
    until(lambda: all(role.log("broker_disconnected") for role in roles), 60)
    until(lambda: not any(map(works, roles)), 60)
    site.broker.set_password("guest")
    site.goes_on()
    until(lambda: all(map(works, roles)), 60)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("users", "kills", "cut_seconds"),
    [
        pytest.param(60, 2, 10.0, id="2 kills"),
        pytest.param(
            1000, 20, 90.0, id="20 kills", marks=[pytest.mark.long, pytest.mark.timeout(2400)]
        ),
    ],
)
def test_nothing_is_lost_whatever_happens_to_broker_and_hosts(
    tmp_path: Path, users: int, kills: int, cut_seconds: float
) -> None:
    with site(tmp_path, users) as made:
        made.wave()
        made.wave(lambda: broker_dies(made))
        before = [(p.num_fds(), p.memory_info().rss) for p in made.processes()[:2]]
        for _ in range(kills - 1):
            made.wave(lambda: broker_dies(made))
        after = [(p.num_fds(), p.memory_info().rss) for p in made.processes()[:2]]
        made.wave(lambda: worker_host_dies(made))
        made.wave(lambda: worker_host_is_cut_off(made, cut_seconds))
        made.wave(lambda: queue_is_purged_and_deleted(made))
        made.wave(lambda: password_changes(made))
        ends_well(made)
    assert all(
        f2 <= f1 + 2 and m2 <= m1 * MOST_GROWTH
        for (f1, m1), (f2, m2) in zip(before, after, strict=True)
    )
    tell(made, before, after)


def ends_well(site: Site) -> None:
    """Everything reaches the tix-api, after a last wave that wakes what had to wait."""
    set_back_pauses(site.base)
    site.wave()
    until(lambda: not kept(site.base), WAVE_SECONDS)
    for role in (*site.workers.values(), site.dispatcher):
        assert role.ends()[0] == 0
    assert list(on_disk(site.base)) == temporary_files(site.base) == []
    assert not site.direct.exists("tixd.dead")


def tell(site: Site, before: list[tuple[int, int]], after: list[tuple[int, int]]) -> None:
    """What there is to know of the run."""
    posted = at_api(site.api)
    twice = len(posted) - len(set(posted))
    again = f"{statistics.median(site.again_seconds):.1f} s, {max(site.again_seconds):.1f} at most"
    sys.stdout.write(
        f"{len(set(posted))} windows, lost 0, twice {twice}; next post {again} after a fault;"
        f" descriptors and bytes of dispatcher and a worker {before} -> {after}\n"
    )
