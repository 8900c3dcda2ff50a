"""What stands before a record: it begins where the parser finds it, and there is no DOCTYPE."""

from __future__ import annotations

import contextlib
import itertools
from xml.parsers import expat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.gratia import enveloped, update
from tests.support.recordings import shared_case
from tixd.collector import form
from tixd.collector.bundle import read_bundle
from tixd.collector.record_parser import Limits, new_parser, parse_element
from tixd.errors import BadRequest

#: The five bytes that some editors put first, as it is in UTF-8.
BOM = "\ufeff"

DOCTYPE = '<!DOCTYPE R [<!ENTITY a "boo">]>'

BEFORE = [
    *("", BOM, BOM * 2, " ", "\t\r\n", "x", "\u00a0", "<!-- c -->", "<!---->", "<?p?>", "<?p q?>"),
    *("<?xml version='1.0'?>", "<?xml version='1.0' encoding='UTF-16'?>", "<!-- <R> -->", "&#65;"),
    *("<?xml version='1.0' encoding='latin1' standalone='yes'?>", "<?p <R/> ?>", "]]>", "&lt;"),
]


def records(source: str | bytes) -> list[bytes]:
    """The sources of the records of an update of this token."""
    token = source if isinstance(source, bytes) else source.encode()
    return [r.source for r in read_bundle(update(b"replication|%b|||" % token), Limits()).records]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("wrapped", ["%s", f"{BOM}%s", " %s", "<!-- x -->%s", "<?p?>%s", "\n%s\n"])
def test_a_doctype_is_refused_whatever_stands_before_it(before: str, wrapped: str) -> None:
    source = f"{wrapped % before}{DOCTYPE}<JobUsageRecord>&a;</JobUsageRecord>"
    envelope = {"arg1": source.replace("JobUsageRecord", "RecordEnvelope").encode()}
    for sent in (update(f"replication|{source}|||"), enveloped(source), enveloped("") | envelope):
        with pytest.raises(BadRequest) as caught:
            read_bundle(sent, Limits())
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp500"]
)
def test_a_doctype_in_any_encoding_is_refused(encoding: str) -> None:
    declared = f"<?xml version='1.0' encoding='{encoding}'?>{DOCTYPE}<JobUsageRecord/>"
    with pytest.raises(BadRequest):
        records(declared.encode(encoding))


def test_the_doctype_of_the_field_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="record 1: a DOCTYPE is not accepted"):
        read_bundle(form.parse(shared_case("bom-doctype.form").read_bytes()), Limits())


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b"<!-- c -->", b"<?xml version='1.0'?>\n"]
)
@pytest.mark.parametrize("separator", [None, "}"])
def test_the_parser_itself_raises_at_a_doctype(before: bytes, separator: str | None) -> None:
    with pytest.raises(BadRequest, match="DOCTYPE"):
        new_parser(separator).Parse(before + DOCTYPE.encode() + b"<R>&a;</R>", True)


@pytest.mark.parametrize(
    "source", [b"", b" <R/>", b"\xef\xbb\xbf<R/>", DOCTYPE.encode() + b"<R/>", b"</R>"]
)
def test_the_parser_is_given_nothing_but_a_start_tag_first(source: bytes) -> None:
    with pytest.raises(BadRequest, match="no element"):
        parse_element(source, Limits(), {})


def seen_by_expat(source: bytes) -> str | int | None:
    """`doctype`, or where its first element begins; None where it finds neither."""
    seen: list[str | int] = []
    parser = expat.ParserCreate("UTF-8")
    parser.StartDoctypeDeclHandler = lambda *_: seen.append("doctype")
    parser.StartElementHandler = lambda *_: seen.append(parser.CurrentByteIndex)
    with contextlib.suppress(expat.ExpatError):
        parser.Parse(source, True)
    return seen[0] if seen else None


PIECES = st.sampled_from(
    [
        *BEFORE,
        DOCTYPE,
        "<!DOCTYPE R>",
        "<!doctype R>",
        "<!",
        "<!-",
        "<?",
        "?>",
        "-->",
        "<![CDATA[",
        ">",
    ]
)


@given(st.lists(PIECES, max_size=6).map("".join))
@example(f"{BOM}<!-- -->{DOCTYPE}")
def test_a_record_begins_where_the_parser_finds_it_or_is_refused(before: str) -> None:
    source = f"{before}<UsageRecord><A>1</A></UsageRecord>".encode()
    seen = seen_by_expat(source)
    try:
        (found,) = records(source)
    except BadRequest:
        assert not isinstance(seen, int), "the parser takes it"
        return
    assert seen != "doctype"
    assert found == source[seen if isinstance(seen, int) else -len(found) :]
    assert seen_by_expat(found) == 0


def test_text_before_and_behind_a_record_is_passed_over_as_in_the_original() -> None:
    record = b"<UsageRecord><A>1</A></UsageRecord>"
    texts = [b"", b" x ", b"a & b", b"1 > 2", b"]]>", "é".encode()]
    for before, behind in itertools.product(texts, texts):
        assert records(before + record + behind) == [record], (before, behind)
    for behind in (b'<!-- | " -->', b"<?p '\" ?>", b' 24" disk'):
        assert records(record + behind)[0].startswith(record)


@pytest.mark.parametrize("behind", ["<UsageRecord/>", " <A>", "</UsageRecord>", DOCTYPE, "<a b>"])
def test_more_markup_behind_a_record_is_refused_and_not_dropped(behind: str) -> None:
    with pytest.raises(BadRequest):
        records(f"<UsageRecord/>{behind}")
    envelope = b"<RecordEnvelope><UsageRecord/></RecordEnvelope>" + behind.encode()
    with pytest.raises(BadRequest):
        read_bundle(enveloped("") | {"arg1": envelope}, Limits())


@pytest.mark.parametrize(
    "inside",
    [
        *("&a;", "&#0;", "&#x110000;", "&#xD800;", "&#xFFFE;", "&amp", "]]>", "<A b='1' b='2'/>"),
        *("<A b='<'/>", "<A b=1/>", "<A b/>", "<1/>", "<A:/>", "<:A/>", "<a:b:c/>", "<A -- />"),
        *("<!-- -- -->", "<?xml version='1.0'?>", "<![CDATA[", "<!ENTITY a 'b'>", "<!DOCTYPE R>"),
        *("<A xmlns:p=''/>", "<A xmlns:xml='u'/>", "<A xmlns:xmlns='u'/>", "<?a:b c?>", "\x01"),
        "<A xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
    ],
)
def test_what_the_parser_refuses_in_a_record_is_refused_in_either_form(inside: str) -> None:
    record = f"<UsageRecord>{inside}</UsageRecord>"
    for sent in (update(f"replication|{record}|||"), enveloped(record)):
        with pytest.raises(BadRequest) as caught:
            read_bundle(sent, Limits())
        assert caught.value.status == 400
