"""What is tried for which role.

In: the configuration. Out: Checks. Rules: what a check needs is imported in its own process,
because numpy starts threads, and a process with threads must not be forked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from tixd import logs
from tixd.config.collector import CollectorSettings
from tixd.config.collector_loader import CollectorConfig
from tixd.config.loader import Config
from tixd.diagnostics.runner import Check

#: What to do about a folder that does not answer.
_HANGS = "the volume hangs: see its disk or mount"

#: What to do about a peer that does not answer.
_SILENT = "see the name service of this host, and firewalls on the way"


def user(who: Callable[[], str]) -> Check:
    """Who is to try all the rest; `who` looks at the reports for that."""
    return Check("user", who, _HANGS)


def checks(loaded: Config | CollectorConfig, *, by_root: bool = False) -> list[Check]:
    """All that the role of this configuration needs; by_root: root has started this."""
    around = loaded.surroundings
    if isinstance(loaded, CollectorConfig):
        found, role = list(_of_collector(loaded.settings)), "collector"
        address, setting = f"{loaded.settings.address}:{loaded.settings.port}", "address and port"
    else:
        found, role = list(_of_processing(loaded, by_root=by_root)), loaded.settings.role
        address, setting = loaded.settings.http_address_used, "TIX_HTTP_ADDRESS"
    if path := logs.path_of(loaded.settings.log_file):
        found.append(Check("log file", _later("place.log_file", path, by_root=by_root), _HANGS))
    return [
        *found,
        Check("HTTP address", _later("place.http_address", address, setting), _SILENT),
        Check("control socket", _later("place.control_socket", around, role), _HANGS),
    ]


def _of_processing(loaded: Config, *, by_root: bool) -> Iterator[Check]:
    settings = loaded.settings
    seen = "reports_of_dispatcher" if settings.role == "dispatcher" else "reports"
    yield Check("reports folder", _later(f"reports.{seen}", settings), _HANGS)
    if settings.role != "worker":
        yield Check("schedule", _later("schedule.schedule", settings, by_root=by_root), _HANGS)
    if settings.role != "dispatcher":
        yield Check("tix-api", _later("api.api", settings), _SILENT)
        if settings.asn_table:
            yield Check("AS table", _later("table.table", settings.asn_table), _HANGS)
    if settings.role != "standalone":
        yield Check("RabbitMQ", _later("broker.broker", settings), _SILENT)


def _of_collector(settings: CollectorSettings) -> Iterator[Check]:
    if settings.amqp_enable:
        yield Check("AMQP", _later("outputs.amqp", settings), _SILENT)
    if settings.kafka_enable:
        yield Check("Kafka", _later("outputs.kafka", settings), _SILENT)
    if settings.file_path:
        yield Check("file", _later("outputs.file", settings), _HANGS)


def _later(name: str, *given: Any, **options: Any) -> Callable[[], str]:
    """The function "module.function" of this package; its module is imported at the call."""
    return partial(_call, name, *given, **options)


def _call(name: str, *given: Any, **options: Any) -> str:
    module, _, function = name.partition(".")
    said: str = getattr(import_module(f"tixd.diagnostics.{module}"), function)(*given, **options)
    return said
