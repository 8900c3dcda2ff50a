"""Bundles: how they are cut, what fails them, and what a request must have."""

from __future__ import annotations

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gratia import enveloped, job, replicated, storage, update
from tixd.collector.bundle import Bundle, is_ping, read_bundle, reading
from tixd.collector.record_parser import Limits
from tixd.errors import BadRequest, MalformedBundle, OverLimit

LIMITS = Limits()
ONE = "<UsageRecord/>"


def sources(parameters: dict[str, bytes], limits: Limits = LIMITS) -> list[str]:
    """The sources of the records of a bundle."""
    return [record.source.decode() for record in read_bundle(parameters, limits).records]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"replication|{ONE}|||", [ONE]),
        (f"replication|{ONE}|a|b", [ONE]),
        (f"\r\n replication \n| {ONE} |||", [ONE]),
        (f"||junk|{ONE}|replication|{ONE}|<raw/>|<extra/>|junk||", [ONE]),
        (f"replication|{ONE}|replication|replication|replication|{ONE}|||", [ONE, ONE]),
        (f'"replication|{ONE}|||"|replication|{ONE}|||', [ONE]),
        (f'"\\"|"|replication|{ONE}|"\\"replication|"||', [ONE]),
        ('replication|<UsageRecord a="|"/>|||', ['<UsageRecord a="|"/>']),
        ('replication|<UsageRecord a="\\"/>|||', ['<UsageRecord a="\\"/>']),
        ("replication|<UsageRecord>|</UsageRecord>|||", ["<UsageRecord>|</UsageRecord>"]),
        (f"replication|<?xml version='1.0' encoding='latin1'?><!-- | -->{ONE}|||", [ONE]),
        (f"\ufeffreplication|{ONE}|||", [ONE]),
    ],
)
def test_an_update_is_cut_into_the_records_behind_replication(
    text: str, expected: list[str]
) -> None:
    assert sources(update(text, len(expected))) == expected


@pytest.mark.parametrize("odd", ['24" disk', '"', 'a "b" "', "\\", 'say \\"|', 'it\'s 5" | 3"'])
def test_an_odd_quote_in_a_text_swallows_no_record(odd: str) -> None:
    records = [job(f"<S>{odd}</S>"), job("<S>plain</S>")]
    assert sources(replicated(records)) == records
    assert sources(replicated(records[::-1], raw=records[0], extra="x")) == records[::-1]


