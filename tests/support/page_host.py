"""Pages of a role that a test makes up, served on the loopback by a loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.support.service import snapshot
from tixd.config.fields import Secret
from tixd.page.handler import PageHandler
from tixd.runtime.http_server import EVERY_OTHER, METRICS, bind_address, health_routes, serve
from tixd.runtime.status import (
    ApiView,
    BrokerView,
    BundlesView,
    CycleView,
    HistoryView,
    OutputView,
    QueueView,
    Snapshot,
    VolumeView,
    WorkerView,
)


@dataclass(slots=True)
class Host:
    """What is served: `role` is how it is, whatever the time."""

    role: Snapshot
    token: str = ""
    address: str = ""

    def now(self) -> Snapshot:
        """The role as it is served."""
        return self.role


@contextlib.contextmanager
def hosting(role: Snapshot, token: str = "") -> Iterator[Host]:
    """Serve the pages of this role while the block runs."""
    host, ready = Host(role, token), threading.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        handler = PageHandler(host.now, lambda: Secret(host.token), "TIX_PAGE_TOKEN")
        routes = health_routes(lambda: host.now().unready_reasons(), lambda: b"")
        routes[METRICS] = handler.guarded(routes[METRICS])
        sockets = await bind_address("127.0.0.1:0")
        listener = await serve(sockets, {**routes, f"GET {EVERY_OTHER}": handler.answer})
        host.address = "{}:{}".format(*listener.addresses[0])
        ready.set()
        await stopping.wait()
        await listener.stop()

    stopping = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="host")
    thread.start()
    try:
        assert ready.wait(60)
        yield host
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


# --- roles in some states ------------------------------------------------------------------------


def well(file: str = "", **changes: Any) -> Snapshot:
    """A standalone role that works, with the history in this file."""
    now = time.time()
    summary = {"installations": 40, "results_kept": 0, "kept": 0, "silent": 0, "blocked": 0}
    summary |= {"silent_day": 0, "set_aside": 0}
    members: dict[str, Any] = {
        "moment": now,
        "started": now - 93_784,
        "leader": "pid 77",
        "waiting": 3,
        "open": 5,
        "workers": (
            WorkerView(78, True, "12345/67890", "post", 2.0, busy=True),
            WorkerView(79, True, "", "", 12.0),
        ),
        "volume": VolumeView(now - 3, free_bytes=7 * 2**30, asn_built=int(now - 5 * 86_400)),
        "api": ApiView(posted=now - 4, address="https://tix-api.example:443"),
        "cycle": CycleView(2_993_456, now - 340, 0.25, None, now + 260),
        "history": HistoryView(file, size_bytes=7 * 2**20, summary=summary) if file else None,
        "listens": "127.0.0.1:8889, [::1]:8889",
        "reports": "/srv/tix/reports",
        "version": "0.1.0",
    }
    return snapshot(**{**members, **changes})


def states(file: str) -> dict[str, Snapshot]:
    """A role in each state that a page shows, by its name."""
    role = well(file)
    now = role.moment
    history = role.history or HistoryView("")
    summary = {
        **history.summary,
        "results_kept": 48,
        "kept": 4,
        "kept_first": ["1/1", "1/2", "2/1"],
    }
    away = "amqp://rabbit.example:5672/: Connection refused; see TIX_RABBITMQ_HOST"
    broker = BrokerView("", now - 2, "amqp://rabbit.example:5672/")
    queue = QueueView("celery", 12, 3)
    reason = "HTTP 503 Service Unavailable"
    return {
        "well": role,
        "kept": replace(
            role,
            api=ApiView(now - 4000, now - 3700, reason, "https://tix-api.example:443"),
            history=replace(history, summary=summary),
        ),
        "starting": replace(
            role, state="starting", started=now - 1, workers=(), history=None, leader=""
        ),
        "standing by": replace(
            role, state="standing by", leader="pid 4711 on otherhost", workers=(), history=None
        ),
        "unready": replace(
            role,
            workers=(WorkerView(78, False, "", "", 30.0),),
            volume=VolumeView(now - 300, "", 2**19, 0),
            reload_error="secrets not reloaded: environment TIX_API_PORT: must be a number",
        ),
        "broker away": replace(
            role, role="dispatcher", broker=replace(broker, reason=away), workers=role.workers[1:]
        ),
        "nobody works": replace(
            role,
            role="dispatcher",
            broker=broker,
            queue=replace(queue, consumers=0, unattended_since=now - 900),
            workers=role.workers[1:],
        ),
        "dispatcher": replace(role, role="dispatcher", broker=broker, queue=queue),
        "worker": replace(role, role="worker", broker=broker, queue=queue, history=None),
        "no history": replace(role, history=None),
        "history not written": replace(
            role, history=replace(history, reason="no space is left on the volume; free some")
        ),
        "collector": _collector(now),
    }


def _collector(now: float) -> Snapshot:
    refusal = "no confirm within 5 s"
    return snapshot(
        role="collector",
        moment=now,
        started=now - 7300,
        workers=(),
        counts={"Records": 12_345, "Requests": 678, "RequestErrors": 3},
        outputs=(
            OutputView("AMQP", "amqp://rabbit.example:5672/, exchange gracc", "", now - 2),
            OutputView("file", "/var/lib/tixd/records", "", now - 9, now - 900, refusal),
        ),
        bundles=BundlesView(now - 5),
        listens="127.0.0.1:8888",
    )
