"""Several hosts on one machine: network namespaces behind a switch of their own.

`with Hosts("broker", "one") as hosts:` gives each an address that exists in these namespaces alone;
the machine's own network has nothing to do with it. Hosts share the file system, as over a volume.
`command` and `inside` start programs and open sockets in one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

import pytest

from tests.support import debian
from tests.support.pools import alive
from tests.support.program import until

#: Says to setns(2) that it is a network namespace (linux/sched.h).
CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def command(netns: str | None, *words: str) -> list[str]:
    """The command that runs `words` in a namespace, as the very process that is started."""
    return ["ip", "netns", "exec", netns, *words] if netns else list(words)


def inside(netns: str | None, call: Callable[[], Result]) -> Result:
    """Call something in a namespace; a socket that it opens stays in that namespace."""
    if netns is None:
        return call()
    with ThreadPoolExecutor(1) as thread:  # a namespace is a thread's own
        return thread.submit(_call_in, netns, call).result()


def _call_in(netns: str, call: Callable[[], Result]) -> Result:
    file = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {netns}")
    finally:
        os.close(file)
    return call()


#: First three parts of every address.
NETWORK = "10.213.0"

#: Namespaces made by this process, for their names.
_made = 0


class Hosts:
    """The hosts of these names; nothing of them is left when the context ends.

    Needs root and leave to make namespaces; without it the test is skipped.
    """

    def __init__(self, *names: str) -> None:
        global _made  # noqa: PLW0603 - names must differ between all hosts of this process
        _made += 1
        self._prefix = f"tixd-{os.getpid()}-{_made}"
        self._ports = {name: f"port{n}" for n, name in enumerate(names)}
        self.addresses = {name: f"{NETWORK}.{n}" for n, name in enumerate(names, 1)}
        self._stack = contextlib.ExitStack()
        self._running: list[subprocess.Popen[Any]] = []

    def netns(self, name: str) -> str:
        """The host's namespace."""
        return f"{self._prefix}-{name}"

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("not run: network namespaces need root")
        debian.program("ip", "iproute2")
        with contextlib.ExitStack() as stack:
            self._add(stack, "switch")
            self._ip("switch", "link add switch type bridge")
            self._ip("switch", "link set switch up")
            for name in self.addresses:
                self._add(stack, name)
                self._plug_in(name)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            for name in self.addresses:
                self.kill(name)
            until(lambda: not self.running())

    def command(self, name: str, *words: str) -> list[str]:
        """The command that runs `words` on a host."""
        return command(self.netns(name), *words)

    def run(
        self, name: str, words: Sequence[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a program on a host; `options` of Popen."""
        process = subprocess.Popen(
            self.command(name, *words), env=env, start_new_session=True, **options
        )
        self._running.append(process)
        return process

    def running(self) -> list[subprocess.Popen[Any]]:
        """What was started by run and has not ended."""
        return [process for process in self._running if process.poll() is None]

    def cut(self, name: str) -> None:
        """Pull the host's plug: nothing reaches it any more, and it tells nobody."""
        self._ip("switch", f"link set {self._ports[name]} down")

    def join(self, name: str) -> None:
        """Plug it in again."""
        self._ip("switch", f"link set {self._ports[name]} up")

    def processes(self, name: str) -> list[int]:
        """Ids of the processes that run on a host."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.netns(name)], capture_output=True, text=True, check=True
        )
        return [int(pid) for pid in done.stdout.split() if int(pid) != os.getpid()]

    def kill(self, name: str) -> set[int]:
        """kill -9 of every process on a host, as when it loses power; which ones they were."""
        killed: set[int] = set()

        def gone() -> bool:
            found = self.processes(name)
            killed.update(found)
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not found and not any(map(alive, killed))

        until(gone)
        return killed

    def _add(self, stack: contextlib.ExitStack, name: str) -> None:
        """Make a namespace, to be removed with the others."""
        command = ["ip", "netns", "add", self.netns(name)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"not run: cannot make network namespaces ({done.stderr.strip()})")
        stack.callback(subprocess.run, ["ip", "netns", "del", self.netns(name)], check=True)
        self._ip(name, "link set lo up")

    def _plug_in(self, name: str) -> None:
        port = self._ports[name]
        self._ip("switch", f"link add {port} type veth peer name eth0 netns {self.netns(name)}")
        self._ip("switch", f"link set {port} master switch up")
        self._ip(name, f"address add {self.addresses[name]}/24 dev eth0")
        self._ip(name, "link set eth0 up")

    def _ip(self, name: str, words: str) -> None:
        subprocess.run(["ip", "-n", self.netns(name), *words.split()], check=True)
