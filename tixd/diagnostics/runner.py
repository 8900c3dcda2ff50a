"""Run checks that may hang, all at once, within one deadline; say which role needs which.

Rules: each check runs in a process of its own, because a volume that hangs, or a look-up of a name,
holds its caller for as long as it likes. One that is late is killed, and left behind where the
kernel does not let it die. What a check needs is imported in its process: numpy starts threads, and
a process with threads must not be forked.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import orjson

from tixd import errors, logs
from tixd.config.collector_settings import CollectorSettings
from tixd.config.loader import CollectorConfig, ProcessingConfig
from tixd.config.settings import Settings

#: How long all checks may take; longer than any deadline of their own.
DEADLINE_SECONDS = 12.0

#: What to do about a folder that does not answer.
_HANGS = "the volume hangs: see its disk or mount"

#: What to do about a peer that does not answer.
_SILENT = "see the name service of this host, and firewalls on the way"

#: Bytes taken from a pipe at once.
_PIECE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Check:
    """What is checked, how, and what to do where the check does not end.

    `run` returns a sentence, or raises a TixdError.
    """

    what: str
    run: Callable[[], str]
    when_silent: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check: all is fine, or what is wrong and what to do."""

    what: str
    fine: bool
    text: str


def run_check(check: Check) -> CheckResult:
    """Run the check in this process."""
    try:
        return CheckResult(check.what, True, check.run())  # noqa: FBT003
    except errors.TixdError as error:
        return CheckResult(check.what, False, " ".join(str(error).split()))  # noqa: FBT003


def run_checks(checks: Sequence[Check], seconds: float = DEADLINE_SECONDS) -> list[CheckResult]:
    """Run all checks at once; one that has not ended after `seconds` counts as failed."""
    deadline = time.monotonic() + seconds
    running = [_ForkedCheck(check) for check in checks]
    with selectors.DefaultSelector() as selector:
        for one in running:
            selector.register(one.pipe, selectors.EVENT_READ, one)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.read():
                    selector.unregister(key.fileobj)
    return [one.result(seconds) for one in running]


class _ForkedCheck:
    """A check that runs in a process of its own; `pipe` is where its result comes from."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._received = b""
        self._is_complete = False
        reading, writing = os.pipe()
        self.pipe = reading
        self._pid = os.fork()
        if self._pid == 0:
            _run_and_end(check, writing)
        os.close(writing)

    def read(self) -> bool:
        """Read what has arrived; False: that is all."""
        piece = os.read(self.pipe, _PIECE_BYTES)
        self._received += piece
        self._is_complete = not piece
        return bool(piece)

    def result(self, seconds: float) -> CheckResult:
        """Return its result, and end it."""
        os.close(self.pipe)
        if not self._is_complete:
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0 if self._is_complete else os.WNOHANG)
        if self._is_complete and self._received:
            return CheckResult(**orjson.loads(self._received))
        text = "the check itself failed unexpectedly: please report it"
        if not self._is_complete:
            text = f"no answer within {seconds:.0f} s: {self._check.when_silent}"
        return CheckResult(self._check.what, False, text)  # noqa: FBT003


def _run_and_end(check: Check, pipe: int) -> NoReturn:
    """Run a check as the child; it keeps no stream open that another process reads."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        with os.fdopen(pipe, "wb") as answer:
            answer.write(orjson.dumps(asdict(run_check(check))))
    finally:
        os._exit(0)


def user(who: Callable[[], str]) -> Check:
    """Make the check that finds the user for all others; `who` looks at the reports."""
    return Check("user", who, _HANGS)


def required_checks(
    loaded: ProcessingConfig | CollectorConfig, *, by_root: bool = False
) -> list[Check]:
    """Return all that the role of this configuration needs; by_root: root has started this."""
    environment = loaded.environment
    if isinstance(loaded.settings, CollectorSettings):
        found, role = list(_of_collector(loaded.settings)), "collector"
    else:
        found, role = list(_of_processing(loaded, by_root=by_root)), loaded.settings.role
    if path := logs.path_of(loaded.settings.log_file):
        found.append(Check("log file", _lazy("host.check_log_file", path, by_root=by_root), _HANGS))
    if (history := loaded.settings.history) not in ("", "off") and role != "worker":
        setting = "TIX_HISTORY" if role != "collector" else "historyFile or TIX_HISTORY"
        found.append(Check("history", _lazy("host.check_history", history, setting), _HANGS))
    return [
        *found,
        *_of_addresses(loaded),
        Check("control socket", _lazy("host.check_control_socket", environment, role), _HANGS),
    ]


def _of_processing(loaded: ProcessingConfig, *, by_root: bool) -> Iterator[Check]:
    settings = loaded.settings
    reports = "reports_of_dispatcher" if settings.role == "dispatcher" else "reports"
    yield Check("reports folder", _lazy(f"storage.check_{reports}", settings), _HANGS)
    if settings.role != "worker":
        yield Check("schedule", _lazy("storage.check_schedule", settings, by_root=by_root), _HANGS)
    if settings.role != "dispatcher":
        yield Check("tix-api", _lazy("api.check_api", settings), _SILENT)
        if settings.asn_table:
            yield Check("AS table", _lazy("storage.check_table", settings.asn_table), _HANGS)
    if settings.role != "standalone":
        yield Check("RabbitMQ", _lazy("broker.check_rabbitmq", settings), _SILENT)


def _of_collector(settings: CollectorSettings) -> Iterator[Check]:
    if settings.amqp_enable:
        yield Check("AMQP", _lazy("broker.check_amqp", settings), _SILENT)
    if settings.kafka_enable:
        yield Check("Kafka", _lazy("broker.check_kafka", settings), _SILENT)
    if settings.file_path:
        yield Check("file", _lazy("broker.check_file", settings), _HANGS)


def _of_addresses(loaded: ProcessingConfig | CollectorConfig) -> Iterator[Check]:
    settings = loaded.settings
    check = partial(_lazy, "host.check_http_address")
    if isinstance(settings, Settings):
        who = (loaded.environment, settings.role, settings.reports_base_path)
        run = check(settings.http_address_used, "TIX_HTTP_ADDRESS", *who)
        yield Check("HTTP address", run, _SILENT)
        return
    collector = (loaded.environment, "collector")
    address, shared = f"{settings.address}:{settings.port}", settings.reuse_port
    run = check(address, "address and port", *collector, shared=shared)
    yield Check("HTTP address", run, _SILENT)
    if own := settings.admin_address:
        yield Check("admin address", check(own, "adminAddress", *collector), _SILENT)


def _lazy(name: str, *arguments: Any, **options: Any) -> Callable[[], str]:
    """Return a call of "module.function" of this package; the module is imported at the call."""
    return partial(_call, name, *arguments, **options)


def _call(name: str, *arguments: Any, **options: Any) -> str:
    module, _, function = name.partition(".")
    check = getattr(import_module(f"tixd.diagnostics.{module}"), function)
    return str(check(*arguments, **options))
