"""The life of a role, as far as all roles that process reports live alike.

In: the configuration. Out: a Service, for the role to use: settings, signals, presence, pool, the
picture that others see. Rules: one asyncio loop; after the start the reports volume is touched by
workers only; the first signal to stop stops in order, the second at once.

What the roles that speak RabbitMQ have in common.

Until a process leads, on its host: the kernel lock of the schedule folder.

In: a Service, the lock. Out: whether this process leads now. Rules: who does not lead asks once a
second, and says who does.

What roles with workers have in common: jobs from a queue, and an eye on the reports volume.

In: a Service, a queue, a pool. Out: jobs done. Rules: at the end no worker begins another job, and
what was not begun goes back, before the queue is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import tixd
from tixd import bounded, errors, logs
from tixd.amqp.messages import Endpoint, Tls
from tixd.config.loader import ProcessingConfig
from tixd.config.settings import Settings
from tixd.dispatch.consumer import consume
from tixd.dispatch.leader import HostLock
from tixd.dispatch.scheduler import TICK_SECONDS, Scheduler
from tixd.jobs import CheckVolume, JobResult
from tixd.pool.pool import Pool
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG
from tixd.queues.base import JobSource
from tixd.roles import control_commands
from tixd.runtime import control, signals, tasks
from tixd.runtime.service import Presence
from tixd.runtime.startup import exit_now
from tixd.runtime.status import (
    ApiView,
    BrokerView,
    CycleView,
    Snapshot,
    State,
    VolumeView,
    status_line,
)

#: How often the reports volume is asked whether it still answers.
VOLUME_CHECK_SECONDS = 5.0

#: Ends of a job that say nothing of the volume.
_NO_ANSWER = frozenset(
    {"jobs_failed", "jobs_given_up", "jobs_waiting", "jobs_not_begun", "jobs_not_finished"}
)

#: Ends of a job in which the tix-api has taken something.
_POSTED = frozenset({"windows_posted", "results_reposted"})

#: Settings that SIGHUP reads again; the others need a restart.
_SECRETS = ("api_password", "api_proxy", "rabbitmq_password")


class Service:
    """What every role has; a role sets the public members that concern it.

    queue_lengths: how many jobs wait, and are open, here; broker: how the broker is; renewed: told
    after secrets were read again; leader: who leads, in words; keep: called every second, to keep
    what makes it the leader.
    """

    def __init__(self, loaded: ProcessingConfig, reload: Callable[[], ProcessingConfig]) -> None:
        self.settings = loaded.settings
        self.presence = Presence(loaded, self.snapshot)
        self.stopping = asyncio.Event()
        self.leader = ""
        self.dispatcher: Scheduler | None = None
        self.pool: Pool | None = None
        self.queue_lengths: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.broker: Callable[[], BrokerView | None] = lambda: None
        self.renewed: Callable[[], None] = lambda: None
        self.keep: Callable[[], None] = lambda: None
        self._around, self._reload = loaded.surroundings, reload
        self._started = time.time()
        self._state: State = "starting"
        self._volume, self._api = VolumeView(), ApiView()
        self._turns, self._not_renewed = -1, ""

    def live(self, role: Callable[[Service], Awaitable[None]]) -> None:
        """Run the role until a signal ends it; raises CannotStart where that is not possible."""
        asyncio.run(self._live(role))
        if self.pool and self.pool.workers:
            exit_now(0)

    async def _live(self, role: Callable[[Service], Awaitable[None]]) -> None:
        tasks.watch(asyncio.get_running_loop())
        self._listen_to_signals()
        async with self.presence.systemd.following(self._sentence):
            await role(self)
        logs.info("ended")
        signals.has_ended()  # while the loop still has its handlers

    @contextlib.asynccontextmanager
    async def seen(self) -> AsyncIterator[None]:
        """Answer over HTTP and the control socket until the end."""
        await self.presence.start()
        try:
            yield
        finally:
            await self.presence.stop()

    # --- signals ---------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(self._stop, number))
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_log)
        loop.add_signal_handler(signal.SIGUSR2, self._toggle_debug)
        signals.listens()

    def _stop(self, number: int) -> None:
        """The first signal stops in order, the second at once."""
        logs.info("stopping", reason=signal.Signals(number).name)
        if self.stopping.is_set() and self.pool:
            self.pool.kill()
        elif self.pool:
            self.pool.stopping = True  # `systemctl kill` tells its workers too
        self.stopping.set()
        self._state = "stopping"
        self.presence.systemd.stopping(self._sentence())

    def _renew(self) -> None:
        """SIGHUP: secrets are read again, workers begin anew with them, logs are reopened."""
        self._reopen_log()
        if self.stopping.is_set():
            return
        self.presence.systemd.reloading()
        try:
            fresh = self._reload().settings
        except errors.ConfigError as error:
            logs.error("secrets_not_read_again", reason=str(error))
            self._not_renewed = bounded.text(f"secrets not read again: {error}")
        else:
            self._not_renewed = ""
            secrets = {name: getattr(fresh, name) for name in _SECRETS}
            self.settings = replace(self.settings, **secrets)
            if self.pool:
                self.pool.reload(self.settings)
            self.renewed()
            logs.info("secrets_read_again")
        self.presence.systemd.reloaded(self._sentence())

    def _reopen_log(self) -> None:
        logs.reopen()
        if self.pool:
            self.pool.signal_workers(REOPEN_LOG)

    def _toggle_debug(self) -> None:
        logs.toggle_debug()
        if self.pool:
            self.pool.signal_workers(TOGGLE_DEBUG)
        logs.info("debug_toggled", on=logs.is_debugging())

    # --- states ----------------------------------------------------------------------------------

    async def enter_standby(self, leader: str) -> None:
        """Somebody else leads: say so, once for each leader."""
        if self.stopping.is_set() or (self._state, self.leader) == ("standing by", leader):
            return
        self._state, self.leader = "standing by", leader
        logs.info("standing_by", leader=leader)
        await self.presence.answer(control_commands.status_alone(self.snapshot), standby=True)
        if not self.stopping.is_set():
            self.presence.systemd.ready(self._sentence())

    async def run(self, pool: Pool) -> None:
        """The role's work begins: say so to all who ask."""
        base = self.settings.reports_base_path
        await self.presence.start()
        commands = control_commands.commands(pool, base, self.snapshot)
        await self.presence.answer(commands, standby=False)
        if self.stopping.is_set():
            return
        self._state = "running"
        logs.info("running", workers=pool.size, reports=base)
        self.presence.systemd.ready(self._sentence())

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Pool]:
        """The pool of the role; finish() ends it in order."""
        async with Pool(self.settings, control.runtime_folder(self._around)) as self.pool:
            yield self.pool

    async def finish(self, pool: Pool) -> None:
        """No more jobs; those in hand have their time."""
        self._state = "stopping"
        await pool.stop(self.settings.stop_seconds)

    async def turn(self) -> None:
        """A second, or less when told to stop; systemd hears that loop and supervision turn."""
        if not self.pool or self.pool.supervision_ticks > self._turns:
            self._turns = self.pool.supervision_ticks if self.pool else self._turns
            self.presence.systemd.watchdog()
        self.keep()
        if logs.is_file_gone():
            self._reopen_log()
            logs.warning("log_file_replaced")
        workers = self.pool.workers if self.pool else ()
        signals.bury_orphans({worker.pid for worker in workers})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), TICK_SECONDS)

    # --- what is heard ---------------------------------------------------------------------------

    async def check_volume(self, pool: Pool) -> None:
        """Ask the reports volume again and again; how old its answer is tells whether it hangs."""
        while True:
            with contextlib.suppress(errors.CannotStart):  # then no worker is ready, which is said
                done = await pool.submit(CheckVolume(self.settings.reports_base_path))
                found = done.rows[0] if done.rows else ()
                before, self._volume = self._volume, VolumeView(time.time(), done.failure, *found)
                if done.failure and done.failure != before.error:
                    logs.error("volume_not_usable", reason=done.failure)
                elif before.error and not done.failure:
                    logs.info("volume_usable")
            await asyncio.sleep(VOLUME_CHECK_SECONDS)

    def on_job_done(self, done: JobResult) -> None:
        """A job has ended: count what happened; volume and tix-api may have answered."""
        self.presence.metrics.heard(done.counts)
        if not _NO_ANSWER & done.counts.keys():
            self._volume = replace(self._volume, answered=time.time())
        if _POSTED & done.counts.keys():
            self._api = ApiView(posted=time.time())
        if done.unposted_reason:
            since = self._api.kept_since or time.time()
            self._api = replace(self._api, kept_since=since, reason=done.unposted_reason)

    def snapshot(self) -> Snapshot:
        """How things are now."""
        metrics = self.presence.metrics
        if self.pool:
            metrics.ended(self.pool.restarts)
        waiting, opened = self.queue_lengths()
        return Snapshot(
            version=tixd.__version__,
            role=self.settings.role,
            pid=os.getpid(),
            state=self._state,
            moment=time.time(),
            started=self._started,
            period_seconds=self.settings.processing_period_minutes * 60.0,
            leader=self.leader,
            waiting=waiting,
            open=opened,
            workers=control_commands.worker_views(self.pool) if self.pool else (),
            volume=self._volume,
            broker=self.broker(),
            api=self._api,
            cycle=self.dispatcher.view() if self.dispatcher else CycleView(),
            counts=metrics.counts,
            not_renewed=self._not_renewed,
        )

    def _sentence(self) -> str:
        now = self.snapshot()
        return status_line(now, now.not_ready())


