"""What a queue of jobs promises, whatever it is made of.

In: jobs, from whoever schedules them. Out: deliveries, to whoever has workers. Rules: a job that
was put is delivered, first come first served, until somebody says it is done: a consumer that goes
away before loses nothing, another one gets the job. So a job may be delivered twice, and must be
one that can be done twice.
"""

from __future__ import annotations

from typing import Protocol

from tixd.jobs import ProcessInstallation


class Delivery(Protocol):
    """One job in the hands of one consumer; exactly one of the three methods ends it."""

    @property
    def job(self) -> ProcessInstallation:
        """What is to be done."""
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


class JobQueue(Protocol):
    """Where jobs wait."""

    async def put(self, job: ProcessInstallation) -> bool:
        """Take a job; True once it is safe, False where its installation has an open job."""
        ...

    async def take(self) -> Delivery:
        """The next job; waits for one."""
        ...

    async def close(self) -> None:
        """Take and give no more; what was delivered here and is not done goes to others."""
        ...
