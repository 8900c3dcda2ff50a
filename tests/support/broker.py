"""A RabbitMQ of a test's own: to be killed, stopped, alarmed and started again.

`with Broker(tmp_path) as broker:` runs Debian's rabbitmq-server as a process of this user on
127.0.0.1 (or inside a network namespace), with its data, log, cookie and name service under the
folder. Nothing is shared with a RabbitMQ that the machine may run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import psutil

from tests.support import debian, hosts
from tests.support.pools import alive
from tests.support.program import freeze, until
from tests.support.stand_in_api import closed_port

#: Where Debian keeps the scripts that change no user and read no configuration of the machine.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

#: A start takes 4 s where nothing else runs.
START_SECONDS = 90.0

#: Proof of being allowed to command the node; it listens on the loopback device alone.
COOKIE = "tixd-tests"

#: How the server is started: one scheduler is enough, and the name service runs already.
ERLANG = "+S 1:1 +A 4 -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"

#: What makes it think that memory or disk is short, and what that there is plenty.
_SHORT = {
    "memory": "vm_memory_monitor:set_vm_memory_high_watermark(0.00001)",
    "disk": "rabbit_disk_monitor:set_disk_free_limit(1 bsl 60)",
}
_PLENTY = {
    "memory": "vm_memory_monitor:set_vm_memory_high_watermark(0.8)",
    "disk": "rabbit_disk_monitor:set_disk_free_limit(1 bsl 20)",
}

#: Takes all connections, queues, exchanges and rights away.
_EMPTY = ", ".join(f'ok = rabbit_vhost:{do}(<<"/">>, <<"test">>)' for do in ("delete", "add"))


class Broker:
    """A broker with user guest/guest; `config`: further lines of rabbitmq.conf."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        host: str = "127.0.0.1",
        netns: str | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        debian.program("rabbitmq-server", "rabbitmq-server")
        self.folder, self.host, self.netns = folder, host, netns
        self.port = port or closed_port()
        self._epmd_port, dist_port = closed_port(), closed_port()
        self.node = f"tixd-{self.port}@localhost"
        for name in ("data", "log", "home"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._env = _environment(folder, self.node, self._epmd_port, dist_port)
        _write_config(folder, f"{host}:{self.port}", config or {})

    @property
    def pid(self) -> int:
        """The broker's process."""
        return self._server.pid

    def __enter__(self) -> Self:
        self._start_epmd()
        self._start_server()
        try:
            self.until_open()
        except BaseException:  # nobody else ends what has been started
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._epmd.kill()
        self._epmd.wait(60)

    def start(self) -> None:
        """Start it, and go on once it takes connections."""
        self.begin()
        self.until_open()

    def begin(self) -> None:
        """Start it and do not wait."""
        until(lambda: not self.is_running())  # killed with its host, it may still be ending
        if self._epmd.poll() is not None:
            self._start_epmd()
        self._start_server()

    def until_open(self) -> None:
        """Wait until it takes connections."""
        until(lambda: self._server.poll() is not None or self.is_open(), START_SECONDS)
        said = (self.folder / "out").read_text()
        assert self._server.poll() is None, said.partition("[error]")[2][:3000] or said

    def is_open(self) -> bool:
        """Whether it takes connections."""
        address = (self.host, self.port)
        try:
            hosts.inside(self.netns, lambda: socket.create_connection(address, 1)).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """kill -9, as when its host loses power; it is gone after that."""
        helpers = psutil.Process(self.pid).children(recursive=True) if self.is_running() else []
        self._server.kill()
        self._server.wait(60)
        # They end by themselves, and may hold its ports until then.
        until(lambda: not any(alive(helper.pid) for helper in helpers))

    def is_running(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._server.poll() is None

    def restart(self) -> None:
        """kill -9, then start it again with what it had stored."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop the process where it is: connections stay open and nothing answers."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def alarm(self, resource: str = "memory") -> None:
        """Let it think that memory, or disk, is short: whoever publishes is blocked."""
        self.eval(_SHORT[resource])
        until(lambda: resource in self.eval("rabbit_alarm:get_alarms()"))

    def clear_alarm(self, resource: str = "memory") -> None:
        """There is plenty again."""
        self.eval(_PLENTY[resource])
        until(lambda: resource not in self.eval("rabbit_alarm:get_alarms()"))

    def set_password(self, password: str, user: str = "guest") -> None:
        """Change a user's password; connections that are open stay so."""
        text = ",".join(map(str, password.encode()))  # it may hold quotes, or be no ASCII
        call = f'change_password(<<"{user}">>, <<{text}>>, <<"test">>)'
        self.eval(f"ok = rabbit_auth_backend_internal:{call}")

    def allow(self, pattern: str, user: str = "guest") -> None:
        """Let a user configure, write and read what the pattern matches, and nothing else."""
        words = ", ".join(f'<<"{word}">>' for word in (user, "/", *[pattern] * 3, "test"))
        self.eval(f"ok = rabbit_auth_backend_internal:set_permissions({words})")

    def renew(self) -> None:
        """Make it what it was after its first start, whatever tests have done to it."""
        if self.is_running():
            self.thaw()
        else:
            self.start()
        for resource in _PLENTY:
            self.clear_alarm(resource)
        self.eval(_EMPTY)
        self.set_password("guest")
        self.allow(".*")

    @contextlib.contextmanager
    def impatient(self, seconds: float) -> Iterator[None]:
        """Within this block messages are taken from consumers that do not answer so soon."""
        usual = self.eval("application:get_env(rabbit, consumer_timeout)").rpartition(" ")[2]
        self.eval(f"application:set_env(rabbit, consumer_timeout, {round(seconds * 1000)})")
        try:
            yield
        finally:
            usual = usual.strip("}\n")
            self.eval(f"application:set_env(rabbit, consumer_timeout, {usual})")

    def close_connections(self) -> None:
        """Close every connection of clients from the broker's side."""
        close = 'rabbit_networking:close_connection(P, "test")'
        self.eval(f"[{close} || P <- rabbit_networking:connections()], ok")

    def eval(self, code: str) -> str:
        """Have the broker evaluate an Erlang expression; in milliseconds, unlike ctl."""
        words = ("erl_call", "-sname", self.node, "-c", COOKIE, "-e")
        answer = self._run(words, f"{code}.\n")
        assert answer.startswith("{ok, "), answer
        return answer

    def ctl(self, *words: str) -> str:
        """What `rabbitmqctl` prints; takes a second or two."""
        return self._run((str(SCRIPTS / "rabbitmqctl"), "--quiet", *words))

    def _run(self, words: tuple[str, ...], text: str = "") -> str:
        done = subprocess.run(
            hosts.command(self.netns, *words),
            env=self._env,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def _start_epmd(self) -> None:
        epmd = shutil.which("epmd", path=debian.PLACES) or "epmd"
        self._epmd = self._popen(epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1")

    def _start_server(self) -> None:
        self._server = self._popen(str(SCRIPTS / "rabbitmq-server"))

    def _popen(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                hosts.command(self.netns, *words),
                env=self._env,
                cwd=self.folder,  # where a server that fails early leaves its dump
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


def _environment(folder: Path, node: str, epmd_port: int, dist_port: int) -> dict[str, str]:
    """Everything of the server's under the folder, and nothing read from /etc/rabbitmq."""
    foreign = ("RABBITMQ_", "ERL_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    cookie = folder / "home" / ".erlang.cookie"
    cookie.write_text(COOKIE)
    cookie.chmod(0o400)
    return kept | {
        "PATH": debian.PLACES,
        "HOME": str(folder / "home"),
        "ERL_CRASH_DUMP": str(folder / "crash"),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RUNNING_UNDER_SYSTEMD": "1",  # so the script becomes the server, instead of watching it
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
    }


def _write_config(folder: Path, listener: str, config: Mapping[str, object]) -> None:
    lines = {
        "listeners.tcp.1": listener,
        "loopback_users": "none",
        "disk_free_limit.absolute": "1MB",
        "vm_memory_high_watermark.relative": "0.8",
        **config,
    }
    (folder / "rabbitmq.conf").write_text("".join(f"{k} = {v}\n" for k, v in lines.items()))
    (folder / "plugins").write_text("[].\n")
