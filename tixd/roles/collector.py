"""The role collector: bundles come in over HTTP, records go out to the sinks.

Rules: it starts although brokers are away.

Stop order, and why: 1. listen no more (nothing new to finish); 2. current requests are finished, in
at most stop_seconds or the time-out (senders repeat the others); 3. the sinks, which those requests
needed; 4. the log.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from tixd import errors
from tixd.collector import profiler
from tixd.collector.publish import SinkGroup
from tixd.collector.server import Server
from tixd.config.collector_settings import CollectorSettings
from tixd.config.loader import CollectorConfig
from tixd.history import store
from tixd.history.senders import SENDERS, SenderLog
from tixd.history.writer import HistoryWriter, running
from tixd.page.handler import PageHandler
from tixd.runtime import allocator, tasks
from tixd.runtime.http_server import EVERY_OTHER, METRICS
from tixd.runtime.service import Service
from tixd.runtime.startup import exit_now
from tixd.runtime.status import Snapshot
from tixd.sinks.amqp import AmqpSink
from tixd.sinks.base import Sink
from tixd.sinks.json_lines import LinesSink

if TYPE_CHECKING:
    from tixd.sinks.kafka import KafkaSink

#: The value of -pprof for the collector's own address.
OWN_ADDRESS = "on"


def run(loaded: CollectorConfig, reload: Callable[[], CollectorConfig], pprof: str) -> None:
    """Collect until a signal ends it; `pprof`: "", "on" or host:port.

    Raises ConfigError, or CannotStart where an address or the file is not available.
    """
    allocator.give_large_blocks_back()
    Collector(loaded, reload, pprof).live()


class Collector(Service[CollectorSettings]):
    """The collector."""

    def __init__(
        self, loaded: CollectorConfig, reload: Callable[[], CollectorConfig], pprof: str
    ) -> None:
        super().__init__("collector", loaded, reload)
        settings = loaded.settings
        self.http_stop_seconds = min(settings.timeout_seconds, settings.stop_seconds)
        self._sinks = SinkGroup(sinks(settings), settings.timeout_seconds)
        self._senders = SenderLog()
        self._history = self._history_writer()
        self._server = Server(
            settings,
            self._sinks,
            lambda: self.snapshot().unready_reasons(),
            self._senders if self._history else None,
        )
        self._pprof = pprof

    async def work(self) -> None:
        """Collect until the stop."""
        async with self._recording(), self._running_sinks(), self.answering():
            self.require(tasks.start_loop(self._server.watch, "watch over connections"))
            names = ", ".join(sink.name for sink in self._sinks.sinks)
            await self.enter_running(addresses=", ".join(self.addresses), outputs=names)
            while not self.stopping.is_set():
                await self.tick()
                self._record()
        await self.end_required()

    def _history_writer(self) -> HistoryWriter | None:
        """Make the history that the settings name; None: they want none."""
        settings = self.settings
        path = store.path_of(
            settings.history, self._environment.state_folder, store.COLLECTOR_FILE_NAME
        )
        limits = store.Limits(settings.history_days, settings.history_max_mb * 10**6)
        return HistoryWriter(path, [SENDERS], limits) if path else None

    def _record(self) -> None:
        """Put what was seen of senders since the last call into the history."""
        if self._history and (batch := self._senders.take()):
            self._history.put(SENDERS.name, batch)

    @contextlib.asynccontextmanager
    async def _recording(self) -> AsyncIterator[None]:
        async with running(self._history):
            try:
                yield
            finally:
                self._record()

    @contextlib.asynccontextmanager
    async def _running_sinks(self) -> AsyncIterator[None]:
        await self._sinks.start()
        try:
            yield
        finally:
            await self._sinks.stop()

    async def open_http(self) -> None:
        """Listen for bundles, and for the profiler where it has an address of its own."""
        if self.listeners:
            return
        self._add_pages()
        if self._pprof == OWN_ADDRESS:
            self._server.routes.update(profiler.routes())
        address = f"{self.settings.address}:{self.settings.port}"
        self.listeners.append(await self._server.listen(address))
        if self.settings.admin_address not in ("", "off"):
            admin = await self._server.listen_for_admin(self.settings.admin_address)
            self.listeners.append(admin)
        if self._pprof not in ("", OWN_ADDRESS):
            self.listeners.append(await profiler.listen(self._pprof))

    def _add_pages(self) -> None:
        """Answer every path that is none of the collector's own."""
        pages = PageHandler(self.snapshot, lambda: self.settings.page_token, "TIX_PAGE_TOKEN")
        routes = self._server.routes
        if not self.settings.metrics_open:
            routes[METRICS] = pages.guarded(routes[METRICS])
        routes[f"GET {EVERY_OTHER}"] = pages.answer

    def snapshot(self) -> Snapshot:
        """Return the current state."""
        return replace(
            super().snapshot(),
            open=self._server.admitted_requests,
            counts=self._server.counts.stats(),
            sink_problems=self._sinks.unready_reasons(),
            outputs=self._sinks.views(),
            bundles=self._server.outcomes.view(),
            shares_port=self.settings.reuse_port,
            history=self._history.view() if self._history else None,
        )

    def kill(self) -> None:
        """End at once: senders repeat requests without an answer."""
        exit_now(0)

    def use_secrets(self, fresh: CollectorSettings) -> None:
        """Use these secrets for the page, and give the sinks theirs."""
        self.settings = replace(self.settings, page_token=fresh.page_token)
        for sink in self._sinks.sinks:
            if isinstance(sink, AmqpSink):
                sink.reload(fresh)


def sinks(settings: CollectorSettings) -> list[Sink]:
    """Return the enabled sinks; raises ConfigError where one cannot be."""
    found: list[Sink] = []
    if settings.amqp_enable:
        found.append(AmqpSink(settings))
    if settings.kafka_enable:
        found.append(kafka_sink(settings))
    if settings.file_path:
        found.append(LinesSink(settings.file_path, settings.file_max_bytes, settings.file_keep))
    return found


def kafka_sink(settings: CollectorSettings) -> KafkaSink:
    """Return the sink for Kafka; raises ConfigError where its library is not installed."""
    try:
        module = import_module("tixd.sinks.kafka")
    except ImportError:
        raise errors.ConfigError(
            "kafka.enable = true: confluent-kafka is not installed: EXTRAS=kafka scripts/install, "
            "or beside tixd: pip install confluent-kafka"
        ) from None
    sink: KafkaSink = module.KafkaSink(settings)
    return sink
