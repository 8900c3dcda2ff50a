"""A dispatcher and workers over a broker that a test breaks, and installations that come anew."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import made
from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.program import until
from tests.support.service import SHORT, Service
from tests.support.stand_in_api import Behaviour, StandInApi


class Fleet:
    """Starts roles; `base`: the reports, `state`: holds a folder of each process's own."""

    def __init__(self, base: Path, state: Path, api_port: int, broker_port: int) -> None:
        self._base, self._state, self._api_port = base, state, api_port
        self._variables = {
            "TIX_RABBITMQ_HOST": "127.0.0.1",
            "TIX_RABBITMQ_PORT": str(broker_port),
            "TIX_PROCESSING_PERIOD": SHORT,
        }

    def dispatcher(self, name: str = "d", **variables: Any) -> Service:
        """A dispatcher, which has been started; it sees the reports unless told otherwise."""
        return self._start(name, PROCESSOR_TYPE="BEAT", **variables)

    def worker(self, name: str = "w", **variables: Any) -> Service:
        """A worker host, which has been started."""
        return self._start(name, PROCESSOR_TYPE="WORKER", **variables)

    def _start(self, name: str, **variables: Any) -> Service:
        options = {**self._variables, **variables}
        return Service(self._base, self._state / name, self._api_port, **options)


@contextmanager
def fleet(
    base: Path, state: Path, api_port: int, broker: Broker
) -> Iterator[tuple[Service, Service]]:
    """A dispatcher and a worker that are ready."""
    starting = Fleet(base, state, api_port, broker.port)
    with starting.worker() as worker, starting.dispatcher() as dispatcher:
        until(lambda: is_ready(worker) and is_ready(dispatcher))
        yield dispatcher, worker


def is_ready(role: Service) -> bool:
    """Whether /readyz says so."""
    assert role.poll() is None, role.log_file.read_text()
    return role.get("/readyz")[0] == 200


#: First epoch second of every made installation.
START = 1_700_000_000

#: How long anything may take that takes a second or two on a machine with nothing else to do.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """Both roles, what they speak to, and the reports."""

    broker: Broker
    api: StandInApi
    base: Path
    dispatcher: Service
    worker: Service
    users: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def direct(self) -> Direct:
        """A look into the broker's queues."""
        return Direct(self.broker.port)

    @property
    def roles(self) -> tuple[Service, Service]:
        """Both."""
        return self.dispatcher, self.worker

    def add(self) -> int:
        """One more user with one window; the user's id."""
        user = next(self.users)
        made.installation(self.base, START, user=user, number=1)
        return user

    def posts(self, user: int) -> int:
        """How many results of this user the tix-api has taken."""
        return sum(post.user == user for post in self.api.accepted)

    def works(self) -> None:
        """Wait until a window that comes now is posted, and both roles are ready."""
        user = self.add()
        until(lambda: self.posts(user), PATIENCE)
        self.ready()
        assert self.posts(user) == 1

    def ready(self) -> None:
        """Wait until both roles say that they are."""
        until(lambda: all(is_ready(role) for role in self.roles), PATIENCE)

    def not_ready(self, role: Service, words: str) -> str:
        """Wait until the role says that it is not, with these words; all of what it says."""
        until(lambda: words in role.get("/readyz", 5)[1], PATIENCE)
        assert role.get("/readyz", 5)[0] == 503
        assert role.get("/healthz", 5)[0] == 200
        return role.get("/readyz", 5)[1]


@contextmanager
def site(state: Path, broker: Broker, port: int = 0, **variables: str) -> Iterator[Site]:
    """Both roles, ready; port: where they find the broker, if not where it listens."""
    (state / "reports").mkdir(parents=True)
    with StandInApi() as api:
        starting = Fleet(state / "reports", state, api.port, port or broker.port)
        options = PATIENT | variables
        with starting.worker(**options) as worker, starting.dispatcher(**options) as dispatcher:
            running = Site(broker, api, state / "reports", dispatcher, worker)
            running.ready()
            yield running


#: For a job that the tix-api holds up.
PATIENT = {"TIX_API_READ_SECONDS": "100", "TIX_API_TOTAL_SECONDS": "100"}

#: The same, where each worker process posts for one installation at a time and has a second job at
#: hand: a few users are enough for messages that wait.
ONE_POST = PATIENT | {"TIX_POSTS_IN_FLIGHT": "1"}


def seconds_until(condition: Callable[[], object], what: str) -> float:
    """Wait, and print how long it took."""
    begun = time.monotonic()
    until(condition, PATIENCE)
    sys.stdout.write(f"{what}: {time.monotonic() - begun:.1f} s\n")
    return time.monotonic() - begun


class Answer(threading.Event):
    """What posts wait for; `users`: of whom one has come."""

    def __init__(self) -> None:
        super().__init__()
        self.users: set[int] = set()


@contextmanager
def held(api: StandInApi) -> Iterator[Answer]:
    """The tix-api takes posts and answers none until the event is set, or the block ends."""
    answer = Answer()

    def decide(user: int, *_: object) -> Behaviour:
        answer.users.add(user)
        answer.wait(2 * PATIENCE)
        return Behaviour()

    api.answer(decide)
    try:
        yield answer
    finally:
        answer.set()
        api.answer(Behaviour())


def open_messages(role: Service) -> int:
    """How many messages the role has without an answer; -1 while it does not tell."""
    return int(role.status().get("open", -1))


def counted(role: Service, name: str) -> int:
    """How often that has happened, once the role tells."""
    return int(role.told()["counts"].get(name, 0))
