"""A dispatcher and workers as operators run them, over a broker: processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.broker import Broker
from tests.support.program import until
from tests.support.service import SHORT, Service


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
