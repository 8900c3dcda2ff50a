"""The collector's work of its own: form, bundle, records and JSON, without HTTP and broker.

Bundles are made to the measures of real ones; real ones, where they are present, are read as well.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote_plus

from benchmarks.yardstick import Row, interleaved, row
from tixd.collector import form
from tixd.collector.bundle import read_bundle
from tixd.collector.record import render
from tixd.collector.record_parser import Limits
from tixd.config.collector_settings import Format

#: How often each bundle is read, with the yardstick between the rounds.
ROUNDS = 7
TIMES = 40

#: Records of a made bundle.
RECORDS = 15

#: Shares of Y that the specification allows: 0.25 ms a form of 65 kB where Y is 60 ms; and what a
#: record may take without HTTP and broker.
MOST_OF_FORM = 1 / 240
MOST_OF_RECORD = 1 / 400

_UR = "http://www.gridforum.org/2003/ur-wg"


def measure(_: Path) -> list[Row]:
    """Made bundles in both forms, then real ones."""
    texts = {"update": _update(RECORDS), "multiupdate": _envelope(RECORDS)}
    rows = [_form(texts["update"])]
    for command, text in texts.items():
        rows.append(_bundle(f"a record of {RECORDS} ({command}) to JSON", command, text, "json"))
    rows.append(_bundle("the same to canonical XML", "update", texts["update"], "xml"))
    shared = os.environ.get("TIXD_SHARED") or Path(__file__).resolve().parents[3] / "shared"
    real = Path(shared, "data", "gracc", "update.bundle")
    if real.exists():
        rows.append(_bundle("the same, real records to JSON", "update", real.read_text(), "json"))
    return rows


def _form(text: str) -> Row:
    body = f"command=update&arg1={quote_plus(text)}".encode()
    body *= max(1, 65_000 // len(body))

    def once() -> float:
        begun = time.process_time_ns()
        for _ in range(TIMES):
            form.parse(body)
        return (time.process_time_ns() - begun) / TIMES

    once()
    return row(f"decode a form of {len(body)} bytes", *interleaved(once, ROUNDS), MOST_OF_FORM)


def _bundle(what: str, command: str, text: str, out: Format) -> Row:
    body = f"command={command}&from=bench&bundlesize={RECORDS}&arg1={quote_plus(text)}".encode()
    limits = Limits()

    def once() -> float:
        begun = time.process_time_ns()
        records = 0
        for _ in range(TIMES):
            found = read_bundle(form.parse(body), limits).records
            records += len([(render(each, out), each.message_id) for each in found])
        return (time.process_time_ns() - begun) / records

    once()
    most = MOST_OF_RECORD if out == "json" else None
    return row(f"{what}, CPU", *interleaved(once, ROUNDS), most)


def _update(count: int) -> str:
    """Each record twice, as collectors replicate them: parsed, and as the probe sent it."""
    return "".join(f"replication|{_job(i)}|{_job(i)}||" for i in range(count))


def _envelope(count: int) -> str:
    return f"<RecordEnvelope>{''.join(map(_job, range(count)))}</RecordEnvelope>"


def _job(number: int) -> str:
    """A job as a probe of HTCondor tells it: about 30 elements, 1.8 kB."""
    resources = "".join(
        f'<Resource urwg:description="condor.Key{i}">{number + i}</Resource>\n' for i in range(5)
    )
    durations = "".join(
        f'<TimeDuration urwg:type="Kind{i}">PT{number}M{i}.0S</TimeDuration>\n' for i in range(4)
    )
    return (
        f'<JobUsageRecord xmlns="{_UR}" xmlns:urwg="{_UR}">\n'
        f'<RecordIdentity urwg:recordId="host.example.org:{number}.1" '
        'urwg:createTime="2024-02-25T02:37:01Z"/>\n<JobIdentity>\n'
        f"<GlobalJobId>condor.host.example.org#{number}.0#1456365750</GlobalJobId>\n"
        f"<LocalJobId>{number}</LocalJobId>\n</JobIdentity>\n<UserIdentity>\n"
        "<LocalUserId>osg</LocalUserId>\n<DN>/DC=org/DC=example/OU=People/CN=Some Body</DN>\n"
        "<VOName>/osg/Role=NULL</VOName>\n<ReportableVOName>osg</ReportableVOName>\n"
        f"</UserIdentity>\n<JobName>host.example.org#{number}</JobName>\n"
        '<Status urwg:description="exit status">0</Status>\n'
        f'<WallDuration urwg:description="in seconds">PT{number}S</WallDuration>\n{durations}'
        '<CpuDuration urwg:usageType="user">PT20.0S</CpuDuration>\n'
        '<CpuDuration urwg:usageType="system">PT0S</CpuDuration>\n'
        "<StartTime>2024-02-25T02:02:30Z</StartTime>\n<EndTime>2024-02-25T02:25:45Z</EndTime>\n"
        '<NodeCount urwg:metric="max">1</NodeCount>\n<MachineName>host.example.org</MachineName>\n'
        f"<SiteName>SITE</SiteName>\n{resources}<ProbeName>condor:host.example.org</ProbeName>\n"
        "<Grid>OSG</Grid>\n</JobUsageRecord>"
    )
