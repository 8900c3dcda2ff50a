"""Bundles of real probes and of hostile senders, to `tixd --role collector` with RabbitMQ."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest

from tests.support.broker import Broker
from tests.support.bundles import form
from tests.support.chosen import few
from tests.support.collector import Collector
from tests.support.direct import QUEUE, Direct, bound_queue, to_broker
from tests.support.gratia import job
from tests.support.recordings import shared_case
from tixd.collector.server import SERVLET

#: How much memory the collector may have at its peak, whatever is sent.
MOST_BYTES = 256 * 1024 * 1024

#: How many hostile requests come at once.
HOSTILE = 64

DOCTYPE = '<!DOCTYPE R [<!ENTITY a "boo">]>'

HANDSHAKE = "<ProbeDetails xmlns='urn:a'><ReporterLibrary>x</ReporterLibrary></ProbeDetails>"


@contextmanager
def collecting(folder: Path, broker: Broker, **settings: Any) -> Iterator[tuple[Collector, Direct]]:
    """A collector that publishes to a queue, and who looks into it."""
    queue = bound_queue(broker)
    with Collector(folder, to_broker(broker.port, **settings)) as collector:
        collector.becomes_ready()
        yield collector, queue


def envelope(text: str) -> bytes:
    """The form of a multiupdate of what stands in the envelope."""
    arg1 = f"<RecordEnvelope>{text}</RecordEnvelope>"
    return urlencode({"command": "multiupdate", "arg1": arg1, "from": "probe"}).encode()


def published(queue: Direct) -> list[dict[str, Any]]:
    """The records in the queue, which is empty after it."""
    return [json.loads(found.body) for found in queue.each(QUEUE)]


def test_what_probes_send_is_published_as_the_original_published_it(tmp_path, broker):
    durations = "<WallDuration>PT1M5.17S</WallDuration><CpuDuration>PT21.29S</CpuDuration>"
    sent = [durations, "<QueueTime/>", "<QueueTime>2016-01-02T03:04:05</QueueTime>"]
    with collecting(tmp_path, broker) as (collector, queue):
        assert [collector.post(envelope(job(inside))) for inside in sent] == [200] * 3
        first, second, third = published(queue)
    assert (first["WallDuration"], first["CpuDuration"]) == (65.169999999, 21.289999999)
    assert "QueueTime" not in second
    assert third["QueueTime"] == "2016-01-02T03:04:05"


def test_a_handshake_is_logged_and_counts_as_no_error(tmp_path, broker):
    with collecting(tmp_path, broker, unknownRecords="reject") as (collector, queue):
        assert collector.post(envelope(HANDSHAKE + job())) == 200
        token = f"replication|{HANDSHAKE}|||"
        assert collector.post(form([], arg1=token, bundlesize="1")) == 200
        stats = json.loads(collector.ask("GET", "/stats")[1])
        lines = [line for line in collector.log("request") if "ProbeDetails" in line]
        assert len(published(queue)) == 1
    assert (stats["Records"], stats["RecordErrors"], stats["RequestErrors"]) == (1, 0, 0)
    assert [line["ProbeDetails"] for line in lines] == [1, 1]
    assert collector.log("records_unknown") == []


@pytest.mark.parametrize(
    "before", few(["", "\ufeff", " <?xml version='1.0'?><!-- -->", "x <?p?>"], "x <?p?>")
)
def test_a_doctype_gets_400_whatever_stands_before_it(tmp_path, broker, before):
    record = f"{before}{DOCTYPE}<JobUsageRecord><Note>&a;</Note></JobUsageRecord>"
    bundle = form([], arg1=f"replication|{record}|r|e", bundlesize="1")
    with collecting(tmp_path, broker) as (collector, queue):
        status, answer = collector.ask("POST", SERVLET, bundle)
        assert (status, collector.post(envelope(record))) == (400, 400)
        assert b"record 1: a DOCTYPE is not accepted" in answer
        assert published(queue) == []


def test_the_inputs_of_the_field_end_as_they_must(tmp_path, broker):
    names = ("bom-doctype.form", "queuetime-empty.form", "queuetime-no-zone.form")
    record = shared_case("fractional-seconds.xml").read_text()
    with collecting(tmp_path, broker) as (collector, queue):
        codes = [collector.post(shared_case(name).read_bytes()) for name in names]
        assert [*codes, collector.post(envelope(record))] == [400, 200, 200, 200]
        found = published(queue)
    assert [each.get("QueueTime") for each in found] == [None, "2016-01-02T03:04:05", None]
    assert found[2]["CpuDuration"] == 21.289999999 + 1.54


def growing() -> list[bytes]:
    """Bodies that would take many times their size: entities, names, attributes, text, keys."""
    mark, mib = "\ufeff", 1 << 20
    names = "".join(f"<n:a{i}/>" for i in range(19_000))
    inside = [
        f"<b xmlns:n='{'u' * mib}'>{names}</b>",
        f"<b xmlns:n='{'u' * 250}\U0001f600'>{names}</b>",
        "<a b='1' c='2' d='3' e='4' f='5' g='6'/>" * 19_000,
        f"<N>\U0001f600{'x' * 3 * mib}</N>",
        f"<{'n' * 900} unit='1' metric='1' formula='1' storageUnit='1'/>" * 1000,
        "".join(f"<p{i}:a/>" for i in range(19_000)),
    ]
    entity = f'{mark}<!DOCTYPE R [<!ENTITY a "{"x" * mib}">]><JobUsageRecord>{"&a;" * 9999}'
    bundles = [form([], arg1=f"replication|{entity}</JobUsageRecord>|||", bundlesize="1")]
    bundles += [
        b"command=multiupdate&from=x&arg1="
        + quote_plus(f"<RecordEnvelope>{job(each) * 3}</RecordEnvelope>").encode()
        for each in inside
    ]
    return bundles


@pytest.mark.alone
def test_many_bundles_that_grow_in_memory_stay_within_it_together(tmp_path, broker):
    bodies = growing()
    with collecting(tmp_path, broker, timeout="20s") as (collector, queue):
        collector.forget_peak()
        with ThreadPoolExecutor(HOSTILE) as pool:
            codes = list(
                pool.map(collector.post, [bodies[i % len(bodies)] for i in range(HOSTILE)])
            )
            good = collector.post(form(["good"]))
        peak = collector.peak_bytes()
        queue.drain(QUEUE)
    sys.stdout.write(f"{HOSTILE} hostile at once: {sorted(codes)}, peak {peak >> 20} MiB\n")
    closed_early = 0
    assert {400, 413} <= set(codes) <= {200, 400, 408, 413, 503, closed_early}
    assert good == 200
    assert peak < MOST_BYTES
