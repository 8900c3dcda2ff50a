"""Formats: JSON of the map, the source as it stands, canonical XML."""

from __future__ import annotations

import json
from xml.etree.ElementTree import canonicalize, fromstring

import pytest

from tests.support.gratia import enveloped, job
from tests.support.recordings import shared_data
from tixd.collector.bundle import read_bundle
from tixd.collector.c14n import canonical
from tixd.collector.record import FORMATS, record, render
from tixd.collector.record_parser import Limits, parse_element


def test_json_is_the_map_and_the_source() -> None:
    text = job('<A>"é\\ \U0001f600</A><Origin hop="3"/>')
    made = record(parse_element(text.encode(), Limits(), {}))
    body, content_type = render(made, "json")
    assert content_type == "application/json"
    assert json.loads(body) == made.fields
    assert made.fields["RawXML"] == text
    assert b'"Origin_hop":3' in body


def test_raw_is_the_source_byte_for_byte() -> None:
    text = job("<A  b = '1'\t>\r\n<!-- x --><![CDATA[y]]></A >")
    made = record(parse_element(text.encode(), Limits(), {}))
    assert render(made, "raw") == (text.encode(), "text/xml")


def test_every_format_of_a_record_out_of_an_envelope_stands_alone() -> None:
    inside = "<UsageRecord><u:A v:b='1'/><Host>h</Host></UsageRecord>"
    (made,) = read_bundle(enveloped(inside, "xmlns='urn:d' xmlns:u='urn:u'"), Limits()).records
    for text in (render(made, "raw")[0], render(made, "xml")[0], made.fields["RawXML"]):
        tree = fromstring(text)  # noqa: S314 - made above
        assert tree.tag == "{urn:d}UsageRecord"
        assert tree[0].items() == [("{urn:undeclared:v}b", "1")]
        assert tree[0].tag == "{urn:u}A"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<a/>", "<a></a>"),
        ("<a  b = '1'   a='2' ></a >", '<a a="2" b="1"></a>'),
        ("<a>&lt;&#62;&amp;\"'&#xD;\r\n\t</a>", "<a>&lt;&gt;&amp;\"'&#xD;\n\t</a>"),
        (
            "<a b='&quot;&apos;&lt;>&#9;&#10;&#13;\t\n'/>",
            '<a b="&quot;\'&lt;>&#x9;&#xA;&#xD;  "></a>',
        ),
        ("<a>x<!-- c -->y<![CDATA[<z>]]></a>", "<a>xy&lt;z&gt;</a>"),
        ("<a><?p  q ?><?r?></a>", "<a><?p q ?><?r?></a>"),
        (
            "<a xmlns:z='1' xmlns:b='2' xmlns='0' z:p='1' b:p='2' q='3'/>",
            '<a xmlns="0" xmlns:b="2" xmlns:z="1" q="3" z:p="1" b:p="2"></a>',
        ),
        (
            "<a xmlns='u'><b xmlns='u'><c xmlns=''><d xmlns=''/></c></b></a>",
            '<a xmlns="u"><b><c xmlns=""><d></d></c></b></a>',
        ),
        (
            "<a xmlns=''><x:b xmlns:x='1'><x:c xmlns:x='1'/></x:b></a>",
            '<a><x:b xmlns:x="1"><x:c></x:c></x:b></a>',
        ),
        (
            "<a xml:lang='en'><b xml:space='preserve' c='1'/></a>",
            '<a xml:lang="en"><b c="1" xml:space="preserve"></b></a>',
        ),
        ("<a>é\U0001f600</a>", "<a>é\U0001f600</a>"),
    ],
)
def test_canonical_xml_is_as_the_recommendation_has_it(source: str, expected: str) -> None:
    assert canonical(source.encode()).decode() == expected
    assert canonical(expected.encode()).decode() == expected


@pytest.mark.parametrize("name", ["update.bundle", "multiupdate.xml"])
def test_real_records_stand_alone_in_every_format(name: str) -> None:
    text = shared_data(f"gracc/{name}").read_bytes()
    command = b"update" if name.startswith("update") else b"multiupdate"
    sent = {"command": command, "arg1": text, "from": b"t", "bundlesize": b"15"}
    for made in read_bundle(sent, Limits()).records:
        texts = [made.fields["RawXML"], *(render(made, f)[0] for f in FORMATS if f != "json")]
        assert len({canonicalize(each) for each in texts}) == 1
