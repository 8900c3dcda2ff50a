"""Hosts of tests are what they say: apart from each other, from the machine, and to be lost."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.hosts import Hosts, inside
from tests.support.pools import alive
from tests.support.program import until
from tests.support.stand_in_api import StandInApi


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two of them."""
    with Hosts("one", "two") as hosts:
        yield hosts


def names() -> str:
    """The namespaces that there are."""
    return subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout


def connect(hosts: Hosts, name: str, port: int, seconds: float = 10.0) -> socket.socket:
    """A connection from a host to host one."""
    address = (hosts.addresses["one"], port)
    return inside(hosts.netns(name), lambda: socket.create_connection(address, seconds))


def test_two_hosts_talk_until_one_is_cut_off_and_again_after(hosts: Hosts) -> None:
    where = (hosts.addresses["one"], 0)
    with inside(hosts.netns("one"), lambda: socket.create_server(where)) as listener:
        port = listener.getsockname()[1]
        with connect(hosts, "two", port) as there, listener.accept()[0] as here:
            there.sendall(b"before")
            assert here.recv(100) == b"before"
            hosts.cut("two")
            there.sendall(b"between")
            here.settimeout(0.5)
            with pytest.raises(TimeoutError):
                here.recv(100)
            with pytest.raises(OSError, match=r"timed out|No route"):
                connect(hosts, "two", port, 0.5)
            hosts.join("two")
            here.settimeout(30)
            assert here.recv(100) == b"between"


def test_the_machine_itself_does_not_see_the_hosts(hosts: Hosts) -> None:
    with inside(hosts.netns("one"), lambda: socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        for name in (None, hosts.netns("two")):
            with pytest.raises(ConnectionRefusedError):
                inside(name, lambda: socket.create_connection(("127.0.0.1", port), 5))
    shown = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout
    assert hosts.addresses["one"] not in shown


def test_a_killed_host_loses_all_its_processes_and_no_other(hosts: Hosts) -> None:
    words = (sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'])")
    first, second = hosts.run("one", words), hosts.run("two", words)
    until(lambda: len(hosts.processes("one")) == len(hosts.processes("two")) == 2)
    killed = hosts.kill("one")
    assert first.pid in killed
    assert len(killed) == 2
    assert not any(map(alive, killed))
    assert second.poll() is None


def fail_on(hosts: Hosts) -> None:
    """A test that fails while programs run on its hosts."""
    with hosts:
        hosts.run("one", ("sleep", "600"))
        until(lambda: hosts.processes("one"))
        assert hosts.netns("one") in names()
        raise ZeroDivisionError


def test_nothing_is_left_of_hosts_after_a_failed_test() -> None:
    hosts = Hosts("one")
    with pytest.raises(ZeroDivisionError):
        fail_on(hosts)
    assert hosts.netns("one") not in names()
    assert hosts.netns("switch") not in names()
    assert hosts.running() == []


@pytest.mark.long
def test_a_broker_on_a_host_survives_its_loss(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.addresses["one"]
    with Broker(tmp_path, host=host, netns=hosts.netns("one")) as broker:
        direct = Direct(broker.port, host, netns=hosts.netns("two"))
        direct.declare("here")
        direct.publish("here", "hello")
        assert broker.pid in hosts.kill("one")
        broker.start()
        assert [message.body for message in direct.drain("here")] == [b"hello"]


def test_an_api_on_one_host_answers_another(hosts: Hosts) -> None:
    host = hosts.addresses["one"]
    with (
        inside(hosts.netns("one"), lambda: StandInApi(host=host)) as api,
        connect(hosts, "two", api.port) as http,
    ):
        http.sendall(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert b"HTTP/1.1 4" in http.recv(100)
