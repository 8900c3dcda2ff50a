"""A tiny HTTP proxy on 127.0.0.1: absolute URIs and CONNECT; notes what it is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit


@dataclass
class StandInProxy:
    """`with StandInProxy() as proxy:` - a thread per connection, whatever else comes is dropped."""

    refusal: bytes = b""
    requests: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := client.recv(65536)):
                    return
                head += more
            lines = head.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            self.requests.append(lines[0])
            named = dict(line.lower().split(": ", 1) for line in lines[1:])
            self.credentials.append(named.get("proxy-authorization", ""))
            if self.refusal:
                client.sendall(self.refusal)
            else:
                self._relay(client, head, *lines[0].split(" ")[:2])

    def _relay(self, client: socket.socket, head: bytes, method: str, target: str) -> None:
        place = urlsplit(f"//{target}" if method == "CONNECT" else target)
        with socket.create_connection((place.hostname or "", place.port or 80), 5) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                origin = target[target.index(place.path) :] if place.path else "/"
                server.sendall(head.replace(target.encode(), origin.encode(), 1))
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one side ends, then end the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
