"""What is tried for which role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tixd import logs
from tixd.checks import api, broker, place, reports, schedule, table
from tixd.checks.trying import Check
from tixd.collector.configuration import CollectorConfig
from tixd.collector.settings import CollectorSettings
from tixd.config import Config

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
        found.append(Check("log file", partial(place.log_file, path, by_root=by_root), _HANGS))
    return [
        *found,
        Check("HTTP address", partial(place.http_address, address, setting), _SILENT),
        Check("control socket", partial(place.control_socket, around, role), _HANGS),
    ]


def _of_processing(loaded: Config, *, by_root: bool) -> Iterator[Check]:
    settings = loaded.settings
    seen = reports.reports_of_dispatcher if settings.role == "dispatcher" else reports.reports
    yield Check("reports folder", partial(seen, settings), _HANGS)
    if settings.role != "worker":
        yield Check("schedule", partial(schedule.schedule, settings, by_root=by_root), _HANGS)
    if settings.role != "dispatcher":
        yield Check("tix-api", partial(api.api, settings), _SILENT)
        if settings.asn_table:
            yield Check("AS table", partial(table.table, settings.asn_table), _HANGS)
    if settings.role != "standalone":
        yield Check("RabbitMQ", partial(broker.broker, settings), _SILENT)


def _of_collector(settings: CollectorSettings) -> Iterator[Check]:
    from tixd.checks import outputs  # noqa: PLC0415 - only this role pays for it

    if settings.amqp_enable:
        yield Check("AMQP", partial(outputs.amqp, settings), _SILENT)
    if settings.kafka_enable:
        yield Check("Kafka", partial(outputs.kafka, settings), _SILENT)
    if settings.file_path:
        yield Check("file", partial(outputs.file, settings), _HANGS)
