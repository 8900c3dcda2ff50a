"""A stand-in for the tix-api that answers every post alike after a delay, as a process of its own.

`python delayed_api.py DELAY_MS FILE`: prints the free port of 127.0.0.1 that it listens on. FILE
holds SEEN: how many posts have been answered, when the first came and when the last was answered.
It reads no content and keeps none, so that it takes little from what is measured beside it.
"""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

#: Posts answered, first received and last answered (ns of the monotonic clock).
SEEN = struct.Struct("3q")

_HEAD_END, _LENGTH = b"\r\n\r\n", b"content-length: "
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class DelayedApi:
    """One loop over all connections; answers leave in the order in which requests came."""

    def __init__(self, delay_ns: int, seen: mmap.mmap) -> None:
        self._delay_ns, self._seen = delay_ns, seen
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, tuple[socket.socket, bytearray]] = {}
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        self._answered = self._first = 0

    def serve(self) -> None:
        """Answer until the process is ended."""
        while True:
            for number, _ in self._poll.poll(self._seconds_left()):
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._read(number)
            while self._waiting and self._waiting[0][0] <= time.monotonic_ns():
                self._answer(self._waiting.popleft()[1])

    def _seconds_left(self) -> float | None:
        """How long until the next answer; None: none waits."""
        if not self._waiting:
            return None
        return max(0, self._waiting[0][0] - time.monotonic_ns()) / 1e9

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(connection, select.EPOLLIN)
        self._connections[connection.fileno()] = (connection, bytearray())

    def _read(self, number: int) -> None:
        connection, buffer = self._connections[number]
        received = b""
        with contextlib.suppress(ConnectionError):
            received = connection.recv(65536)
        if not received:
            del self._connections[number]
            connection.close()
            return
        buffer += received
        if _is_whole(buffer):
            buffer.clear()
            now = time.monotonic_ns()
            self._first = self._first or now
            self._waiting.append((now + self._delay_ns, connection))

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has gone meanwhile
            connection.sendall(_ANSWER)
            self._answered += 1
            SEEN.pack_into(self._seen, 0, self._answered, self._first, time.monotonic_ns())


def _is_whole(buffer: bytearray) -> bool:
    """Whether a request has come with its body; a client sends the next after the answer."""
    head, end, body = buffer.partition(_HEAD_END)
    if not end:
        return False
    length = head.lower().partition(_LENGTH)[2].split(b"\r\n", 1)[0]
    return len(body) >= int(length or 0)


def main() -> None:
    """Serve until SIGTERM."""
    delay_ms, path = int(sys.argv[1]), Path(sys.argv[2])
    path.write_bytes(bytes(SEEN.size))
    with path.open("r+b") as file:
        api = DelayedApi(delay_ms * 10**6, mmap.mmap(file.fileno(), SEEN.size))
    sys.stdout.write(f"{api.port}\n")
    sys.stdout.flush()
    api.serve()


if __name__ == "__main__":
    main()