def endpoint(settings: Settings) -> Endpoint:
    """Where RabbitMQ is, and who we are there."""
    files = (settings.rabbitmq_ca_file, settings.rabbitmq_cert_file, settings.rabbitmq_key_file)
    return Endpoint(
        host=settings.rabbitmq_host,
        port=settings.rabbitmq_port,
        user=settings.rabbitmq_user,
        password=settings.rabbitmq_password,
        vhost=settings.rabbitmq_vhost,
        tls=Tls(*files) if settings.rabbitmq_tls else None,
    )


async def wait_for_leadership(service: Service, lock: HostLock) -> bool:
    """Return when this process leads (True), or is to stop (False)."""
    while not lock.acquire():
        await service.enter_standby(lock.holder())
        await service.turn()
        if service.stopping.is_set():
            return False
    service.leader = f"pid {os.getpid()}"
    service.keep = lock.keep
    return not service.stopping.is_set()


@contextlib.asynccontextmanager
async def working(
    service: Service, queue: JobSource, pool: Pool
) -> AsyncIterator[asyncio.Future[Any]]:
    """Feed the workers; the future is done only if one of the tasks ends, which ends the role.

    Raises the exception of that task.
    """
    feeding = tasks.start(
        consume(queue, pool, service.on_job_done, retry_on_start_failure=True),
        "feeding of the workers",
    )
    checking = tasks.start(service.check_volume(pool), "checking of the volume")
    needed = [feeding, checking, pool.supervision]
    first = asyncio.wait(needed, return_when=asyncio.FIRST_COMPLETED)
    ended = tasks.start(first, "waiting for the end of a task")
    try:
        yield ended
    finally:
        checking.cancel()
        await service.finish(pool)
        await tasks.end(ended, *needed)
    tasks.check(*needed)
