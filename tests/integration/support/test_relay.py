"""The relay that tests put before a server misbehaves as they ask it to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.program import until
from tests.support.relay import Relay


def echo(client: socket.socket) -> None:
    """Send back what comes in, until the end."""
    with client, contextlib.suppress(ConnectionError):
        while data := client.recv(100):
            client.sendall(data)


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A relay before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(client,), daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        with Relay(listener.getsockname()[1]) as relay:
            yield relay
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def call(relay: Relay, seconds: float = 10.0) -> socket.socket:
    """A connection through the relay."""
    return socket.create_connection(("127.0.0.1", relay.port), seconds)


def said(connection: socket.socket, text: bytes) -> bytes:
    """What the server says to this."""
    connection.sendall(text)
    return connection.recv(100)


def test_a_relay_passes_bytes_and_ends_both_ways(relay: Relay) -> None:
    with call(relay) as connection:
        assert said(connection, b"hello") == b"hello"
        relay.until_open()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    until(lambda: not relay.open)
    assert relay.accepted == 1


def test_a_black_hole_keeps_the_connection_and_loses_nothing(relay: Relay) -> None:
    with call(relay) as connection:
        assert said(connection, b"one") == b"one"
        relay.black_hole()
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            said(connection, b"two")
        with call(relay, 0.2) as later, pytest.raises(TimeoutError):
            said(later, b"three")
        relay.pass_on()
        connection.settimeout(10)
        assert connection.recv(100) == b"two"


def test_a_reset_ends_open_connections_but_not_later_ones(relay: Relay) -> None:
    with call(relay) as connection:
        assert said(connection, b"one") == b"one"
        relay.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with call(relay) as connection:
        assert said(connection, b"two") == b"two"


def test_a_relay_that_refuses_listens_again_on_the_same_port(relay: Relay) -> None:
    with call(relay) as connection:
        assert said(connection, b"one") == b"one"
        relay.refuse()
        with pytest.raises(ConnectionRefusedError):
            call(relay)
        assert said(connection, b"two") == b"two"
    relay.pass_on()
    with call(relay) as connection:
        assert said(connection, b"three") == b"three"


def test_a_delay_holds_up_both_ways(relay: Relay) -> None:
    relay.delay(0.1)
    with call(relay) as connection:
        begun = time.monotonic()
        assert said(connection, b"slow") == b"slow"
        assert time.monotonic() - begun >= 0.2


def test_a_filter_holds_back_what_the_server_sends(relay: Relay) -> None:
    relay.filter(lambda data: data.replace(b"secret", b""))
    with call(relay) as connection:
        assert said(connection, b"a secret b") == b"a  b"
