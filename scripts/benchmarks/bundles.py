"""The senders of the collector's benchmark, as a process of its own; prints what it saw as JSON.

`python bundles.py PORT CONNECTIONS RECORDS SECONDS`: each connection posts bundles of so many
records, one after the other; the requests are made beforehand, so that little is spent here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

#: Different bundles, posted in turn.
BUNDLES = 20


def request(number: int, records: int) -> bytes:
    """A whole request with that many records."""
    from tests.support.bundles import form

    body = form([f"{number}.{n}" for n in range(records)])
    head = (
        "POST /gratia-servlets/rmi HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def connection(port: int, requests: list[bytes], end: float, seen: list[float]) -> None:
    """Post until the end; how long each answer took goes to `seen`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.monotonic() < end:
        begun = time.monotonic()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        if head.startswith(b"HTTP/1.1 200"):
            seen.append(time.monotonic() - begun)
        number += 1
    writer.close()


async def post(port: int, connections: int, records: int, seconds: float) -> None:
    """Post from all connections, then print."""
    requests = [request(number, records) for number in range(BUNDLES)]
    seen: list[float] = []
    begun = time.monotonic()
    jobs = [connection(port, requests, begun + seconds, seen) for _ in range(connections)]
    await asyncio.gather(*jobs)
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - begun, "answers": sorted(seen)}))


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))
    arguments = [int(word) for word in sys.argv[1:]]
    asyncio.run(post(*arguments))
