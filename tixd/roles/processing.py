"""The common part of the roles that process reports: pool, reports volume, leader, metrics.

Rules: after the start only workers touch the reports volume; at the end no worker begins another
job, and what was not begun goes back before the queue is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from tixd import errors, logs
from tixd.amqp.messages import Endpoint, Tls
from tixd.config.loader import ProcessingConfig
from tixd.config.settings import Settings
from tixd.config.values import PROCESSING
from tixd.dispatch.consumer import consume
from tixd.dispatch.control_commands import failed_commands
from tixd.dispatch.leader import HostLock
from tixd.dispatch.scheduler import Scheduler
from tixd.history import store, writer
from tixd.history.cycles import CYCLES, Cycle
from tixd.history.results import results_part
from tixd.jobs import CheckVolume, JobResult, ProcessInstallation, describe
from tixd.page.handler import PageHandler
from tixd.pool.pool import Pool
from tixd.pool.process import WorkerProcess
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG
from tixd.queues.base import JobSource
from tixd.roles.processing_metrics import ProcessingMetrics
from tixd.runtime import control, tasks
from tixd.runtime.control_server import Command
from tixd.runtime.http_server import (
    EVERY_OTHER,
    METRICS,
    Routes,
    bind_address,
    health_routes,
    serve,
)
from tixd.runtime.service import Service
from tixd.runtime.startup import exit_now
from tixd.runtime.status import (
    ApiView,
    BrokerView,
    CycleView,
    QueueView,
    Snapshot,
    VolumeView,
    WorkerView,
)

#: How often the reports volume is probed.
VOLUME_CHECK_SECONDS = 5.0

#: What to do where the HTTP address is taken.
_HTTP_ADVICE = "; if another tixd runs here, give this one another TIX_HTTP_ADDRESS, or off"

#: Outcomes of a job that say nothing about the volume.
_NO_ANSWER = frozenset(
    {"jobs_failed", "jobs_given_up", "jobs_waiting", "jobs_not_begun", "jobs_not_finished"}
)

#: Outcomes of a job in which the tix-api has accepted something.
_POSTED = frozenset({"windows_posted", "results_reposted"})

#: Settings that SIGHUP reads again; the others need a restart.
_SECRETS = tuple(name for name in PROCESSING.fields if PROCESSING.is_secret(name))


class ProcessingService(Service[Settings]):
    """A processing role; its module sets the public members that concern it.

    queue_lengths: how many jobs wait, and are open, here; broker: the state of the broker;
    queue: the queue of jobs in RabbitMQ; leaderless_since: as the status has it; on_reload: called
    after secrets were reloaded; keep_leadership: called every second; on_record: called with what a
    job tells the history.
    """

    def __init__(
        self,
        loaded: ProcessingConfig,
        reload: Callable[[], ProcessingConfig],
        run: Callable[[ProcessingService], Awaitable[None]],
    ) -> None:
        """`run` is the role's work."""
        super().__init__(loaded.settings.role, loaded, reload)
        self.metrics = ProcessingMetrics()
        self.scheduler: Scheduler | None = None
        self.pool: Pool | None = None
        self.queue_lengths: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.broker: Callable[[], BrokerView | None] = lambda: None
        self.queue: Callable[[], QueueView | None] = lambda: None
        self.leaderless_since: Callable[[], float | None] = lambda: None
        self.on_reload: Callable[[], None] = lambda: None
        self.keep_leadership: Callable[[], None] = lambda: None
        self.on_record: Callable[[str], None] = lambda _: None
        self._history: writer.HistoryWriter | None = None
        self._run = run
        self._volume = VolumeView()
        self._answered: float | None = None
        self._volume_notices = logs.RateLimiter()
        self._api = ApiView()
        self._supervised = -1
        self._is_http_refused = False

    def live(self) -> None:
        """Run the role until a signal ends it; do not wait for workers that are stuck."""
        super().live()
        if self.pool and self.pool.workers:
            exit_now(0)

    async def work(self) -> None:
        """Run the role."""
        await self._run(self)

    # --- HTTP and control socket -----------------------------------------------------------------

    async def open_http(self) -> None:
        """Open the HTTP address, unless it is open; another process may have used it before.

        Raises CannotStart where the address of the settings is taken; for the default address only
        logs a warning.
        """
        address = self.settings.http_address_used
        if self.listeners or address == "off":
            return
        try:
            sockets = await bind_address(address, _HTTP_ADVICE)
        except errors.CannotStart as error:
            if self.settings.http_address:
                raise
            if not self._is_http_refused:
                logs.warning("http_address_not_available", address=address, reason=error.detail)
            self._is_http_refused = True
            return
        self.listeners.append(await serve(sockets, _routes(self)))

    def commands(self) -> Mapping[str, Command]:
        """Return the commands for failed results."""
        if not self.pool:
            return {}
        base = self.settings.reports_base_path
        return failed_commands(self.pool, base, self._next_cycle, self.on_job_done)

    def _next_cycle(self) -> float | None:
        """Return the epoch second of the next scan, where this process schedules."""
        return self.scheduler.view().next_due if self.scheduler else None

    # --- signals ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop; workers that end (`systemctl kill` signals them too) are not replaced."""
        if self.pool:
            self.pool.stopping = True
        super().stop()

    def kill(self) -> None:
        """End all workers at once."""
        if self.pool:
            self.pool.kill()

    def use_secrets(self, fresh: Settings) -> None:
        """Use these secrets: replace each worker process after its current window."""
        secrets = {name: getattr(fresh, name) for name in _SECRETS}
        self.settings = replace(self.settings, **secrets)
        if self.pool:
            self.pool.reload(self.settings)
        self.on_reload()

    def reopen_log(self) -> None:
        """Open the log file again, in the workers too."""
        super().reopen_log()
        if self.pool:
            self.pool.signal_workers(REOPEN_LOG)

    def toggle_debug(self) -> None:
        """Turn the debug log on or off, in the workers too."""
        super().toggle_debug()
        if self.pool:
            self.pool.signal_workers(TOGGLE_DEBUG)

    # --- every second ----------------------------------------------------------------------------

    async def tick(self) -> None:
        """Keep the leadership, then tick as every role."""
        self.keep_leadership()
        await super().tick()

    def is_alive(self) -> bool:
        """Return whether the supervision of the workers has run since the last call."""
        before = self._supervised
        if self.pool:
            self._supervised = self.pool.supervision_ticks
        return not self.pool or self._supervised > before

    def children(self) -> Collection[int]:
        """Return the workers, which the pool reaps."""
        return {worker.pid for worker in self.pool.workers} if self.pool else ()

    # --- what others see -------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the current state."""
        if self.pool:
            self.metrics.set_restarts(self.pool.restarts)
        waiting, opened = self.queue_lengths()
        return replace(
            super().snapshot(),
            period_seconds=self.settings.processing_period_minutes * 60.0,
            waiting=waiting,
            open=opened,
            workers=_worker_views(self.pool) if self.pool else (),
            volume=replace(self._volume, answered=in_epoch(self._answered)),
            broker=self.broker(),
            queue=self.queue(),
            leaderless_since=self.leaderless_since(),
            reports=self.settings.reports_base_path,
            api=self._api_view(),
            cycle=self.scheduler.view() if self.scheduler else CycleView(),
            counts=self.metrics.counts,
            history=self._history.view() if self._history else None,
        )

    def _api_view(self) -> ApiView:
        """Return how the tix-api is; without user or password nothing is ever posted."""
        view = replace(self._api, address=self.settings.api_base_url)
        reason = self.settings.not_posting_reason
        if reason and self.settings.role != "dispatcher":  # which posts nothing in any case
            return replace(view, reason=reason, kept_since=view.kept_since or self._started)
        return view

    def on_job_done(self, done: JobResult) -> None:
        """Count what happened in a job; volume and tix-api may have answered."""
        self.metrics.add_job(done.counts)
        if done.record:
            self.on_record(done.record)
        if not _NO_ANSWER & done.counts.keys():
            self._answered = time.monotonic()
        if _POSTED & done.counts.keys():
            self._api = ApiView(posted=time.time())
        if done.unposted_reason:
            since = self._api.kept_since or time.time()
            self._api = replace(self._api, kept_since=since, reason=done.unposted_reason)

    def _on_volume_checked(self, done: JobResult) -> None:
        before = self._volume.error
        facts = done.rows[0] if done.rows else ()
        self._answered = time.monotonic()
        self._volume = VolumeView(None, done.failure, *facts)
        if done.failure != before:
            self._volume_notices = logs.RateLimiter()
        if reason := done.failure:
            now = time.monotonic()
            self._volume_notices.log(
                logs.error, "volume_not_usable", reason, now=now, reason=reason
            )
        elif before:
            logs.info("volume_usable")

    async def _check_volume(self, pool: Pool) -> None:
        """Probe the reports volume regularly; the age of its answer shows whether it hangs."""
        while True:
            with contextlib.suppress(errors.CannotStart):  # reported already: no worker is ready
                done = await pool.submit(CheckVolume(self.settings.reports_base_path))
                self._on_volume_checked(done)
            await asyncio.sleep(VOLUME_CHECK_SECONDS)

    # --- the history -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Write the history while the block runs, unless the settings want none."""
        settings = self.settings
        folder = self._environment.state_folder or settings.schedule_dir
        if path := store.path_of(settings.history, folder):
            limits = store.Limits(settings.history_days, settings.history_max_mb * 10**6)
            period_seconds = settings.processing_period_minutes * 60.0
            parts = (CYCLES, results_part(period_seconds, settings.reports_base_path))
            self._history = writer.HistoryWriter(path, parts, limits)
            self.on_record = self.record
        async with writer.running(self._history):
            yield

    @property
    def records(self) -> bool:
        """Whether there is a history."""
        return self._history is not None

    def record(self, entry: str | bytes) -> None:
        """Put what a job tells, here (text) or on another host (bytes), into the history."""
        if self._history:
            self._history.put("results", entry)

    def record_cycle(self, cycle: Cycle) -> None:
        """Put what is known of a cycle into the history."""
        if self._history:
            self._history.put("cycles", cycle)

    # --- workers and leader ----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Pool]:
        """Start the pool; the role ends if its supervision does."""
        async with Pool(self.settings, control.runtime_folder(self._environment)) as self.pool:
            self.require(self.pool.supervision)
            yield self.pool

    async def enter_work(self, pool: Pool) -> None:
        """Enter the running state, as the leader or as a worker."""
        await self.enter_running(workers=pool.size, reports=self.settings.reports_base_path)

    async def finish(self, pool: Pool) -> None:
        """Begin no more jobs, give current ones their time, end the required tasks."""
        self.state = "stopping"
        self.stopping.set()
        await pool.stop(self.settings.stop_seconds)
        await self.end_required()

    @contextlib.asynccontextmanager
    async def feeding(self, queue: JobSource, pool: Pool) -> AsyncIterator[None]:
        """Give jobs to the workers and look after the volume while the block runs."""
        consuming = consume(queue, pool, self.on_job_done, retry_on_start_failure=True)
        self.require(tasks.start(consuming, "feeding of the workers"))
        checking = tasks.start(self._check_volume(pool), "checking of the volume")
        self.require(checking)
        try:
            yield
        finally:
            checking.cancel()
            await self.finish(pool)

    async def wait_for_leadership(self, lock: HostLock) -> bool:
        """Wait until this process leads on its host (True), or has to stop (False)."""
        while not lock.acquire():
            await self.enter_standby(lock.holder())
            await self.tick()
            if self.stopping.is_set():
                return False
        self.leader = f"pid {os.getpid()}"
        self.keep_leadership = lock.keep
        return not self.stopping.is_set()


