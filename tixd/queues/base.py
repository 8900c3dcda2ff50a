"""The interface of a queue of jobs.

A job that was put is delivered, first come first served, until it is acknowledged: when a consumer
ends, another one gets the job. So a job may run twice, and must be idempotent.
"""

from __future__ import annotations

from typing import Protocol

from tixd.jobs import ProcessInstallation


class Delivery(Protocol):
    """A job that one consumer has; exactly one of the three methods ends it."""

    @property
    def job(self) -> ProcessInstallation:
        """The job."""
        ...

    async def ack(self) -> None:
        """Forget the job: it is done."""
        ...

    async def requeue_last(self) -> None:
        """Deliver the job once more, behind all that wait: part of it is done."""
        ...

    async def release(self) -> None:
        """Deliver the job to any consumer, before all that wait: it was not begun."""
        ...


class JobSink(Protocol):
    """Where a scan puts jobs."""

    async def put(self, job: ProcessInstallation) -> bool:
        """Store a job; return False where its installation has an open one."""
        ...


class JobSource(Protocol):
    """Where workers get jobs from."""

    async def take(self) -> Delivery:
        """Wait for the next job."""
        ...

    async def close(self) -> None:
        """Deliver no more; what was delivered and not acknowledged goes to others."""
        ...