def test_a_record_cut_by_structure_may_hold_its_own_name_and_markup_as_text() -> None:
    inside = '<UsageRecord>1" </UsageRecord><!-- </JobUsageRecord> --><![CDATA[</JobUsageRecord>]]>'
    records = [job(inside), job("<?pi </JobUsageRecord> ?>")]
    assert sources(replicated(records)) == records


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("replication|", "neither|no element|3 tokens"),
        (f"replication|{ONE}", "3 tokens"),
        (f"replication|{ONE}|", "3 tokens"),
        ("replication|x|||", "no element at byte 12"),
        ("replication|<UsageRecord>|||", "at byte 12"),
        ("replication|<UsageRecord></Usage>|||", "at byte 12"),
        (f"replication|{ONE}{ONE}|||", "at byte 26"),
        (f'replication|{ONE}|<raw>"|||', "at byte 27"),
        ("replication|<UsageRecord>&nbsp;</UsageRecord>|||", "undefined entity"),
        ("replication|<UsageRecord>\0</UsageRecord>|||", "invalid token"),
        (f"replication|{ONE}|||" * 2, r"number of records in bundle \(2\) different"),
        ("", 'missing key "arg1"'),
        (" ", r"\(0\) different than expected \(1\)"),
        (b"replication|<UsageRecord>\xff</UsageRecord>|||", "not UTF-8"),
        (b"replication|<UsageRecord>\xed\xa0\x80</UsageRecord>|||", "not UTF-8"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_place(text: str | bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason) as caught:
        read_bundle(update(text), LIMITS)
    assert caught.value.status == 400
    assert caught.value.answer.startswith("Error handling request: ")


def test_an_empty_bundle_and_an_empty_envelope_are_fine() -> None:
    assert read_bundle(update("|", 0), LIMITS) == Bundle()
    assert read_bundle(enveloped(" <!-- none --> "), LIMITS) == Bundle()
    empty = enveloped("") | {"arg1": b"<a:RecordEnvelope/>"}
    assert read_bundle(empty, LIMITS) == Bundle()


def test_the_children_of_an_envelope_are_its_records() -> None:
    text = f"<?xml version='1.0'?>{ONE}\n<!-- x -->{job()} and text <?pi?><![CDATA[<a>]]>{ONE}"
    assert sources(enveloped(text)) == [ONE, job(), ONE]


def test_records_get_the_namespaces_of_their_envelope() -> None:
    text = "<u:UsageRecord xmlns='urn:own' b = '>'/><UsageRecord xmlns:u=\"x\"/>"
    first, second = sources(enveloped(text, "xmlns='urn:a' xmlns:u=\"urn:&lt;u\""))
    assert first == "<u:UsageRecord xmlns:u=\"urn:&lt;u\" xmlns='urn:own' b = '>'/>"
    assert second == "<UsageRecord xmlns='urn:a' xmlns:u=\"x\"/>"


def test_unknown_records_of_an_envelope_are_counted_and_left_out() -> None:
    bundle = read_bundle(enveloped(f"<Metric/>{ONE}<a:Metric><Metric/></a:Metric><B/>"), LIMITS)
    assert (len(bundle.records), bundle.unknown, bundle.unknown_names) == (1, 3, ("Metric", "B"))


def test_names_of_unknown_records_are_few_and_short() -> None:
    text = "".join(f"<{'x' * 100_000}{number}/>" for number in range(100))
    bundle = read_bundle(enveloped(text), LIMITS)
    assert bundle.unknown == 100
    assert sum(map(len, bundle.unknown_names)) < 2000


def test_reading_tells_how_much_memory_its_records_take() -> None:
    declared = " ".join(f"xmlns:{prefix}='{'u' * 240}'" for prefix in "abcd")
    *_, held = reading(enveloped(ONE * 3000, declared), LIMITS)
    assert 960 * 2500 < held < 1800 * 3000


def test_an_unknown_record_fails_an_update_and_where_asked_an_envelope() -> None:
    strict = Limits(unknown_refused=True)
    for parameters, limits in (
        (update("replication|<B/>|||"), LIMITS),
        (enveloped("<B/>"), strict),
    ):
        with pytest.raises(BadRequest, match="unknown record type B") as caught:
            read_bundle(parameters, limits)
        assert caught.value.answer.startswith("Error processing record: ")


@pytest.mark.parametrize(
    "text",
    [
        *("<RecordEnvelop/>", "x", "<RecordEnvelope>", "<RecordEnvelope></RecordEnvelope", "<a"),
        *("<RecordEnvelope/><RecordEnvelope/>", "<RecordEnvelope>&x;</RecordEnvelope>"),
        *("<RecordEnvelope><a></RecordEnvelope>", "<RecordEnvelope><!-- </RecordEnvelope>"),
        *(
            f"<RecordEnvelope>{ONE}</RecordEnvelope>{ONE}",
            "<RecordEnvelope><a></b></RecordEnvelope>",
        ),
        *("<RecordEnvelope a='1' a='2'/>", "<RecordEnvelope><a b=></a></RecordEnvelope>"),
    ],
)
def test_an_envelope_that_is_none_or_no_xml_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_bundle(enveloped("") | {"arg1": text.encode()}, LIMITS)


def test_a_bad_record_fails_its_bundle_and_is_named() -> None:
    records = [ONE, storage("<TotalSpace>-1</TotalSpace>")]
    for parameters in (replicated(records), enveloped("".join(records))):
        with pytest.raises(
            BadRequest, match=r'record 2 \("u"\): TotalSpace "-1" is not a whole'
        ) as caught:
            read_bundle(parameters, LIMITS)
        assert caught.value.answer.startswith("Error processing record: ")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (job("<A>", record_id="x:2"), "no XML .* in what begins at byte"),
        (job("<A>", record_id="x:2")[:-4], "no XML"),
        (job("&nbsp;", record_id="x:2"), "undefined entity"),
        (job("<a>" * 99 + "</a>" * 99, record_id="x:2"), "elements over 64 deep"),
        (job(f'<a b="{"c" * 5 * (1 << 20)}"/>', record_id="x:2"), "over [0-9]+ bytes"),
        (job("<StartTime/>", record_id="x:2"), 'StartTime "" is not an RFC 3339'),
        ("<Metric recordId='x:2'></Metric>", "unknown record type Metric"),
        (f"<!DOCTYPE R>{job(record_id='x:2')}", "DOCTYPE"),
    ],
)
def test_an_error_names_the_record_by_number_and_id(bad: str, reason: str) -> None:
    records = [job(), job(record_id="x:3")]
    for parameters in (
        replicated([records[0], bad, records[1]]),
        enveloped("".join([records[0], bad, records[1]])),
    ):
        with pytest.raises(BadRequest, match=rf'record 2 \("x:2"\): .*{reason}') as caught:
            read_bundle(parameters, Limits(unknown_refused=True))
        assert len(caught.value.answer) < 400


