"""The role collector: bundles come in over HTTP, records go out to the sinks.

In: the configuration. Out: records with every output, until a signal ends it. Rules: it starts
although what the outputs speak to is away; one asyncio loop.

Stop order, and why: 1. listen no more (nothing new to finish); 2. requests in hand are finished, at
most stop_seconds or the time-out (their senders repeat what is not); 3. the outputs, which those
requests needed; 4. the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import tixd
from tixd import bounded, errors, logs
from tixd.collector import profiler
from tixd.collector.publish import SinkGroup
from tixd.collector.server import Server
from tixd.config.collector_settings import CollectorSettings
from tixd.config.loader import CollectorConfig
from tixd.runtime import control_server, signals, tasks
from tixd.runtime.http_server import Listener
from tixd.runtime.startup import exit_now
from tixd.runtime.status import Snapshot, status_line
from tixd.runtime.systemd import Notifier
from tixd.sinks.amqp import AmqpSink
from tixd.sinks.base import Sink
from tixd.sinks.json_lines import LinesSink

if TYPE_CHECKING:
    from tixd.sinks.kafka import KafkaSink

#: How often systemd hears that the loop turns.
TURN_SECONDS = 1.0

#: The word of -pprof that puts it on the collector's own address.
HERE = "on"


def run(loaded: CollectorConfig, reload: Callable[[], CollectorConfig], pprof: str) -> None:
    """Collect until a signal ends it; `pprof`: "", "on" or host:port.

    Raises ConfigError, or CannotStart where an address or the file cannot be had.
    """
    asyncio.run(Collector(loaded, reload, pprof).run())


class Collector:
    """The collector's life."""

    def __init__(
        self, loaded: CollectorConfig, reload: Callable[[], CollectorConfig], pprof: str
    ) -> None:
        self._settings, self._reload, self._pprof = loaded.settings, reload, pprof
        self._systemd = Notifier(loaded.surroundings.notify_socket)
        self._stopping = asyncio.Event()
        self._around = loaded.surroundings
        self._started, self._not_renewed = time.time(), ""

    async def run(self) -> None:
        """Live until SIGTERM or SIGINT."""
        self._listen_to_signals()
        tasks.watch(asyncio.get_running_loop())
        self._outputs = SinkGroup(sinks(self._settings), self._settings.timeout_seconds)
        self._server = server = Server(self._settings, self._outputs, self._not_ready)
        async with (
            self._systemd.following(self._sentence),
            self._running_outputs(),
            self._listening(server),
            self._answering(),
        ):
            watching = tasks.start_loop(server.watch, "watch over connections")
            if not self._stopping.is_set():
                self._systemd.ready(self._sentence())
            while not self._stopping.is_set():
                self._systemd.watchdog()
                if logs.is_file_gone():
                    logs.reopen()
                    logs.warning("log_file_replaced")
                signals.bury_orphans()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TURN_SECONDS):
                        await self._stopping.wait()
            watching.cancel()
        logs.info("ended")
        signals.has_ended()  # while the loop still has its handlers

    @contextlib.asynccontextmanager
    async def _running_outputs(self) -> AsyncIterator[None]:
        await self._outputs.start()
        try:
            yield
        finally:
            await self._outputs.stop()

    @contextlib.asynccontextmanager
    async def _listening(self, server: Server) -> AsyncIterator[None]:
        """Answer HTTP; at the end, let requests in hand be finished."""
        settings = self._settings
        if self._pprof == HERE:
            server.routes.update(profiler.routes())
        listeners = [await server.listen(f"{settings.address}:{settings.port}")]
        try:
            if self._pprof not in ("", HERE):
                listeners.append(await profiler.listen(self._pprof))
            names = ", ".join(sink.name for sink in self._outputs.sinks)
            logs.info("collecting", addresses=_addresses(listeners), outputs=names)
            yield
        finally:
            seconds = min(settings.timeout_seconds, settings.stop_seconds)
            await asyncio.gather(*(listener.stop(seconds) for listener in listeners))

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Answer `tixd status` and `tixd health`."""

        async def status(_: Mapping[str, str]) -> object:
            return {**asdict(self._snapshot()), "not_ready": self._not_ready()}

        asked = await control_server.listen(
            self._around, "collector", {"GET /status": status}, standby=False
        )
        try:
            yield
        finally:
            if asked:
                await asked.stop()

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            version=tixd.__version__,
            role="collector",
            pid=os.getpid(),
            state="stopping" if self._stopping.is_set() else "running",
            moment=time.time(),
            started=self._started,
            period_seconds=0.0,
            open=self._server.admitted_requests,
            counts=self._server.counts.stats(),
            not_renewed=self._not_renewed,
        )

    def _sentence(self) -> str:
        return status_line(self._snapshot(), self._not_ready())

    def _not_ready(self) -> tuple[str, ...]:
        return ("it is stopping",) if self._stopping.is_set() else self._outputs.unready_reasons()

    # --- signals ---------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(self._stop, number))
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        loop.add_signal_handler(signal.SIGUSR1, logs.reopen)
        loop.add_signal_handler(signal.SIGUSR2, _toggle_debug)
        signals.listens()

    def _stop(self, number: int) -> None:
        """The first signal stops in order, the second at once."""
        logs.info("stopping", reason=signal.Signals(number).name)
        if self._stopping.is_set():
            exit_now(0)
        self._stopping.set()
        self._systemd.stopping(self._sentence())

    def _renew(self) -> None:
        """SIGHUP: secrets are read again, the log is reopened."""
        logs.reopen()
        if self._stopping.is_set():
            return
        self._systemd.reloading()
        try:
            self._renew_outputs()
        finally:
            self._systemd.reloaded(self._sentence())

    def _renew_outputs(self) -> None:
        """Give the outputs the secrets of now."""
        try:
            fresh = self._reload().settings
        except errors.ConfigError as error:
            logs.error("secrets_not_read_again", reason=str(error))
            self._not_renewed = bounded.text(f"secrets not read again: {error}")
        else:
            self._not_renewed = ""
            for sink in self._outputs.sinks:
                if isinstance(sink, AmqpSink):
                    sink.reload(fresh)
            logs.info("secrets_read_again")


def sinks(settings: CollectorSettings) -> list[Sink]:
    """The enabled sinks; raises ConfigError where one cannot be."""
    found: list[Sink] = []
    if settings.amqp_enable:
        found.append(AmqpSink(settings))
    if settings.kafka_enable:
        found.append(kafka_sink(settings))
    if settings.file_path:
        found.append(LinesSink(settings.file_path, settings.file_max_bytes, settings.file_keep))
    return found


def kafka_sink(settings: CollectorSettings) -> KafkaSink:
    """The sink for Kafka; raises ConfigError where its library is not installed."""
    try:
        module = import_module("tixd.sinks.kafka")
    except ImportError:
        raise errors.ConfigError(
            "kafka.enable = true: confluent-kafka is not installed: EXTRAS=kafka scripts/install, "
            "or beside tixd: pip install confluent-kafka"
        ) from None
    sink: KafkaSink = module.KafkaSink(settings)
    return sink


def _toggle_debug() -> None:
    logs.toggle_debug()
    logs.info("debug_toggled", on=logs.is_debugging())


def _addresses(listeners: list[Listener]) -> str:
    found = [address for listener in listeners for address in listener.addresses]
    return ", ".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in found
    )
