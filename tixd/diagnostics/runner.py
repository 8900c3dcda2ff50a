"""Tries of things that may hang, all at once, within one deadline.

In: Checks. Out: a Finding each, in their order. Rules: each is tried in a process of its own,
because a volume that hangs, or a look-up of a name, holds whoever asked for as long as it likes;
one that is late is killed, and left behind where the kernel does not let it die. So call it where
this process has no threads of its own.

What is tried for which role.

In: the configuration. Out: Checks. Rules: what a check needs is imported in its own process,
because numpy starts threads, and a process with threads must not be forked.
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

#: How long all tries may take; longer than any deadline of their own.
DEADLINE_SECONDS = 12.0

#: Bytes taken from a pipe at once.
_PIECE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Check:
    """A try: what is tried, how, and what to do where it does not end.

    `run` returns a sentence, or raises a TixdError.
    """

    what: str
    run: Callable[[], str]
    when_silent: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a try has shown: that it is fine, or what is wrong and what to do."""

    what: str
    fine: bool
    text: str


def run_check(check: Check) -> CheckResult:
    """Try it here and now."""
    try:
        return CheckResult(check.what, True, check.run())  # noqa: FBT003
    except errors.TixdError as error:
        return CheckResult(check.what, False, " ".join(str(error).split()))  # noqa: FBT003


def run_checks(checks: Sequence[Check], seconds: float = DEADLINE_SECONDS) -> list[CheckResult]:
    """Try all at once; what has not ended after so long is wrong."""
    deadline = time.monotonic() + seconds
    running = [_Try(check) for check in checks]
    with selectors.DefaultSelector() as selector:
        for one in running:
            selector.register(one.pipe, selectors.EVENT_READ, one)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.heard():
                    selector.unregister(key.fileobj)
    return [one.ended(seconds) for one in running]


class _Try:
    """A check under way in a process of its own; `pipe` is where its answer comes from."""

    def __init__(self, check: Check) -> None:
        self._check, self._said, self._whole = check, b"", False
        self.pipe, answer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _answer(check, answer)
        os.close(answer)

    def heard(self) -> bool:
        """Take what has come; False: that is all."""
        piece = os.read(self.pipe, _PIECE_BYTES)
        self._said += piece
        self._whole = not piece
        return bool(piece)

    def ended(self, seconds: float) -> CheckResult:
        """What it has shown, and its end."""
        os.close(self.pipe)
        if not self._whole:
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0 if self._whole else os.WNOHANG)
        if self._whole and self._said:
            return CheckResult(**orjson.loads(self._said))
        told = f"no answer within {seconds:.0f} s: {self._check.when_silent}"
        text = "the try itself broke; please report it" if self._whole else told
        return CheckResult(self._check.what, False, text)  # noqa: FBT003


def _answer(check: Check, pipe: int) -> NoReturn:
    """The life of the process that tries; it holds no stream that somebody may wait to end."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        with os.fdopen(pipe, "wb") as answer:
            answer.write(orjson.dumps(asdict(run_check(check))))
    finally:
        os._exit(0)


#: What to do about a folder that does not answer.
_HANGS = "the volume hangs: see its disk or mount"

#: What to do about a peer that does not answer.
_SILENT = "see the name service of this host, and firewalls on the way"


def user(who: Callable[[], str]) -> Check:
    """Who is to try all the rest; `who` looks at the reports for that."""
    return Check("user", who, _HANGS)


def checks(loaded: ProcessingConfig | CollectorConfig, *, by_root: bool = False) -> list[Check]:
    """All that the role of this configuration needs; by_root: root has started this."""
    around = loaded.surroundings
    if isinstance(loaded.settings, CollectorSettings):
        found, role = list(_of_collector(loaded.settings)), "collector"
        address, setting = f"{loaded.settings.address}:{loaded.settings.port}", "address and port"
    else:
        found, role = list(_of_processing(loaded, by_root=by_root)), loaded.settings.role
        address, setting = loaded.settings.http_address_used, "TIX_HTTP_ADDRESS"
    if path := logs.path_of(loaded.settings.log_file):
        found.append(Check("log file", _later("host.log_file", path, by_root=by_root), _HANGS))
    return [
        *found,
        Check("HTTP address", _later("host.http_address", address, setting), _SILENT),
        Check("control socket", _later("host.control_socket", around, role), _HANGS),
    ]


def _of_processing(loaded: ProcessingConfig, *, by_root: bool) -> Iterator[Check]:
    settings = loaded.settings
    seen = "reports_of_dispatcher" if settings.role == "dispatcher" else "reports"
    yield Check("reports folder", _later(f"storage.{seen}", settings), _HANGS)
    if settings.role != "worker":
        yield Check("schedule", _later("storage.schedule", settings, by_root=by_root), _HANGS)
    if settings.role != "dispatcher":
        yield Check("tix-api", _later("api.api", settings), _SILENT)
        if settings.asn_table:
            yield Check("AS table", _later("storage.table", settings.asn_table), _HANGS)
    if settings.role != "standalone":
        yield Check("RabbitMQ", _later("broker.broker", settings), _SILENT)


def _of_collector(settings: CollectorSettings) -> Iterator[Check]:
    if settings.amqp_enable:
        yield Check("AMQP", _later("broker.amqp", settings), _SILENT)
    if settings.kafka_enable:
        yield Check("Kafka", _later("broker.kafka", settings), _SILENT)
    if settings.file_path:
        yield Check("file", _later("broker.file", settings), _HANGS)


def _later(name: str, *given: Any, **options: Any) -> Callable[[], str]:
    """The function "module.function" of this package; its module is imported at the call."""
    return partial(_call, name, *given, **options)


def _call(name: str, *given: Any, **options: Any) -> str:
    module, _, function = name.partition(".")
    said: str = getattr(import_module(f"tixd.diagnostics.{module}"), function)(*given, **options)
    return said