def _routes(service: ProcessingService) -> Routes:
    """Return what a processing role answers over HTTP."""
    pages = PageHandler(service.snapshot, lambda: service.settings.page_token, "TIX_PAGE_TOKEN")
    routes = dict(
        health_routes(
            lambda: service.snapshot().unready_reasons(),
            lambda: service.metrics.text(service.snapshot()),
        )
    )
    if not service.settings.metrics_open:
        routes[METRICS] = pages.guarded(routes[METRICS])
    return {**routes, f"GET {EVERY_OTHER}": pages.answer}


def in_epoch(monotonic_second: float | None) -> float | None:
    """Return a moment as the wall clock tells it now: its age is right though the clock was set."""
    if monotonic_second is None:
        return None
    return time.time() - (time.monotonic() - monotonic_second)


def _worker_views(pool: Pool) -> tuple[WorkerView, ...]:
    now = time.monotonic()
    return tuple(_worker_view(worker, now) for worker in pool.workers)


def _worker_view(worker: WorkerProcess, now: float) -> WorkerView:
    """Show what a worker computes; where that is nothing, all that it has waits for the tix-api."""
    waiting = 0 if worker.current else len(worker.held)
    job, phase = worker.job, worker.phase  # each look may find others
    described = describe(job) if job else ""
    return WorkerView(
        pid=worker.pid,
        ready=worker.ready,
        job=f"{waiting} installations" if waiting > 1 else described,
        phase="waiting for the tix-api" if waiting else phase.name if phase else "",
        seconds=now - worker.since,
        busy=isinstance(job, ProcessInstallation),
    )


def endpoint(settings: Settings) -> Endpoint:
    """Return address and login of RabbitMQ."""
    files = (settings.rabbitmq_ca_file, settings.rabbitmq_cert_file, settings.rabbitmq_key_file)
    return Endpoint(
        host=settings.rabbitmq_host,
        port=settings.rabbitmq_port,
        user=settings.rabbitmq_user,
        password=settings.rabbitmq_password,
        vhost=settings.rabbitmq_vhost,
        tls=Tls(*files) if settings.rabbitmq_tls else None,
    )