def test_an_error_names_no_other_record_by_its_id() -> None:
    records = ["<UsageRecord><A></UsageRecord>", job(record_id="x:2")]
    for parameters in (replicated(records), enveloped("".join(records))):
        with pytest.raises(BadRequest, match=r"^record 1: "):
            read_bundle(parameters, LIMITS)
    with pytest.raises(BadRequest, match=r"^RecordEnvelope: "):
        read_bundle(enveloped(job() + "&x;"), LIMITS)


HANDSHAKE = "<ProbeDetails xmlns='urn:a'><ReporterLibrary>x</ReporterLibrary></ProbeDetails>"


@pytest.mark.parametrize("limits", [LIMITS, Limits(unknown_refused=True)])
def test_a_handshake_is_neither_a_record_nor_unknown(limits: Limits) -> None:
    text = f"replication|{HANDSHAKE}|||replication|{ONE}|||"
    for parameters in (enveloped(HANDSHAKE + ONE), update(text, 1), update(text, 2)):
        bundle = read_bundle(parameters, limits)
        assert (len(bundle.records), bundle.unknown, bundle.handshakes) == (1, 0, 1)
        assert bundle.counts == {"JobUsageRecord": 1, "ProbeDetails": 1}
    for parameters in (enveloped(HANDSHAKE), replicated([HANDSHAKE])):
        assert read_bundle(parameters, limits) == Bundle(handshakes=1)
    with pytest.raises(MalformedBundle, match=r"\(1\) different than expected \(3\)"):
        read_bundle(update(text, 3), limits)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"command": b""}, 'missing key "command"'),
        ({"command": b"zap", "arg1": b""}, "unknown command"),
        ({"arg1": b""}, 'missing key "arg1"'),
        ({"from": b""}, 'missing key "from"'),
        ({"bundlesize": b""}, 'missing key "bundlesize"'),
        ({"bundlesize": b"1.0"}, "error interpreting bundlesize"),
        ({"bundlesize": b"-1"}, "number of records in bundle (1) different than expected (-1)"),
    ],
)
def test_a_request_that_lacks_something_is_refused(change: dict[str, bytes], answer: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_bundle(replicated([ONE]) | change, LIMITS)
    assert caught.value.answer == f"Error handling request: {answer}"


def test_a_ping_needs_no_bundlesize_and_brings_nothing() -> None:
    ping = {"command": b"update", "arg1": b"xxx", "from": b"o"}
    assert is_ping(ping)
    assert read_bundle(ping, LIMITS) == Bundle()
    assert not is_ping(ping | {"command": b"multiupdate"})


def test_limits_and_bundles_can_go_to_another_process() -> None:
    bundle = read_bundle(replicated([job()]), LIMITS)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        assert other.submit(read_bundle, replicated([job()]), LIMITS).result(60) == bundle


@pytest.mark.parametrize("wrap", [replicated, lambda records: enveloped("".join(records))])
def test_a_large_bundle_is_read_in_steps(wrap) -> None:
    parameters = wrap([job("<A>1</A>" * 100)] * 300)
    assert len(list(reading(parameters, LIMITS))) > len(parameters["arg1"]) / 100_000


@pytest.mark.parametrize(
    "parameters",
    [
        update("|".join(['"%s"' % (r"\a" * 200_000)] * 20), 0),
        update("|".join([f"replication|<!--{'-x' * 200_000}--><UsageRecord/>||"] * 20), 20),
        update("|".join([f"replication|<UsageRecord/>|<a>{'/x' * 200_000}</a>|"] * 20) + '"', 20),
        enveloped("".join([f"<!--{'-x' * 200_000}-->", "<UsageRecord/>"] * 20)),
        enveloped(f"<!--{'-x' * 200_000}-->" * 20),
    ],
    ids=["tokens", "prologs", "raw XML", "comments", "comments alone"],
)
def test_what_is_no_record_is_read_in_steps_as_well(parameters) -> None:
    limits = Limits(record_bytes=20 << 20)
    assert len(list(reading(parameters, limits))) > 25


@pytest.mark.parametrize(
    ("parameters", "limits", "named"),
    [
        (replicated([ONE] * 4), Limits(records=3), "maxRecords"),
        (update(f"replication|{ONE}|||" * 4, 3), Limits(records=3), "maxRecords"),
        (enveloped(ONE * 4), Limits(records=3), "maxRecords"),
        (enveloped("<a/>" * 4), Limits(records=3), "maxRecords"),
        (update("|" * 40), Limits(records=3), "maxRecords"),
        (replicated([job("<a>" * 4 + "</a>" * 4)]), Limits(depth=4), "maxDepth"),
        (replicated([job('<a b="1" c="2" d="3" e="4"/>')]), Limits(attributes=3), "maxAttributes"),
        (enveloped(job("<a/>" * 20_001)), LIMITS, "maxTags"),
        (enveloped(job("<a/>" * 30)), Limits(tags=20), "maxTags"),
        (replicated([job("<a b='1' c='2'/>" * 9)]), Limits(tags=20), "maxTags"),
        (enveloped(job("x" * 1000)), Limits(record_bytes=1000), "maxRecordSize"),
        (enveloped(job(f"<a xmlns = '{'u' * 257}'/>")), LIMITS, "maxNamespace"),
        (replicated([job(f'<a xmlns:p="{"u" * (1 << 18)}"/>')]), LIMITS, "maxNamespace"),
        (
            replicated([job("".join(f"<p{n}:a/>" for n in range(300)))]),
            LIMITS,
            "undeclared prefixes",
        ),
        (enveloped(job(f"<{'n' * 1001}/>")), LIMITS, "a name"),
        (enveloped(job(f"<a {'n' * 1001}='1'/>")), LIMITS, "a name"),
        (enveloped(ONE, f'xmlns:a="{"u" * 5000}"'), LIMITS, "maxNamespace"),
        (enveloped("<UsageRecord>" + "x" * (4 << 20) + "</UsageRecord>"), LIMITS, "maxRecordSize"),
    ],
)
def test_what_is_over_a_limit_is_refused_as_such_and_named(parameters, limits, named) -> None:
    with pytest.raises(OverLimit) as caught:
        read_bundle(parameters, limits)
    assert caught.value.status == 413
    assert named in caught.value.detail


def test_a_token_over_its_limit_is_refused() -> None:
    limits = Limits(token_bytes=100)
    assert len(sources(replicated([f"<UsageRecord>{'x' * 73}</UsageRecord>"]), limits)) == 1
    with pytest.raises(MalformedBundle, match="a token of over 100 bytes at byte 12"):
        read_bundle(replicated([f"<UsageRecord>{'x' * 74}</UsageRecord>"]), limits)
    assert len(sources(enveloped(f"<UsageRecord>{'x' * 74}</UsageRecord>"), limits)) == 1


PIECES = st.sampled_from(
    [
        *("replication", "|", "|||", '"', "\\", " ", "\n", ONE, job(), "<UsageRecord>", "é"),
        *(
            "</UsageRecord>",
            "<a",
            "/>",
            ">",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?",
            "?>",
            "&amp;",
        ),
        *("&x;", "<!DOCTYPE a [", "<?xml version='1.0'?>", 'a="', "'", "xmlns:p='u'", "<p:b/>"),
    ]
)


@given(st.lists(PIECES, max_size=40), st.booleans(), st.integers(0, 3))
def test_any_text_gives_a_bundle_or_a_bad_request(
    pieces: list[str], update_: bool, size: int
) -> None:
    text = "".join(pieces)
    parameters = update(f"replication|{text}", size) if update_ else enveloped(text)
    with contextlib.suppress(BadRequest):
        for record in read_bundle(parameters, LIMITS).records:
            assert record.fields["RawXML"] == record.source.decode()


XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")
)


@given(st.lists(XML_TEXT, min_size=1, max_size=5))
def test_any_texts_in_records_arrive_in_either_form(texts: list[str]) -> None:
    escaped = [t.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for t in texts]
    records = [job(f"<Note>{text}</Note>") for text in escaped]
    for parameters in (replicated(records), enveloped("".join(records))):
        found = [each.fields.get("Note", "") for each in read_bundle(parameters, LIMITS).records]
        assert found == texts
