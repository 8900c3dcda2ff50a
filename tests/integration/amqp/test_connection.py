"""RabbitMQ as tixd.amqp speaks it: what it refuses, breaks off and holds up, on a real broker."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pika
import pytest

from tests.support.broker import Broker
from tests.support.certificates import Authority, Pair, make_authority
from tests.support.direct import Direct
from tests.support.log_events import heard
from tests.support.pools import in_loop
from tests.support.queues import consumer, guest
from tests.support.relay import Relay
from tests.support.stand_in_api import StandInApi, closed_port
from tests.support.task_messages import EVERY_TYPE, OddProperties, nested
from tests.support.waiting import until
from tixd import errors
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection, connect
from tixd.amqp.messages import Endpoint, Message, Properties, Tls
from tixd.amqp.supervised import SupervisedConnection
from tixd.config.fields import Secret
from tixd.jobs import ProcessInstallation
from tixd.runtime.retry import Retry

#: Where the module's broker speaks TLS.
TLS_PORT = closed_port()

JOB = ProcessInstallation("/r/1/2", 1, 2)

PLAIN = Properties(content_type="text/plain")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Broker]:
    """One that wants a certificate of whoever comes over TLS."""
    config = {
        "listeners.ssl.1": f"127.0.0.1:{TLS_PORT}",
        "ssl_options.cacertfile": authority.ca.file,
        "ssl_options.certfile": authority.server.file,
        "ssl_options.keyfile": authority.server.key,
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }
    with Broker(tmp_path_factory.mktemp("broker"), config=config) as broker:
        broker.eval("application:set_env(rabbit, channel_tick_interval, 500)")
        yield broker


@pytest.fixture
def direct(broker: Broker) -> Direct:
    """A look into its queues, all of which are gone."""
    for queue in ("celery", "tixd.dead", "here", "full"):
        Direct(broker.port).delete(queue)
    return Direct(broker.port)


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    connection = await connect(endpoint, "test")
    try:
        yield connection
    finally:
        await connection.close()


def secure(authority: Authority, *, ca: Pair | None = None, own: Pair | None = None) -> Endpoint:
    """The broker over TLS; own: our certificate, none where its file is the null device."""
    pair = own or authority.client
    files = (pair.file, pair.key) if pair.file != Path(os.devnull) else ("", "")
    return replace(guest(TLS_PORT), tls=Tls(str((ca or authority.ca).file), *map(str, files)))


# --- connections ---------------------------------------------------------------------------------

NOBODY = Pair(Path(os.devnull), Path(os.devnull))


def test_a_port_where_nobody_listens_is_a_broker_away() -> None:
    with pytest.raises(errors.BrokerUnavailable, match="Connection refused"):
        asyncio.run(connect(guest(closed_port()), "test"))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 70, ""])
def test_a_host_without_an_address_is_a_broker_away(host: str) -> None:
    with pytest.raises(errors.BrokerUnavailable):
        asyncio.run(connect(replace(guest(5672), host=host), "test"))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"password": Secret("other")}, "ACCESS_REFUSED"),
        ({"user": "nobody"}, "ACCESS_REFUSED"),
        ({"vhost": "none"}, "NOT_ALLOWED - vhost none not found"),
    ],
    ids=str,
)
def test_who_may_not_enter_is_told_what_the_broker_says(broker, members, words) -> None:
    with pytest.raises(errors.BrokerRejected, match=words) as told:
        asyncio.run(connect(replace(guest(broker.port), **members), "test"))
    assert "other" not in str(told.value), "the password is in the message"


def test_a_server_that_speaks_something_else_is_a_broker_away(monkeypatch) -> None:
    monkeypatch.setattr("tixd.amqp.connection.CONNECT_SECONDS", 1.0)
    with StandInApi() as api, pytest.raises(errors.BrokerUnavailable):
        asyncio.run(connect(guest(api.port), "test"))
    assert api.connections == 1


@pytest.mark.parametrize(
    ("read", "words"),
    [(8, "the other side ended the connection"), (0, "Connection reset by peer")],
    ids=["end", "reset"],
)
def test_a_server_that_hangs_up_is_told_in_words(read, words) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(read)
        if not read:
            linger = struct.pack("ii", 1, 0)  # what comes then is a reset
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            await connect(guest(server.sockets[0].getsockname()[1]), "test")

    with pytest.raises(errors.BrokerUnavailable) as told:
        asyncio.run(run())
    assert str(told.value).startswith(f"{words}: No connection to RabbitMQ; ")


@in_loop
async def test_certificates_let_both_sides_in_over_tls(broker, authority) -> None:
    async with connected(secure(authority)) as connection:
        channel = await connection.channel(confirms=True)
        queue = (await channel.declare_queue("", exclusive=True)).name
        await channel.publish("", queue, b"x", PLAIN)


async def connect_and_hear_the_alert(endpoint: Endpoint) -> None:
    """Connect, again where the alert was lost, as a link does.

    With TLS 1.3 the broker looks at our certificate when we have begun to write: it may have closed
    the connection by then, and what it said of the reason is lost.
    """
    for _ in range(20):
        try:
            await connect(endpoint, "test")
        except errors.BrokerUnavailable as away:
            if "EOF occurred" not in str(away):
                raise


@pytest.mark.parametrize(
    ("which", "kind", "words"),
    [
        ("nobody vouches for the broker", errors.BrokerRejected, "certificate verify failed"),
        ("no certificate of ours", errors.BrokerRejected, "certificate required"),
        ("one of a stranger", errors.BrokerRejected, "certificate"),
        ("no file", errors.BrokerRejected, "none.pem.*: No such file"),
        ("another's key", errors.BrokerRejected, "key values mismatch"),
        ("TLS where none is spoken", errors.BrokerUnavailable, "wrong version"),
        ("none where TLS is spoken", errors.BrokerUnavailable, "No connection to RabbitMQ"),
    ],
)
def test_tls_that_cannot_be_agreed_on_says_why(broker, authority, which, kind, words) -> None:
    missing = Pair(Path("none.pem"), Path("none.key"))
    endpoints = {
        "nobody vouches for the broker": secure(authority, ca=authority.stranger),
        "no certificate of ours": secure(authority, own=NOBODY),
        "one of a stranger": secure(authority, own=authority.stranger),
        "no file": secure(authority, own=missing),
        "another's key": secure(authority, own=Pair(authority.client.file, authority.ca.key)),
        "TLS where none is spoken": replace(secure(authority), port=broker.port),
        "none where TLS is spoken": guest(TLS_PORT),
    }
    with pytest.raises(kind, match=words):
        asyncio.run(connect_and_hear_the_alert(endpoints[which]))


@in_loop
async def test_a_broker_short_of_memory_is_named_and_comes_back(broker, direct) -> None:
    with heard() as log:
        async with connected(guest(broker.port)) as connection:
            channel = await connection.channel(confirms=True)
            queue = (await channel.declare_queue("", exclusive=True)).name
            await asyncio.to_thread(broker.alarm)
            assert connection.blocked is None, "the broker tells only who publishes"
            confirmed = channel.publish("", queue, b"x", PLAIN)
            await until(lambda: connection.blocked == "low on memory")
            assert not confirmed.done()
            await asyncio.to_thread(broker.clear_alarm)
            await confirmed
            await until(lambda: not connection.blocked)
    told = [event for event in log.events if event[1].startswith("broker_")]
    assert told == [("warning", "broker_blocked"), ("info", "broker_unblocked")]


# --- publishing ----------------------------------------------------------------------------------


@in_loop
async def test_a_message_without_a_queue_spoils_no_other_one(broker, direct) -> None:
    direct.declare("here")
    async with connected(guest(broker.port)) as connection:
        channel = await connection.channel(confirms=True)
        keys = ["nowhere" if n % 10 == 3 else "here" for n in range(200)]
        sent = [channel.publish("", key, b"x", PLAIN) for key in keys]
        done = await asyncio.gather(*sent, return_exceptions=True)
        assert channel.unconfirmed == 0
    returned = ["nowhere" if isinstance(d, errors.MessageReturned) else "here" for d in done]
    assert returned == keys
    assert direct.count("here") == keys.count("here")


@in_loop
async def test_a_full_queue_refuses_one_message_and_the_next_is_taken(broker, direct) -> None:
    direct.declare("full", x_max_length=1, x_overflow="reject-publish")
    async with connected(guest(broker.port)) as connection:
        channel = await connection.channel(confirms=True)
        await channel.publish("", "full", b"1", PLAIN)
        with pytest.raises(errors.MessageRefused):
            await channel.publish("", "full", b"2", PLAIN)
        assert [message.body for message in direct.drain("full")] == [b"1"]
        await channel.publish("", "full", b"3", PLAIN)


@in_loop
async def test_a_message_that_cannot_be_written_leaves_confirms_in_step(broker, direct) -> None:
    direct.declare("here")
    async with connected(guest(broker.port)) as connection:
        channel = await connection.channel(confirms=True)
        await channel.publish("", "here", b"1", PLAIN)
        with pytest.raises(errors.BrokerError):
            channel.publish("", "k" * 256, b"2", PLAIN)
        await asyncio.wait_for(channel.publish("", "here", b"3", PLAIN), 60)
    assert [message.body for message in direct.drain("here")] == [b"1", b"3"]


@in_loop
async def test_the_end_of_a_channel_ends_what_is_unconfirmed(broker, direct) -> None:
    with Relay(broker.port) as relay:
        async with connected(guest(relay.port)) as connection:
            channel = await connection.channel(confirms=True)
            relay.black_hole()
            waiting = channel.publish("", "here", b"x", PLAIN)
            relay.reset()
            with pytest.raises(errors.BrokerUnavailable):
                await asyncio.wait_for(waiting, 60)
            with pytest.raises(errors.BrokerUnavailable):
                await channel.publish("", "here", b"y", PLAIN)
            assert channel.unconfirmed == 0


# --- queues --------------------------------------------------------------------------------------


@in_loop
async def test_a_queue_that_cannot_be_had_ends_its_channel_alone(broker, direct) -> None:
    direct.declare("here", x_max_priority=5)
    async with connected(guest(broker.port)) as one, connected(guest(broker.port)) as other:
        await (await one.channel()).declare_queue("only", exclusive=True)
        for kind, name, flags in (
            (errors.NotDeclared, "none", {"passive": True}),
            (errors.BrokerRejected, "here", {"durable": True}),
            (errors.QueueLocked, "only", {"exclusive": True}),
            (errors.QueueLocked, "only", {"passive": True}),
        ):
            channel = await other.channel()
            with pytest.raises(kind):
                await channel.declare_queue(name, **flags)
            assert isinstance(channel.ended.result(), kind)
        assert not other.ended.done()
        assert (await (await other.channel()).declare_queue("here", passive=True)).messages == 0


#: Arguments of queues that others have declared.
FOUND = [
    {"x_max_priority": 10},
    {"x_message_ttl": 600_000},
    {"x_expires": 600_000},
    {"x_queue_type": "quorum"},
    {"x_max_length": 100, "x_overflow": "reject-publish"},
    {"x_single_active_consumer": True},
]


@pytest.mark.parametrize("arguments", FOUND, ids=lambda arguments: next(iter(arguments)))
@in_loop
async def test_a_queue_of_others_is_used_as_it_is_found(broker, direct, arguments) -> None:
    direct.declare("celery", **arguments)
    async with consumer(broker.port, "/r") as queue:
        await queue.put(JOB)
        delivery = await asyncio.wait_for(queue.take(), 60)
        assert delivery.job == JOB
        await delivery.requeue_last()
        await (await asyncio.wait_for(queue.take(), 60)).ack()
    direct.declare("celery", **arguments)
    assert direct.count("celery") == 0


# --- consuming -----------------------------------------------------------------------------------


async def consuming(connection: Connection, queue: str, *, ack: bool) -> tuple[Channel, list[int]]:
    """A channel that consumes, and the tags of what it got; answered or not."""
    channel, tags = await connection.channel(), list[int]()

    def take(message: Message) -> None:
        tags.append(message.tag)
        if ack:
            channel.ack(message.tag)

    await channel.consume(queue, 10, take)
    return channel, tags


@in_loop
async def test_a_deleted_queue_ends_the_channel_of_its_consumer(broker, direct) -> None:
    direct.declare("here")
    async with connected(guest(broker.port)) as connection:
        channel, _ = await consuming(connection, "here", ack=True)
        await asyncio.to_thread(direct.delete, "here")
        await until(channel.ended.done)
        assert isinstance(channel.ended.result(), errors.BrokerUnavailable)
        assert not connection.ended.done()


@pytest.fixture
def impatient(broker: Broker) -> Iterator[None]:
    """The broker soon ends consumers that do not answer."""
    with broker.impatient(3.0):
        yield


@pytest.mark.usefixtures("impatient")
@in_loop
async def test_a_message_kept_too_long_ends_the_channel_and_not_more(broker, direct) -> None:
    direct.declare("here")
    async with connected(guest(broker.port)) as connection:
        channel, tags = await consuming(connection, "here", ack=False)
        await asyncio.to_thread(direct.publish, "here", "slow")
        await until(lambda: tags)
        await until(channel.ended.done)
        assert "timed out" in channel.ended.result().detail
        channel.ack(tags[0])
        channel.nack(tags[0])
        _, again = await consuming(connection, "here", ack=True)
        await until(lambda: again)
        assert not connection.ended.done()


@in_loop
async def test_headers_of_every_kind_survive_a_burial(broker, direct) -> None:
    direct.declare("celery")
    async with consumer(broker.port, "/r") as queue:
        await asyncio.to_thread(publish_odd, direct)
        await until(lambda: direct.exists("tixd.dead"))
        await until(lambda: not queue.open and direct.count("tixd.dead") == len(EVERY_TYPE))
    found = {
        next(name for name in message.properties.headers if name != "tixd-reason"): message
        for message in direct.drain("tixd.dead")
    }
    values = {name: message.properties.headers[name] for name, message in found.items()}
    assert values == {name: value for name, (_, value) in EVERY_TYPE.items()}


def publish_odd(direct: Direct) -> None:
    """A message for each type of header."""
    with direct.channel() as channel:
        for name, (wire, _) in EVERY_TYPE.items():
            channel.basic_publish("", "celery", b"{", OddProperties(wire, name.encode()))


#: What no header should be, but may.
POISON = {
    "5000 arrays in one another": OddProperties(nested(5000)),
    "arrays that can just be read": OddProperties(nested(950)),
    "a name that is no text": OddProperties(b"t\x01", b"\xff\xfe"),
    "50,000 numbers": OddProperties(b"A" + (100_000).to_bytes(4, "big") + b"b\x01" * 50_000),
    "further queues": pika.BasicProperties(headers={"CC": ["celery", "here"]}),
}


@in_loop
async def test_no_headers_end_the_consumer_or_multiply_the_message(broker, direct) -> None:
    direct.declare("celery")
    async with consumer(broker.port, "/r") as queue:
        for properties in POISON.values():
            before = queue.link.connection
            with direct.channel() as channel:
                channel.basic_publish("", "celery", b"{", properties)
            await until(lambda: not queue.open and direct.exists("tixd.dead"))
            await until(lambda: direct.count("tixd.dead"))
            (dead,) = direct.drain("tixd.dead")
            assert dead.properties.headers.keys() == {"tixd-reason"}
            assert queue.link.connection is before
    assert direct.count("celery") == 0


# --- links ---------------------------------------------------------------------------------------


def open_things() -> tuple[int, int, int]:
    """Descriptors, threads and tasks of this process."""
    descriptors = len(os.listdir("/proc/self/fd"))
    return descriptors, threading.active_count(), len(asyncio.all_tasks())


@asynccontextmanager
async def linked(port: int) -> AsyncIterator[list[Connection]]:
    """Every connection so far of a link that runs."""
    ways: list[Connection] = []

    async def use(connection: Connection) -> None:
        await connection.channel(confirms=True)
        ways.append(connection)
        link.mark_ready(connection)
        await connection.ended

    link = SupervisedConnection(guest(port), "test", use, Retry(0.001, 0.001))
    running = asyncio.ensure_future(link.run())
    await until(lambda: ways)
    yield ways
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("times", [60, pytest.param(300, marks=pytest.mark.long)])
@in_loop
async def test_many_reconnects_leave_nothing_open_behind(broker, times) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with Relay(broker.port) as relay, heard() as log:
        async with linked(relay.port) as ways:
            for _ in range(10):
                await reset(relay, ways)
            few = open_things()
            for _ in range(times - 10):
                await reset(relay, ways)
            await until(lambda: all(n <= m for n, m in zip(open_things(), few, strict=True)))
    changes = [event for _, event in log.events if event.startswith("broker_")]
    assert changes == ["broker_connected", "broker_disconnected"] * times + ["broker_connected"]


async def reset(relay: Relay, ways: list[Connection]) -> None:
    """Break the connection; go on once there is the next one, and nothing else."""
    known = len(ways)
    await asyncio.to_thread(relay.reset)
    await until(lambda: len(ways) > known and len(relay.open) == 2, 60)


@in_loop
async def test_a_link_that_is_refused_again_and_again_says_so_once() -> None:
    tried = 0

    class Counting(Retry):
        def draw_seconds(self, *_: object) -> float:
            nonlocal tried
            tried += 1
            return 0.001

    async def use(_: Connection) -> None:
        raise AssertionError("there is nobody")

    with heard() as log:
        link = SupervisedConnection(guest(closed_port()), "t", use, Counting(0.001, 0.001))
        running = asyncio.ensure_future(link.run())
        await until(lambda: tried >= 50)
        running.cancel()
        await asyncio.wait([running])
    told = [event for event in log.events if "broker" in event[1]]
    assert told == [("warning", "broker_not_connected")], "what never was is not lost"
