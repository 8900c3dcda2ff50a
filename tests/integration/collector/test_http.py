"""The collector over real sockets: answers, order of checks, limits, counts, the log."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.support.bundles import PING, form, job, parameters
from tests.support.collecting import FORM, Client, Said, collecting
from tests.support.log_events import heard
from tests.support.queues import MemorySink
from tests.support.waiting import until_answer
from tixd.collector import receive
from tixd.collector.server import SERVLET

Test = Callable[[Client, MemorySink], Awaitable[Any]]


def run(test: Test, sink: MemorySink | None = None, **settings: Any) -> Any:
    """What the test returns of a collector with one sink."""
    kept = sink or MemorySink()

    async def main() -> Any:
        async with collecting([kept], **settings) as client:
            return await test(client, kept)

    return asyncio.run(main())


def posted(body: bytes, sink: MemorySink | None = None, **headers: str) -> Said:
    """The answer to this form."""
    return run(lambda client, _: client.post(body, **headers), sink)


def test_a_bundle_is_answered_ok_once_its_records_are_out():
    sink = MemorySink()
    said = posted(form(["a", "b"]), sink)
    assert (said.status, said.body) == (200, b"OK")
    assert [json.loads(message.body)["RecordId"] for message in sink.kept] == ["a", "b"]
    assert len({message.message_id for message in sink.kept}) == 2


def test_the_query_counts_as_a_form_and_the_body_wins():
    async def test(client: Client, sink: MemorySink) -> None:
        query = form(["q"]).decode()
        assert (await client.get(f"{SERVLET}?{query}")).body == b"OK"
        assert (await client.post(form(["b"]), f"{SERVLET}?{query}")).body == b"OK"
        assert [message.key for message in sink.kept] == ["q", "b"]

    run(test)


def test_a_ping_is_answered_whatever_the_output_does():
    sink = MemorySink()
    sink.away = "gone"
    assert posted(PING, sink).body == b"OK"
    assert posted(form(["a"]), sink).status == 503


def test_a_bundle_in_vain_is_503_with_retry_after_and_a_hurry():
    sink = MemorySink()
    sink.away = "gone"
    said = posted(form(["a"]), sink)
    assert (said.status, said.body) == (503, b"Service unavailable right now")
    assert int(said.headers["retry-after"]) > 0
    assert sink.hurried == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": ""}, b'Error handling request: missing key "command"'),
        ({"command": "zap"}, b"Error handling request: unknown command"),
        ({"arg1": ""}, b'Error handling request: missing key "arg1"'),
        ({"from": ""}, b'Error handling request: missing key "from"'),
        ({"bundlesize": ""}, b'Error handling request: missing key "bundlesize"'),
        ({"bundlesize": "2"}, b"Error handling request: number of records in bundle (1)"),
        ({"arg1": "replication|<JobUsageRecord/|||"}, b"Error "),
        ({"arg1": f"replication|{job(1)}|||replication|<Zap/>|||", "bundlesize": "2"}, b"Error "),
    ],
)
def test_what_the_sender_must_correct_is_400_and_nothing_goes_out(changes, said):
    sink = MemorySink()
    answer = posted(form(["a"], **changes), sink)
    assert answer.status == 400
    assert answer.body.startswith(said)
    assert sink.kept == []


def test_one_bad_record_fails_its_whole_bundle():
    sink = MemorySink()
    bad = job("b").replace("2016-05-27T20:00:00Z", "yesterday")
    text = f"replication|{job('a')}|||replication|{bad}|||"
    answer = posted(form([], arg1=text, bundlesize="2"), sink)
    assert (answer.status, sink.kept) == (400, [])
    assert answer.body.startswith(b"Error processing record: ")


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (("PUT", SERVLET), 405),
        (("GET", "/"), 404),
        (("GET", "/gratia-servlets/rmi/"), 404),
        (("GET", "/debug/pprof/"), 404),
        (("POST", "/stats"), 405),
        (("DELETE", "/metrics"), 405),
    ],
)
def test_other_methods_and_paths_are_refused(ask, status):
    assert run(lambda client, _: client.ask(*ask)).status == status


def test_a_probe_with_a_wrong_path_is_told_the_right_one():
    answer = run(lambda client, _: client.ask("POST", "/gratia-servlet/rmi"))
    assert f"not found; here are {SERVLET}, ".encode() in answer.body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content_Type": ""}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded; charset=UTF-8"}, 200),
        ({"Content_Encoding": "br"}, 415),
        ({"Content_Encoding": "gzip"}, 400),
        ({"Expect": "100-continue"}, 200),
        ({"Content_Length": str(1 << 30)}, 413),
    ],
)
def test_heads_that_promise_what_is_not_taken_are_refused(headers, status):
    assert posted(form(["a"]), **headers).status == status


def raw_deflate(text: bytes) -> bytes:
    """Deflate without zlib's header, as some senders understand it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize(
    ("pack", "encoding"),
    [
        (gzip.compress, "gzip"),
        (lambda text: gzip.compress(text[:99]) + gzip.compress(text[99:]), "x-gzip"),
        (zlib.compress, "deflate"),
        (raw_deflate, "deflate"),
        (bytes, "identity"),
    ],
)
def test_compressed_bodies_are_inflated(pack, encoding):
    assert posted(pack(form(["a"])), Content_Encoding=encoding).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(form(["a"]), mtime=0)[:-9], 400),
        (gzip.compress(form(["a"]), mtime=0) + b"rest", 400),
        (gzip.compress(bytes(5000), mtime=0), 413),
    ],
)
def test_compressed_bodies_that_lie_are_refused(body, status):
    ask = run(lambda client, _: client.post(body, Content_Encoding="gzip"), max_inflated_bytes=4000)
    assert ask.status == status


