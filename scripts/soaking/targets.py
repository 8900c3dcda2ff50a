"""What is fuzzed: each reader of bytes from outside, with a corpus and what it may answer.

A target gets bytes and returns in silence where the answer is a valid object or a typed error;
whatever else it raises is a finding. Saved findings lie in tests/data/fuzz and stay in the corpus.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

import orjson
import pytest

from soaking import http_targets
from tests.support import bundles, filled_history, gratia, histories, made, recordings, service
from tests.support.results import result
from tixd import errors
from tixd.amqp.messages import Properties
from tixd.asn import formats, origin
from tixd.collector import conversions, form, split
from tixd.collector.bundle import read_bundle
from tixd.collector.record_parser import Limits, ParsedElement
from tixd.config import loader
from tixd.history import job_record
from tixd.page import pages, render
from tixd.page.views import Asked
from tixd.pool import codec
from tixd.queues import celery_message
from tixd.reports.decode import decode_many
from tixd.reports.model import Report
from tixd.results import journal_format, payload, response
from tixd.results.backoff import Backoff
from tixd.runtime.status import HistoryView, Snapshot

ROOT = Path(__file__).parents[2]

#: Saved findings, a folder for each target; they stay small.
SAVED = ROOT / "tests" / "data" / "fuzz"

LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of bytes.

    kinds: rows of faults.md and field.md that it looks for; waits: a tenth of a second each time.
    """

    name: str
    kinds: tuple[str, ...]
    made: Callable[[], Iterable[bytes]]
    run: Callable[[bytes], None]
    waits: bool = False

    def corpus(self) -> list[bytes]:
        """Return what is made, and the findings that were saved."""
        saved = sorted((SAVED / self.name.replace(" ", "-")).glob("*"))
        return [*self.made(), *(path.read_bytes() for path in saved)]


TARGETS: list[Target] = []


def target(name: str, *kinds: str, made: Callable[[], Iterable[bytes]]) -> Callable[..., None]:
    """Declare a target."""

    def declare(run: Callable[[bytes], None]) -> None:
        TARGETS.append(Target(name, kinds, made, run))

    return declare


def recorded() -> list[str]:
    """Return records of our own for which it is known what the original made of them."""
    return [case["record"] for case in gratia.cases() if "record" in case]


# --- reports and results -------------------------------------------------------------------------


@target(
    "report",
    *("faults fuzz", "G3", "G4", "G5", "G9"),
    made=lambda: [
        made.minute(1_700_000_000, 5),
        *(c for c, _ in made.UNUSABLE.values() if len(c) < 9000),
    ],
)
def _report(data: bytes) -> None:
    first, second = decode_many([("a.json", data), ("b.json", _GOOD)])
    assert getattr(second, "name", "") == "b.json", "a neighbour is blamed"
    if isinstance(first, Report):
        assert len(first.observations) > 0
        assert 0 < len(first.source) <= 300


_GOOD = made.minute(1_700_000_000, 2)


@target(
    "kept result",
    "faults 23",
    "G9",
    "G14",
    made=lambda: [payload.failed_report(result(1_700_000_000))],
)
def _kept_result(data: bytes) -> None:
    with contextlib.suppress(errors.BadFailedResult):
        read = payload.parse_failed_report(data)
        again = payload.parse_failed_report(payload.failed_report(read))
        assert again == read, "another result when it is read again"


@target(
    "journal",
    "G2",
    "G14",
    "field B1",
    made=lambda: _journals(),  # noqa: PLW0108 - it is defined below
)
def _journal(data: bytes) -> None:
    for slot in journal_format.whole_slots(data[: 2 * journal_format.SLOT_BYTES]):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = journal_format.entry_in(slot, lambda size, at: data[at : at + size])
            for name in entry.names:
                assert name not in ("", ".", ".."), name
                assert "/" not in name, name
                assert "\0" not in name, name


