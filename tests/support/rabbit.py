"""A consumer of RabbitMQ as the role worker has it, inside the test's own process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.support.waiting import until
from tixd.amqp.messages import Endpoint
from tixd.config.fields import Secret
from tixd.queues.publisher import ConfirmedPublisher, JobPublisher
from tixd.queues.rabbitmq import PathMapping, RabbitQueue

#: What a worker with one process takes.
PREFETCH = 2


def guest(port: int) -> Endpoint:
    """A broker of this machine."""
    return Endpoint("127.0.0.1", port, "guest", Secret("guest"))


async def _nothing_to_look_through() -> Mapping[str, int]:
    return {}


@asynccontextmanager
async def consumer(port: int, base: str, prefetch: int = PREFETCH) -> AsyncIterator[RabbitQueue]:
    """A queue that takes and gives jobs under the base; it is closed at the end."""
    sender = ConfirmedPublisher(guest(port), "out")
    queue = RabbitQueue(
        guest(port),
        sender,
        JobPublisher(sender, 600),
        PathMapping(base, base),
        prefetch,
        _nothing_to_look_through,
        Counter[str]().update,
    )
    links = [asyncio.ensure_future(link.run()) for link in (sender.link, queue.link)]
    try:
        await until(lambda: not sender.trouble and not queue.trouble)
        yield queue
    finally:
        await queue.close()
        for link in links:
            link.cancel()
        await asyncio.wait(links)