def test_a_body_over_its_limit_is_413_also_when_it_does_not_say_so():
    async def test(client: Client, _: MemorySink) -> None:
        assert (await client.post(bytes(101))).status == 413
        chunked = b"".join(b"%x\r\n%s\r\n" % (50, bytes(50)) for _ in range(4)) + b"0\r\n\r\n"
        said = await client.post(chunked, Content_Length="", Transfer_Encoding="chunked")
        assert (said.status, said.headers["connection"]) == (413, "close")

    run(test, max_body_bytes=100)


def test_a_body_that_does_not_come_in_time_is_408():
    said = run(lambda client, _: client.post(b"x", Content_Length="9"), timeout_seconds=1.0)
    assert (said.status, said.headers["connection"]) == (408, "close")


def test_a_connection_that_sends_no_head_in_time_is_closed():
    assert run(lambda client, _: client.raw(b"POST "), timeout_seconds=0.1) == b""


def test_a_kept_connection_lives_longer_than_a_request_may_take():
    async def test(client: Client, _: MemorySink) -> bytes:
        reader, writer = await client.connect()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok\n")
        assert await client.raw(b"") == b"", "one that asks nothing is closed meanwhile"
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer

    assert run(test, timeout_seconds=1.0).endswith(b"ok\n")


def test_a_request_that_needs_more_memory_than_all_may_have_is_413():
    said = run(lambda client, _: client.post(form(["a"])), max_bytes_in_hand=100)
    assert (said.status, b"maxBytesInHand" in said.body) == (413, True)