def _journals() -> Iterable[bytes]:
    entry = journal_format.JournalEntry(1, 2, ("tix-report-1.json",), Backoff(3, 5.0, ()))
    slot, overflow = journal_format.lay_out(entry, 1, None)
    yield slot.line.ljust(journal_format.LONG_AT, b"\0") + overflow
    yield slot.line.ljust(journal_format.SLOT_BYTES, b"\0") * 2
    yield orjson.dumps(journal_format.members(entry))


@target(
    "journal entry",
    *("G2", "G14"),
    made=lambda: [
        orjson.dumps(
            journal_format.members(journal_format.JournalEntry(1, 2, ("tix-report-1.json",)))
        )
    ],
)
def _journal_entry(data: bytes) -> None:
    """What a valid checksum stands before: values of any kind."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        entry = journal_format.from_members(orjson.loads(data))
        assert journal_format.from_members(journal_format.members(entry)) == entry


@target(
    "answer of the tix-api",
    *("G11", "field A1", "field A2"),
    made=lambda: [b"429 1", b"503 Wed, 21 Oct 2026 07:28:00 GMT", b"500 99999999999", b"302 -1"],
)
def _answer(data: bytes) -> None:
    status, _, rest = data.partition(b" ")
    number = int(status) if status.isdigit() and len(status) < 4 else 500
    text = rest.decode("latin-1")
    outcome = response.of_status(number, text, 1.7e9, rest)
    assert len(outcome.reason) < 1000, "a reason of any length"


# --- bundles -------------------------------------------------------------------------------------


def _updates() -> Iterable[bytes]:
    yield bundles.update(range(2)).encode()
    yield gratia.replicated([gratia.job('<S>24" disk</S>'), gratia.storage("<Site>x</Site>")])[
        "arg1"
    ]
    yield from (f"replication|{record}|||".encode() for record in recorded())
    yield from _shared("update.bundle")


def _shared(name: str) -> Iterable[bytes]:
    """Real bundles that were recorded with the original, where they lie beside the project."""
    with contextlib.suppress(pytest.skip.Exception):
        yield recordings.shared_data(f"gracc/{name}").read_bytes()


@target("update", "faults 33", "G1", "G5", "field C2", "field C3", "field C9", made=_updates)
def _update(data: bytes) -> None:
    """The two ways of splitting find the same records where both find any and no quote is odd."""
    by_quotes, by_structure = (_split(way, data) for way in (split.by_quotes, split.by_structure))
    plain = b'"' not in data and b"\\" not in data
    if by_quotes is not None and by_structure is not None and plain:
        assert by_quotes == by_structure, "the two ways of splitting differ"
    count = str(len(by_quotes if by_quotes is not None else by_structure or ())).encode()
    _read({"command": b"update", "arg1": data, "from": b"x", "bundlesize": count})


def _split(way: Callable[..., Iterable[ParsedElement | int]], data: bytes) -> list[bytes] | None:
    try:
        found = list(way(data, LIMITS))
    except errors.BadRequest:
        return None
    return [bytes(one.source) for one in found if not isinstance(one, int)]


def _read(parameters: Mapping[str, bytes]) -> None:
    refused: errors.BadRequest | None = None
    try:
        bundle = read_bundle(parameters, LIMITS)
    except errors.BadRequest as error:
        refused = error
    if refused:
        assert refused.status in (400, 413, 415)
        assert len(refused.answer) < 2000, "an answer of any length"
        return
    for record in bundle.records:
        orjson.dumps(record.fields)


@target(
    "multiupdate",
    *("faults 33", "G1", "field C2", "field C9"),
    made=lambda: [
        gratia.enveloped(gratia.job() + gratia.storage("<Site>x</Site>"))["arg1"],
        *(f"<RecordEnvelope>{record}</RecordEnvelope>".encode() for record in recorded()),
        *_shared("multiupdate.xml"),
    ],
)
def _multiupdate(data: bytes) -> None:
    _read({"command": b"multiupdate", "arg1": data, "from": b"x"})


@target("text beside a record", "field C2", "field C9", "faults 33", made=lambda: [b"<raw/>", b"x"])
def _beside(data: bytes) -> None:
    """A record is what it is alone, whose outcome is compared with the original's in the tests.

    Not one with an odd quote: behind it only whole XML is understood.
    """
    even = [record for record in recorded() if record.count('"') % 2 == 0]
    record = even[sum(data) % len(even)]
    junk = data.translate(None, b'|"\\').decode("utf-8", "ignore").replace("\0", "")
    alone, beside = (_outcome(record, text) for text in ("<raw/>", junk))
    assert alone == beside, "another outcome beside other raw XML"


def _outcome(record: str, raw: str) -> object:
    try:
        found = read_bundle(gratia.replicated([record, record], raw=raw, extra=raw), LIMITS)
    except errors.BadRequest as error:
        return error.status
    return [one.fields for one in found.records]


@target(
    "form",
    "faults 33",
    "G5",
    made=lambda: [
        bundles.form(["a"]),
        b"command=update&arg1=" + quote_from_bytes(b"<a/>").encode(),
    ],
)
def _form(data: bytes) -> None:
    """At once and byte by byte must be the same."""
    whole, pieces = _parsed(data, len(data) or 1), _parsed(data, 7)
    assert whole == pieces, "another form when it comes in pieces"


def _parsed(data: bytes, size: int) -> object:
    reader = form.Form()
    try:
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
        return reader.values()
    except errors.BadRequest as error:
        return type(error)


@target(
    "duration",
    "field C1",
    made=lambda: [b"PT1M5.17S", b"P1DT2H3M4S", b"PT0.1S", b"12.5", b"P1Y2M", b"-PT5S"],
)
def _duration(data: bytes) -> None:
    with contextlib.suppress(errors.BadRecord, UnicodeDecodeError):
        assert math.isfinite(conversions.seconds(data.decode()))


# --- messages ------------------------------------------------------------------------------------

_TASK = b'[["/reports/1/2", "1", "2"], {}, {"callbacks": null}]'


@target(
    "task message",
    *("faults 28", "faults fuzz"),
    made=lambda: [
        b"json\n{}\n" + _TASK,
        b'json\n{"task": "processor.tasks.process_installation", "id": "a"}\n' + _TASK,
        b'json\n{}\n{"task": "processor.tasks.process_users_data", "id": "a", "args": ["/r"]}',
    ],
)
def _task(data: bytes) -> None:
    kind, _, rest = data.partition(b"\n")
    head, _, body = rest.partition(b"\n")
    headers: object = {}
    with contextlib.suppress(ValueError):
        headers = json.loads(head)
    properties = Properties(
        content_type=f"application/{kind.decode('latin-1')}",
        headers=headers if isinstance(headers, dict) else {},
    )
    with contextlib.suppress(errors.BadTask):
        celery_message.decode(body, properties)


@target(
    "result of another host",
    "faults 27",
    made=lambda: [body for _, body in job_record.messages(histories.told())],
)
def _told(data: bytes) -> None:
    with contextlib.suppress(errors.BadMessage):
        job_record.parse_message(data, 1e9)


@target(
    "message of a worker", "faults 1", "G14", made=lambda: [b'["Ready", 5]', b'["Done", 1, {}]']
)
def _frame(data: bytes) -> None:
    with contextlib.suppress(errors.BadMessage):
        codec.decode(data)


# --- settings and tables -------------------------------------------------------------------------

_TOML = """[reports]\nbase_path = "/tmp/reports"\n[api]\nhost = "a"\nport = 80\nssl = true
[schedule]\nperiod_minutes = 10\n[http]\naddress = "localhost:8889"\n[rabbitmq]\nport = 5672\n"""

_GRACC = """address = "localhost"\nport = "8888"\ntimeout = "60s"\n[AMQP]\nhost = "h"\nport = "5672"
format = "json"\nretry = "10s"\n[file]\npath = "/x"\n[kafka]\nenable = true\nbrokers = "a:9092"\n"""


def _configured(load: Callable[..., object], data: bytes) -> None:
    _file().write_bytes(data)
    _loaded(lambda: load({}, {}, _file()))


def _loaded(load: Callable[[], object]) -> None:
    complaint = ""
    try:
        load()
    except errors.ConfigError as error:
        complaint = str(error)
    assert len(complaint) < 20_000, "a complaint of any length"


@functools.cache
def _file() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-")) / "fuzz.toml"


@target("tixd.toml", "G14", "field B5", "field C4", made=lambda: [_TOML.encode()])
def _toml(data: bytes) -> None:
    _configured(loader.load, data)


@target(
    "gracc-collector.cfg",
    "G14",
    "field C4",
    "field C9",
    "field C10",
    made=lambda: [_GRACC.encode()],
)
def _gracc(data: bytes) -> None:
    _configured(loader.load_collector, data)


@target(
    "environment",
    *("field B5", "field E", "G14"),
    made=lambda: [
        b"TIX_API_PORT=tcp://10.96.12.7:3001\nTIX_WORKERS=x\nTIX_API_SSL=False",
        b"GRACC_PORT=tcp://10.0.0.1:80\nGRACC_TIMEOUT=60s\nTIX_RUN_AS=a:b",
        b"TIX_HTTP_ADDRESS=127.0.0.1:99999\nHTTP_PROXY=http://u:p@h:1\nTIX_WORKERZ=1",
    ],
)
def _environment(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").replace("\0", "").split("\n")
    environ = dict(line.split("=", 1) for line in lines if "=" in line)
    for load in (loader.load, loader.load_collector):
        _loaded(functools.partial(load, {}, environ, Path("/dev/null")))


@target(
    "line of an AS table",
    *("field D1", "field D2", "field D3"),
    made=lambda: [
        b"1.0.0.0/24,13335,CLOUDFLARE",
        b"AS13335 Cloudflare",
        b"1.10",
        b'"16777216","16777471","1.0.0.0/24","13335","CloudFlare"',
        b"network,autonomous_system_number,autonomous_system_organization",
        b"8.8.8.0\t24\t15169_1",
    ],
)
def _as_line(data: bytes) -> None:
    """A number that is found is a whole field of the line."""
    text = data.decode("utf-8", "replace")
    number = origin.as_number(text)
    assert number is None or 0 <= number < 2**32
    found = formats.recognised(text) if formats.is_text(text) else None
    if found:
        with contextlib.suppress(errors.TixdError, ValueError):
            shape = formats.form_of(text)
            fields = formats.cut(text, shape)
            version, first, last = formats.span(fields, shape)
            assert version in (4, 6)
            assert 0 <= first <= last < 2**128


# --- the page ------------------------------------------------------------------------------------


@functools.cache
def _snapshot() -> Snapshot:
    """A role with a history of some days."""
    file = Path(tempfile.mkdtemp(prefix="fuzz-")) / "history.sqlite"
    filled_history.fill(file, installations=6, days=0.3)
    return service.snapshot(moment=1.7e9, history=HistoryView(str(file)))


def _addresses() -> Iterable[bytes]:
    paths = [page.path for page in pages.of_role("standalone")]
    for path in paths:
        plain = path.replace("{user}", "1").replace("{installation}", "1").encode()
        yield plain + b"?search=<zzz>&sort=-kept&page=2&state=silent&since=1d"
        yield plain + b".json?user=1&range=30d&from=2026-01-01"
        yield plain + b".csv"
    yield b"/static/page.css"


@target("address of the page", "G5", "G14", made=_addresses)
def _address(data: bytes) -> None:
    """Any path and query have an answer, in which nothing of them is markup."""
    path, _, query = data.decode("latin-1").partition("?")
    given = render.answer(Asked(path, query, "", _snapshot()))
    assert given.status in (200, 304, 400, 404), given.status
    assert b"<zzz" not in given.body or b"json" in given.content_type.encode()


# --- servers -------------------------------------------------------------------------------------

for _name, _kinds, _make, _run in http_targets.SERVERS:
    TARGETS.append(Target(_name, _kinds, _make, _run, waits=True))
