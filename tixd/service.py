"""The life of the standalone role: start, work, stop.

In: the configuration. Out: installations processed each period until a signal ends it. Rules: one
asyncio loop; after the start the reports volume is touched by workers only; whoever is not the
leader stands by and takes over when the leader's process ends.

Stop order, and why: 1. no new cycle (nothing new to finish); 2. workers end after the window in
hand, jobs not begun stay undone and are found again by the next scan; 3. what still runs at the
deadline is killed (one post may repeat, nothing is lost); 4. HTTP and control socket (so that the
stop can be watched); 5. the leader's lock, so that a stand-by starts when all has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import tixd
from tixd import answers, control, errors, logs
from tixd.config import Config
from tixd.dispatch.dispatcher import Dispatcher
from tixd.dispatch.feed import feed
from tixd.dispatch.job import CheckVolume, Done
from tixd.dispatch.leader import Leadership
from tixd.dispatch.mounts import lock_warning, read_mountinfo
from tixd.dispatch.pool import Pool
from tixd.dispatch.schedule import TICK_SECONDS, Tick
from tixd.folder import Folder
from tixd.leaving import leave
from tixd.presence import Presence
from tixd.queues.local import LocalQueue
from tixd.settings import Settings
from tixd.status import CycleView, Snapshot, State, VolumeView

#: How often the reports volume is asked whether it still answers.
VOLUME_CHECK_SECONDS = 5.0

#: Ends of a job that say nothing of the volume.
_NO_ANSWER = frozenset(
    {"jobs_failed", "jobs_given_up", "jobs_waiting", "jobs_not_begun", "jobs_not_finished"}
)


def live(loaded: Config, reload: Callable[[], Config]) -> None:
    """Run the role that the configuration names until a signal ends it.

    reload: reads the configuration again, for SIGHUP.
    """
    role = loaded.settings.role
    if role != "standalone":
        raise errors.ConfigError(f"role {role}: this version runs only the role standalone")
    standalone = Standalone(loaded, reload)
    asyncio.run(standalone.run())
    if standalone.workers_left:
        leave(0)


def check_reports_folder(settings: Settings) -> None:
    """Look at the reports folder before the start; raises CannotStart where it is missing."""
    base = settings.reports_base_path
    if not os.path.isdir(base):
        raise errors.CannotStart(f"reports folder {base} is not there")
    warning = lock_warning(base, read_mountinfo())
    if warning:
        logs.warning("locks_not_shared", folder=base, reason=warning)


class Standalone:
    """The standalone role."""

    def __init__(self, loaded: Config, reload: Callable[[], Config]) -> None:
        self._settings, self._around, self._reload = loaded.settings, loaded.surroundings, reload
        self._presence = Presence(loaded, self.snapshot)
        self._started = time.time()
        self._state: State = "starting"
        self._leader = ""
        self._volume = VolumeView()
        self._queue = LocalQueue()
        self._pool: Pool | None = None
        self._dispatcher: Dispatcher | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Live until SIGTERM or SIGINT; raises CannotStart where that is not possible."""
        check_reports_folder(self._settings)
        self._listen_to_signals()
        with Leadership(self._settings.schedule_dir) as leadership:
            await self._presence.start()
            try:
                await self._become_leader(leadership)
                if not self._stopping.is_set():
                    await self._lead()
            finally:
                await self._presence.stop()
        logs.info("ended")

    @property
    def workers_left(self) -> bool:
        """Whether worker processes outlive the pool, which could not end them."""
        return bool(self._pool and self._pool.workers)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(self._stop, number))
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_log)
        loop.add_signal_handler(signal.SIGUSR2, self._toggle_debug)

    def _stop(self, number: int) -> None:
        """The first signal stops in order, the second at once."""
        logs.info("stopping", reason=signal.Signals(number).name)
        self._presence.systemd.stopping("stopping after the windows in hand")
        if self._stopping.is_set() and self._pool:
            self._pool.kill()
        self._stopping.set()

    def _renew(self) -> None:
        """SIGHUP: secrets are read again, workers begin anew with them, logs are reopened."""
        self._presence.systemd.reloading()
        self._reopen_log()
        try:
            fresh = self._reload().settings
        except errors.ConfigError as error:
            logs.error("secrets_not_read_again", reason=str(error))
        else:
            self._settings = replace(
                self._settings, api_password=fresh.api_password, api_proxy=fresh.api_proxy
            )
            if self._pool:
                self._pool.renew(self._settings)
            logs.info("secrets_read_again")
        self._presence.systemd.ready(self._state)

    def _reopen_log(self) -> None:
        logs.reopen()
        if self._pool:
            self._pool.signal_workers(signal.SIGUSR1)

    def _toggle_debug(self) -> None:
        logs.toggle_debug()
        logs.info("debug_toggled", on=logs.is_debugging())
        if self._pool:
            self._pool.signal_workers(signal.SIGUSR2)

    async def _become_leader(self, leadership: Leadership) -> None:
        """Return when this process leads, or is to stop."""
        while not leadership.take() and not self._stopping.is_set():
            self._leader = leadership.leader()
            if self._state != "standing by":
                self._state = "standing by"
                logs.info("standing_by", leader=self._leader)
                await self._presence.answer(answers.status_alone(self.snapshot), standby=True)
                self._presence.systemd.ready(f"standing by for {self._leader}")
            self._presence.systemd.watchdog()
            await self._pause()

    async def _lead(self) -> None:
        self._leader = f"pid {os.getpid()}"
        base = self._settings.reports_base_path
        await self._presence.start()
        async with Pool(self._settings, control.runtime_folder(self._around)) as self._pool:
            handlers = answers.handlers(self._pool, base, self.snapshot)
            await self._presence.answer(handlers, standby=False)
            with Folder(self._settings.schedule_dir, follow=True) as folder:
                self._dispatcher = Dispatcher(
                    self._settings, self._pool, self._queue, folder, self._presence.metrics.add
                )
                self._state = "running"
                logs.info("running", workers=self._pool.size, reports=base)
                self._presence.systemd.ready(f"running, {self._pool.size} workers")
                await self._work(self._pool, self._dispatcher)

    async def _work(self, pool: Pool, dispatcher: Dispatcher) -> None:
        """Tick until told to stop; then the stop order."""
        feeding = asyncio.ensure_future(feed(self._queue, pool, self._heard, patient=True))
        checking = asyncio.ensure_future(self._check_volume(pool))
        try:
            await self._tick(pool, dispatcher, feeding)
        finally:
            self._state = "stopping"
            await dispatcher.stop()
            checking.cancel()
            await pool.stop(self._settings.stop_seconds)
            feeding.cancel()
            await asyncio.wait([feeding, checking])
        if not feeding.cancelled():
            feeding.result()

    async def _tick(
        self, pool: Pool, dispatcher: Dispatcher, feeding: asyncio.Future[None]
    ) -> None:
        """Once a second: is a cycle due? systemd hears that tick and supervision still turn."""
        tick, turns = Tick(dispatcher.tick), -1
        dispatcher.tick()
        while not self._stopping.is_set() and not feeding.done():
            tick.run_pending()
            if pool.turns > turns:
                turns = pool.turns
                self._presence.systemd.watchdog()
            await self._pause()

    async def _pause(self) -> None:
        """A second, or less when told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)

    async def _check_volume(self, pool: Pool) -> None:
        """Ask the reports volume again and again; how old its answer is tells whether it hangs."""
        while True:
            with contextlib.suppress(errors.CannotStart):  # then no worker is ready, which is said
                done = await pool.submit(CheckVolume(self._settings.reports_base_path))
                free_bytes = done.found[0][0] if done.found else None
                self._volume = VolumeView(time.time(), done.failure, free_bytes)
            await asyncio.sleep(VOLUME_CHECK_SECONDS)

    def _heard(self, done: Done) -> None:
        """A job has ended: count what happened; the volume has answered."""
        self._presence.metrics.heard(done.counts)
        if not _NO_ANSWER & done.counts.keys():
            self._volume = replace(self._volume, answered=time.time())

    def snapshot(self) -> Snapshot:
        """How things are now."""
        metrics = self._presence.metrics
        if self._pool:
            metrics.ended(self._pool.restarts)
        return Snapshot(
            version=tixd.__version__,
            role=self._settings.role,
            pid=os.getpid(),
            state=self._state,
            moment=time.time(),
            started=self._started,
            period_seconds=self._settings.processing_period_minutes * 60.0,
            leader=self._leader,
            waiting=self._queue.waiting,
            open=self._queue.open,
            workers=answers.worker_views(self._pool) if self._pool else (),
            volume=self._volume,
            cycle=self._dispatcher.view() if self._dispatcher else CycleView(),
            counts=metrics.counts,
        )