async def begun(
    client: Client, sent: bytes, length: int = 1_000_000
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A sender that has sent so much of a body of this length, and then nothing."""
    reader, writer = await client.connect()
    head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
    writer.write(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode() + sent)
    await writer.drain()
    return reader, writer


async def in_hand(client: Client, name: str = "bytes") -> float:
    """What /metrics says is in hand."""
    metrics = (await client.get("/metrics")).body.decode()
    (line,) = [x for x in metrics.splitlines() if x.startswith(f"tixd_collector_{name}_in_hand ")]
    return float(line.split()[1])


def test_bodies_that_stall_make_room_for_a_good_bundle():
    async def test(client: Client, sink: MemorySink) -> list[bytes]:
        stalled = [await begun(client, b"arg1=" + bytes(65_000)) for _ in range(9)]
        await until_answer(lambda: in_hand(client), lambda held: held > 450_000)
        await until_answer(lambda: client.post(form(range(50))), lambda said: said.status == 200)
        assert len(sink.kept) == 50
        answers = [asyncio.ensure_future(reader.readuntil(b"held")) for reader, _ in stalled]
        done, _ = await asyncio.wait(answers, timeout=0.5)
        for _, writer in stalled:
            writer.close()
        await asyncio.gather(*answers, return_exceptions=True)
        return [answer.result() for answer in done]

    evicted = run(test, max_bytes_in_hand=760_000)
    assert 0 < len(evicted) < 9
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in evicted)


def test_heads_that_do_not_end_count_and_make_room():
    async def test(client: Client, _: MemorySink) -> None:
        heads = [await client.connect() for _ in range(9)]
        for _, writer in heads:
            writer.write(b"GET /" + b"a" * 90_000)
        await until_answer(lambda: in_hand(client), lambda held: held > 500_000)
        await until_answer(lambda: client.post(form(range(50))), lambda said: said.status == 200)
        ended = [asyncio.ensure_future(reader.read()) for reader, _ in heads]
        assert (await asyncio.wait(ended, timeout=20, return_when=asyncio.FIRST_COMPLETED))[0]
        for _, writer in heads:
            writer.close()
        await asyncio.gather(*ended, return_exceptions=True)  # cut while more arrives: a reset
        await until_answer(lambda: in_hand(client), lambda held: held == 0)

    run(test, max_bytes_in_hand=760_000)


class EndlessReading:
    """Stands in for the reading of a bundle: work that nothing but its interruption ends."""

    ended = False

    def __call__(self, *_: object) -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            self.ended = True


def test_the_work_for_a_sender_that_leaves_ends_and_nothing_is_published(monkeypatch):
    reading = EndlessReading()
    monkeypatch.setattr(receive, "reading", reading)

    async def test(client: Client, sink: MemorySink) -> list[object]:
        body = form(["a"])
        _, writer = await begun(client, body, len(body))
        await until_answer(lambda: in_hand(client, "requests"), lambda count: count == 1)
        assert not reading.ended
        writer.close()
        await until_answer(lambda: in_hand(client), lambda held: held == 0)
        assert await in_hand(client, "requests") == 0
        return sink.kept

    with heard() as log:
        assert run(test) == []
    assert reading.ended
    (line,) = [record for record in log.records if record.getMessage() == "request"]
    assert (line.values["code"], line.values["reason"]) == (0, "the sender disconnected")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"\xff" * 50_000,
        b"\xff" * 50_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"\xfe" * 60_000 + b"\r\n\r\n",
        b"POST %b HTTP/1.1\r\nContent-Length: 3\r\nContent-Type: %b\r\n\r\na=b"
        % (SERVLET.encode(), b"z" * 16_000),
        b"POST %b HTTP/1.1\r\nContent-Length: 3\r\nContent-Type: %b\r\n"
        b"Content-Encoding: %b\r\n\r\na=b"
        % (SERVLET.encode(), FORM["Content-Type"].encode(), b"z" * 16_000),
    ],
)
def test_no_answer_repeats_much_of_what_was_sent(request_):
    answer = run(lambda client, _: client.raw(request_ + b"\r\n\r\n"))
    assert answer.split()[1] in (b"400", b"415")
    assert len(answer) < 4096


@pytest.mark.parametrize("command", ["update", "multiupdate"])
def test_an_answer_names_the_beginning_of_a_long_name_only(command):
    name = "Z" * 400_000
    text = f"<RecordEnvelope><{name}/></RecordEnvelope>"
    arg1 = f"replication|<{name}/>|||" if command == "update" else text
    body = form([], command=command, arg1=arg1, bundlesize="1")
    with heard() as log:
        said = run(lambda client, _: client.post(body), unknown_records="reject")
    assert (said.status, b"ZZZ" in said.body) == (400, True)
    assert len(said.body) < 4096
    assert len(log.text) < 20_000


def test_records_larger_than_an_output_takes_are_400_before_any_is_out():
    sink = MemorySink()
    sink.largest_bytes = 100
    assert posted(form(["a"]), sink).status == 400
    assert sink.kept == []


def test_stats_and_metrics_count_as_the_original_did():
    async def test(client: Client, sink: MemorySink) -> None:
        sink.refused = {"bad"}
        for body in (form(["a", "b"]), PING, form(["bad"]), b"command=zap"):
            await client.post(body)
        stats = json.loads((await client.get("/stats")).body)
        assert stats == {"Records": 2, "RecordErrors": 1, "Requests": 4, "RequestErrors": 2}
        metrics = (await client.get("/metrics")).body.decode()
        assert "\ngracc_records_total 2.0\n" in metrics
        assert '\ntixd_collector_requests_total{code="503"} 1.0\n' in metrics

    run(test)


def test_answers_stand_at_zero_before_the_first_and_the_collector_says_who_it_is():
    async def test(client: Client, _: MemorySink) -> None:
        metrics = (await client.get("/metrics")).body.decode()
        for code in (200, 400, 408, 413, 415, 500, 503):
            assert f'\ntixd_collector_requests_total{{code="{code}"}} 0.0\n' in metrics
        assert 'role="collector"' in metrics

    run(test)


def test_unknown_elements_of_an_envelope_are_left_out_and_counted():
    async def test(client: Client, sink: MemorySink) -> None:
        envelope = f"<RecordEnvelope><Zap/>{job('a')}</RecordEnvelope>"
        body = form([], command="multiupdate", arg1=envelope)
        assert (await client.post(body)).status == 200
        assert json.loads((await client.get("/stats")).body)["RecordErrors"] == 1
        assert [message.key for message in sink.kept] == ["a"]

    run(test)


def test_readiness_follows_the_output_and_life_does_not():
    async def test(client: Client, sink: MemorySink) -> None:
        assert (await client.get("/readyz")).status == 200
        sink.away = "gone"
        said = await client.get("/readyz")
        assert (said.status, said.body) == (503, b"memory: gone\n")
        sink.away, sink.last_confirmed_at = "", 0.0
        assert b"nothing was accepted for" in (await client.get("/readyz")).body
        assert (await client.get("/healthz")).body == b"ok\n"

    run(test)


def test_every_request_has_a_line_in_the_log_without_control_characters():
    with heard() as log:
        posted(form(["a"], **{"from": "evil\nline"}), X_Real_IP="192.0.2.7", User_Agent="probe/1")
    (line,) = [record for record in log.records if record.getMessage() == "request"]
    values = line.values
    assert (values["address"], values["agent"], values["from"]) == (
        "192.0.2.7",
        "probe/1",
        "evil\nline",
    )
    assert (values["JobUsageRecord"], values["code"], values["response"]) == (1, 200, "OK")


def test_something_unexpected_is_500_and_the_collector_goes_on(monkeypatch):
    async def test(client: Client, sink: MemorySink) -> None:
        monkeypatch.setattr(sink, "publish", lambda _: 1 / 0)
        said = await client.post(form(["a"]))
        assert (said.status, said.body) == (500, b"Internal server error")
        assert (await client.post(PING)).status == 200

    run(test)


def test_a_sender_that_leaves_is_counted_and_harms_nobody():
    async def test(client: Client, _: MemorySink) -> None:
        reader, writer = await client.connect()
        head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
        writer.write(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\nx".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await client.post(PING)).status == 200
        del reader

    run(test)


def test_parameters_that_nobody_knows_are_ignored():
    assert set(parameters(["a"], zap="1")) > {"zap"}
    assert posted(form(["a"], zap="1")).status == 200
