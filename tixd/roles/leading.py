"""Until a process leads, on its host: the kernel lock of the schedule folder.

In: a Service, the lock. Out: whether this process leads now. Rules: who does not lead asks once a
second, and says who does.
"""

from __future__ import annotations

import os

from tixd.dispatch.host_leader import Leadership
from tixd.roles.processing import Service


async def lead(service: Service, leadership: Leadership) -> bool:
    """Return when this process leads (True), or is to stop (False)."""
    while not leadership.take():
        await service.stand_by(leadership.leader())
        await service.turn()
        if service.stopping.is_set():
            return False
    service.leader = f"pid {os.getpid()}"
    service.keep = leadership.keep
    return not service.stopping.is_set()
