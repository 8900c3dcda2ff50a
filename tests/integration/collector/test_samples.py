"""Real bundles over HTTP onto a real queue, beside what the original published for them."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode
from xml.dom.minidom import parseString

import pytest

from tests.support import gratia
from tests.support.broker import Broker
from tests.support.collecting import Client, collecting
from tests.support.direct import QUEUE, bound_queue
from tests.support.queues import MemorySink
from tests.support.recordings import shared_data
from tests.support.waiting import until
from tixd.collector.record import FORMATS
from tixd.config.collector_settings import CollectorSettings
from tixd.sinks.amqp import AmqpSink

BUNDLES = {"update": ("update.bundle", 15), "multiupdate": ("multiupdate.xml", 11)}


def body(command: str) -> bytes:
    """The form that brings the real bundle of this command."""
    name, size = BUNDLES[command]
    text = shared_data(f"gracc/{name}").read_bytes()
    return urlencode({"command": command, "arg1": text, "from": "x", "bundlesize": size}).encode()


def published(broker: Broker, command: str, form: str) -> list[bytes]:
    """What stands in the queue after the bundle was posted."""
    direct = bound_queue(broker)

    async def main() -> None:
        settings = CollectorSettings(amqp_port=broker.port, amqp_host=broker.host, amqp_format=form)
        sink = AmqpSink(settings)
        async with collecting([sink]) as client:
            await until(lambda: not sink.unready_reason())
            assert (await client.post(body(command))).status == 200

    asyncio.run(main())
    return [message.body for message in direct.drain(QUEUE)]


def without_source(record: dict[str, Any]) -> str:
    """A record but for RawXML, in one spelling."""
    return json.dumps({k: v for k, v in record.items() if k != "RawXML"}, sort_keys=True)


def parses(text: str | bytes) -> bool:
    """Whether a text is XML, every prefix of it declared."""
    return bool(parseString(text))  # noqa: S318 - our own output


@pytest.mark.parametrize("command", BUNDLES)
def test_real_bundles_arrive_as_the_original_published_them(broker, command):
    expected = shared_data(f"gracc/{command}.expected.json.jsonl").read_text().splitlines()
    found = [json.loads(text) for text in published(broker, command, "json")]
    assert sorted(map(without_source, found)) == sorted(
        without_source(json.loads(line)) for line in expected
    )
    assert all(parses(record["RawXML"]) for record in found)


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"json"}))
@pytest.mark.parametrize("command", BUNDLES)
def test_real_records_as_xml_stand_alone(broker, command, form):
    found = published(broker, command, form)
    assert len(found) == BUNDLES[command][1]
    assert all(parses(text) for text in found)


@pytest.mark.parametrize(
    "case", [c for c in gratia.cases() if "form" in c], ids=lambda case: case["case"]
)
def test_odd_requests_get_the_originals_status(case):
    """Where tixd departs on purpose it takes what the original refused: an odd quote."""

    async def main() -> tuple[int, bytes]:
        async with collecting([MemorySink()]) as client:
            return await said(client, urlencode(case["form"]).encode())

    status, answer = asyncio.run(main())
    assert status == (200 if case["case"] == "quote-lone" else case["status"])
    if case["case"] in ("ping", "badcmd", "noarg", "empty-envelope"):
        assert answer.decode() == case["answer"]


async def said(client: Client, form: bytes) -> tuple[int, bytes]:
    """Status and body."""
    answer = await client.post(form)
    return answer.status, answer.body
