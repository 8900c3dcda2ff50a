"""Jobs as messages in the queue that tixd shares with Celery workers.

In: installations, or a base to be looked through. Out: confirmed messages of Celery's protocol 2.
Rules: a message that nobody took within a period is dropped by the broker, because by then the next
cycle has made another one, so a backlog never grows beyond the number of installations.
"""

from __future__ import annotations

import os
import socket
import time
from uuid import uuid4

from tixd.jobs import ProcessInstallation
from tixd.queues.celery_message import RunInstallation, RunUsers, Task, encode
from tixd.queues.publisher import Sender

#: Queue, exchange and routing key of a Celery deployment that configures none.
JOBS = "celery"


class JobSender:
    """Sends jobs by a Sender; `period_seconds` is how long they are good for."""

    def __init__(self, sender: Sender, period_seconds: float) -> None:
        self._sender, self._period_seconds = sender, period_seconds
        self._origin = f"{os.getpid()}@{socket.gethostname()}"

    async def put(self, job: ProcessInstallation) -> bool:
        """Send the job of one installation; True once it is stored, a BrokerError else."""
        await self.put_path(job.path, job.user_id, job.installation_id)
        return True

    async def put_path(self, path: str, user_id: int, installation_id: int) -> None:
        """The same, for a path as another host sees it."""
        await self._send(
            RunInstallation(str(uuid4()), path, user_id, installation_id, self._expires())
        )

    async def put_users(self, base: str) -> None:
        """Have somebody who sees the reports look through them; stored then, a BrokerError else."""
        await self._send(RunUsers(str(uuid4()), base, self._expires()))

    def _expires(self) -> float:
        return time.time() + self._period_seconds

    async def _send(self, task: Task) -> None:
        body, properties = encode(task, now=time.time(), origin=self._origin)
        await self._sender.send(JOBS, body, properties, exchange=JOBS)
