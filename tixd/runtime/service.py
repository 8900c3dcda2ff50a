"""The life of a role, the same for all four: one asyncio loop, from its signals to its end.

A role adds its work (`work`), its state (`snapshot`), and what the signals mean to it. Rules: the
first signal to stop stops in order, the second at once; a required task that ends for any reason
ends the role; a role whose control socket cannot be opened works without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import partial
from typing import Any, Generic

import tixd
from tixd import bounded, errors, logs
from tixd.config.loader import AnySettings, Config
from tixd.runtime import control_server, signal_masks, tasks
from tixd.runtime.control_server import Command, ControlSocket
from tixd.runtime.http_server import Listener
from tixd.runtime.status import Snapshot, State, status_line
from tixd.runtime.systemd import Notifier

#: How often a role ticks: systemd's watchdog, orphans, a log file that was removed.
TICK_SECONDS = 1.0


class Service(ABC, Generic[AnySettings]):
    """One role in this process.

    stopping: set once the stop has begun; leader: the process that leads, in words.
    """

    #: How long current requests may take when the HTTP listeners stop.
    http_stop_seconds = 1.0

    def __init__(
        self,
        role: str,
        loaded: Config[AnySettings],
        reload: Callable[[], Config[AnySettings]],
    ) -> None:
        """`reload` reads the configuration again, for SIGHUP."""
        self.settings: AnySettings = loaded.settings
        self.state: State = "starting"
        self.stopping = asyncio.Event()
        self.leader = ""
        self.listeners: list[Listener] = []
        self.systemd = Notifier(loaded.environment.notify_socket)
        self._role = role
        self._environment = loaded.environment
        self._reload: Callable[[], Config[AnySettings]] = reload
        self._reload_error = ""
        self._started = time.time()
        self._control: ControlSocket | None = None
        self._required: list[asyncio.Task[Any]] = []
        self._stop_signals = 0

    # --- what a role adds ------------------------------------------------------------------------

    @abstractmethod
    async def work(self) -> None:
        """Do the role's work until `stopping` is set."""

    @abstractmethod
    async def open_http(self) -> None:
        """Open the HTTP listeners that are not open yet; raises CannotStart."""

    @abstractmethod
    def use_secrets(self, fresh: AnySettings) -> None:
        """Use the secrets of these settings from now on."""

    def snapshot(self) -> Snapshot:
        """Return the current state."""
        return Snapshot(
            version=tixd.__version__,
            role=self._role,
            pid=os.getpid(),
            state=self.state,
            moment=time.time(),
            started=self._started,
            leader=self.leader,
            reload_error=self._reload_error,
            listens=", ".join(self.addresses),
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where HTTP is answered, each as host:port."""
        found = [address for listener in self.listeners for address in listener.addresses]
        return tuple(f"[{host}]:{n}" if ":" in host else f"{host}:{n}" for host, n in found)

    def commands(self) -> Mapping[str, Command]:
        """Return the commands of a running role on the control socket, besides GET /status."""
        return {}

    def kill(self) -> None:
        """End at once what the stop waits for, after a second signal."""

    def is_alive(self) -> bool:
        """Return whether every loop has run since the last tick, for systemd's watchdog."""
        return True

    def children(self) -> Collection[int]:
        """Return the child processes that the role reaps itself."""
        return ()

    # --- from start to end -----------------------------------------------------------------------

    def live(self) -> None:
        """Run the role until a signal ends it; raises CannotStart where that is not possible."""
        asyncio.run(self._live())

    async def _live(self) -> None:
        tasks.watch(asyncio.get_running_loop())
        self._listen_to_signals()
        async with self.systemd.following(self.status_line):
            await self.work()
        logs.info("stopped")
        signal_masks.has_ended()

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer over HTTP, and once a state is entered over the control socket."""
        try:
            await self.open_http()
            yield
        finally:
            await self._close_control()
            seconds = self.http_stop_seconds
            await asyncio.gather(*(listener.stop(seconds) for listener in self.listeners))

    async def enter_standby(self, leader: str) -> None:
        """Report that another process leads, once for each leader."""
        if self.stopping.is_set() or (self.state, self.leader) == ("standing by", leader):
            return
        self.state = "standing by"
        self.leader = leader
        logs.info("standing_by", leader=leader)
        await self._open_control({}, standby=True)
        if not self.stopping.is_set():
            self.systemd.ready(self.status_line())

    async def enter_running(self, **values: object) -> None:
        """Report that the role's work begins; `values` are logged."""
        await self.open_http()
        await self._open_control(self.commands(), standby=False)
        if self.stopping.is_set():
            return
        self.state = "running"
        logs.info("started", role=self._role, **values)
        self.systemd.ready(self.status_line())

    def require(self, task: asyncio.Task[Any]) -> None:
        """End the role when this task ends; `end_required` raises what it ended with."""
        self._required.append(task)
        task.add_done_callback(self._on_required_end)

    def _on_required_end(self, task: asyncio.Task[Any]) -> None:
        if not self.stopping.is_set():
            logs.info("stopping", reason=f"{task.get_name()} has ended")
            self.stop()

    async def end_required(self) -> None:
        """Cancel the required tasks; raise the first exception of one."""
        await tasks.end(*self._required)
        tasks.check(*self._required)

    async def tick(self) -> None:
        """Do what every second needs, then wait for the next second or for the stop."""
        if self.is_alive():
            self.systemd.watchdog()
        if logs.is_file_gone():
            self.reopen_log()
            logs.warning("log_file_replaced")
        signal_masks.reap_orphans(self.children())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self.stopping.wait()

    # --- signals ---------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(self.on_stop_signal, number))
        loop.add_signal_handler(signal.SIGHUP, self.on_reload_signal)
        loop.add_signal_handler(signal.SIGUSR1, self.reopen_log)
        loop.add_signal_handler(signal.SIGUSR2, self.toggle_debug)
        signal_masks.listens()

    def on_stop_signal(self, number: int) -> None:
        """Stop in order at the first SIGTERM or SIGINT, at once at the second.

        The first one does not hurry a stop that began without a signal.
        """
        logs.info("stopping", reason=signal.Signals(number).name)
        self._stop_signals += 1
        if self._stop_signals > 1:
            self.kill()
        elif not self.stopping.is_set():
            self.stop()

    def stop(self) -> None:
        """Begin to stop, in order."""
        self.state = "stopping"
        self.stopping.set()
        self.systemd.stopping(self.status_line())

    def on_reload_signal(self) -> None:
        """Act on SIGHUP.

        1. The log file is reopened. 2. The configuration is read again; if it is wrong, the old
        secrets stay. 3. Its secrets are used, all other settings stay (`use_secrets`): a processing
        role replaces each worker process after its current window and logs in to RabbitMQ anew, a
        collector its AMQP sink. 4. systemd is told. A new AS table needs no SIGHUP.
        """
        self.reopen_log()
        if self.stopping.is_set():
            return
        self.systemd.reloading()
        try:
            fresh = self._reload().settings
        except errors.ConfigError as error:
            logs.error("secrets_reload_failed", reason=str(error))
            self._reload_error = bounded.text(f"secrets not reloaded: {error}")
        else:
            self._reload_error = ""
            self.use_secrets(fresh)
            logs.info("secrets_reloaded")
        finally:
            self.systemd.reloaded(self.status_line())

    def reopen_log(self) -> None:
        """Reopen the log file, which was moved away (SIGUSR1)."""
        logs.reopen()

    def toggle_debug(self) -> None:
        """Log everything, or again only what the settings say (SIGUSR2)."""
        logs.toggle_debug()
        logs.info("debug_toggled", on=logs.is_debugging())

    # --- what others see -------------------------------------------------------------------------

    def status_line(self) -> str:
        """Return the line that `systemctl status` shows."""
        return status_line(self.snapshot())

    async def _open_control(self, commands: Mapping[str, Command], *, standby: bool) -> None:
        """Answer these on the control socket from now on; a stand-by's has its pid in the name."""
        await self._close_control()
        answered = {"GET /status": control_server.status_command(self.snapshot), **commands}
        self._control = await control_server.listen(
            self._environment, self._role, answered, standby=standby
        )

    async def _close_control(self) -> None:
        if self._control:
            await self._control.stop()
            self._control = None
