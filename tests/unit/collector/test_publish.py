"""All outputs together: ready before any is published to, one deadline, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.bundles import job
from tests.support.queues import MemorySink
from tixd import errors
from tixd.collector.bundle import read_bundle
from tixd.collector.cooperative import Steps
from tixd.collector.publish import COPIES, PART_BYTES, PART_RECORDS, Rendered, SinkGroup
from tixd.collector.record import Record
from tixd.collector.record_parser import Limits
from tixd.sinks.base import OutboundMessage


def records(*identities: str) -> Sequence[Record]:
    """These records, read from a bundle."""
    text = "".join(job(identity) for identity in identities)
    envelope = f"<RecordEnvelope>{text}</RecordEnvelope>".encode()
    given = {"command": b"multiupdate", "arg1": envelope, "from": b"x"}
    return read_bundle(given, Limits()).records


async def in_turns(work: Steps[Rendered]) -> Rendered:
    """Do the work with a turn of the loop after each step."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        await asyncio.sleep(0)


def publish(sinks: Sequence[MemorySink], *identities: str, seconds: float = 60.0) -> None:
    """Publish these records."""
    asyncio.run(SinkGroup(sinks, seconds).publish(records(*identities), in_turns))


def test_every_sink_gets_every_record_in_its_own_form():
    raw, json = MemorySink("raw"), MemorySink("json")
    publish([raw, json], "a", "b")
    assert [message.key for message in raw.kept] == ["a", "b"]
    assert raw.kept[0].body.startswith(b"<JobUsageRecord")
    assert (raw.kept[0].content_type, json.kept[0].content_type) == ("text/xml", "application/json")
    assert raw.kept[0].message_id == json.kept[0].message_id


def test_where_one_sink_is_away_none_is_published_to():
    here, away = MemorySink(), MemorySink()
    away.away = "gone"
    with pytest.raises(errors.Unavailable, match="memory: gone"):
        publish([here, away], "a")
    assert (here.kept, away.hurried) == ([], 1)


def test_what_one_sink_can_never_take_goes_to_none():
    wide, narrow = MemorySink(), MemorySink()
    narrow.largest_bytes = 10
    with pytest.raises(errors.TooLargeForOutput):
        publish([wide, narrow], "a")
    assert wide.kept == []


class Parts(MemorySink):
    """Notes how many messages it is given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Keep them."""
        self.counts.append(len(messages))
        await super().publish(messages)


def test_a_large_bundle_is_published_in_parts_and_a_usual_one_at_once():
    usual, large = Parts(), Parts()
    publish([usual], *map(str, range(100)))
    publish([large], *map(str, range(2500)))
    assert usual.counts == [100]
    assert [message.key for message in large.kept] == [str(n) for n in range(2500)]
    assert max(large.counts) <= PART_RECORDS
    assert len(large.counts) > 2


def test_what_does_not_fit_in_the_last_part_keeps_the_first_from_being_published():
    sink = Parts()
    sink.largest_bytes = len(records("1")[0].source) * 3
    with pytest.raises(errors.TooLargeForOutput):
        publish([sink], *map(str, range(2500)), "x" * 5000)
    assert sink.kept == []


@pytest.mark.parametrize("count", [24, 40], ids=["one part", "several parts"])
def test_rendering_lets_others_have_a_turn_after_each_long_record(count: int):
    many = records(*(f"{n}{'x' * 40_000}" for n in range(count)))

    async def turns() -> int:
        publishing = asyncio.create_task(
            SinkGroup([MemorySink("xml")], 60.0).publish(many, in_turns)
        )
        number = 0
        while not publishing.done():
            await asyncio.sleep(0)
            number += 1
        await publishing
        return number

    assert asyncio.run(turns()) >= count


def test_publishing_a_large_bundle_takes_no_more_memory_than_one_of_its_parts():
    outputs = SinkGroup([MemorySink(), MemorySink()], 60.0)
    few, many = records("1"), records(*map(str, range(5000)))
    assert outputs.memory_bytes(few) == 2 * COPIES * few[0].memory_bytes
    assert outputs.memory_bytes(many) < 2 * COPIES * (PART_BYTES + 10_000)
    assert outputs.memory_bytes([]) == 0


def test_where_one_sink_refuses_the_bundle_is_not_accepted():
    willing, unwilling = MemorySink(), MemorySink()
    unwilling.refused = {"b"}
    with pytest.raises(errors.Unavailable, match="refused"):
        publish([willing, unwilling], "a", "b")


class Surprised(MemorySink):
    """A sink that learns only by publishing that a record is too large."""

    async def publish(self, _: Sequence[OutboundMessage]) -> None:
        raise errors.TooLargeForOutput("large")


@pytest.mark.parametrize("first", [True, False])
def test_what_can_never_fit_is_told_rather_than_what_failed_beside_it(first: bool):
    refusing = MemorySink()
    refusing.refused = {"a"}
    sinks = [refusing, Surprised()]
    with pytest.raises(errors.TooLargeForOutput):
        publish(sinks if first else sinks[::-1], "a")


class Silent(MemorySink):
    """A sink that never confirms."""

    async def publish(self, _: Sequence[OutboundMessage]) -> None:
        await asyncio.Event().wait()


def test_a_sink_that_does_not_confirm_in_time_has_not_accepted():
    with pytest.raises(errors.Unavailable, match="no confirm of all records within"):
        publish([Silent()], "a", seconds=0.01)


class Stubborn(MemorySink):
    """A sink that can never start."""

    async def start(self) -> None:
        raise errors.CannotStart("no")


def test_a_sink_that_cannot_start_stops_those_that_have():
    stopped: list[str] = []

    class Started(MemorySink):
        async def stop(self) -> None:
            stopped.append("stopped")

    with pytest.raises(errors.CannotStart):
        asyncio.run(SinkGroup([Started(), Stubborn()], 1.0).start())
    assert stopped == ["stopped"]


@pytest.mark.parametrize(
    ("away", "confirmed", "said"),
    [
        ("", None, "memory: nothing was accepted yet"),
        ("gone", None, "memory: gone"),
        ("", 1.0, "memory: nothing was accepted for"),
    ],
)
def test_readiness_says_which_output_lacks_what(away: str, confirmed: float | None, said: str):
    sink = MemorySink()
    sink.away, sink.last_confirmed_at = away, confirmed
    (reason,) = SinkGroup([sink], 1.0).unready_reasons()
    assert reason.startswith(said)
