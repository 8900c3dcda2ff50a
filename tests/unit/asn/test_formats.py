"""Formats: which one a line has, and what it says."""

from __future__ import annotations

import ipaddress

import pytest

from tixd.asn.formats import FORMATS, cut, form_of, is_text, name, recognised, span, value

LINES = [
    ("prefixes", "8.8.8.0/24 15169", "8.8.8.0", "8.8.8.255", (15169, None, None)),
    ("prefixes", "8.8.8.0/24\t15169", "8.8.8.0", "8.8.8.255", (15169, None, None)),
    ("prefixes", "8.8.8.8/24 15169_64500", "8.8.8.0", "8.8.8.255", (15169, None, None)),
    ("prefixes", "8.8.8.0/24 4608,7575", "8.8.8.0", "8.8.8.255", (4608, None, None)),
    ("prefixes", "2001:db8::/127 64500", "2001:db8::", "2001:db8::1", (64500, None, None)),
    ("pfx2as", "1.0.0.0\t24\t13335_38803", "1.0.0.0", "1.0.0.255", (13335, None, None)),
    ("pfx2as", "1.0.0.0\t32\t4608,7575", "1.0.0.0", "1.0.0.0", (4608, None, None)),
    ("pfx2as", "2001:200::\t127\t2500", "2001:200::", "2001:200::1", (2500, None, None)),
    (
        "iptoasn",
        "1.0.0.0\t1.0.0.255\t13335\tUS\tCLOUDFLARENET - Cloudflare, Inc.",
        *("1.0.0.0", "1.0.0.255", (13335, "CLOUDFLARENET - Cloudflare, Inc.", "US")),
    ),
    ("iptoasn", "1.0.1.0\t1.0.3.255\t0\tNone\tNot routed", "1.0.1.0", "1.0.3.255", None),
    *(
        ("csv", line, first, last, (asn, text, None))
        for line, first, last, asn, text in (
            ('1.0.0.0,1.0.0.9,13335,"Cloud, Inc."', "1.0.0.0", "1.0.0.9", 13335, "Cloud, Inc."),
            ('"1.0.0.0","1.0.0.9","AS13335","A ""x"""', "1.0.0.0", "1.0.0.9", 13335, 'A "x"'),
            ("16777216,16777471,13335,x", "1.0.0.0", "1.0.0.255", 13335, "x"),
            (
                f"{0x20010200 << 96},{0x20010200 << 96},2500,x",
                "2001:200::",
                "2001:200::",
                2500,
                "x",
            ),
            ("1.0.0.0,1.0.0.9,13335", "1.0.0.0", "1.0.0.9", 13335, None),
            ("1.0.0.0,1.0.0.9,AS13335 Cloud Inc", "1.0.0.0", "1.0.0.9", 13335, "Cloud Inc"),
        )
    ),
    ("prefixes", "8.8.8.0/24 1.10", "8.8.8.0", "8.8.8.255", (65546, None, None)),
    ("prefixes", "8.8.8.0/24 AS15169 Goo", "8.8.8.0", "8.8.8.255", (15169, "Goo", None)),
    ("csv prefixes", '8.8.8.0/24,15169,"Go, o"', "8.8.8.0", "8.8.8.255", (15169, "Go, o", None)),
    (
        "ip2location",
        '"16777216","16777471","1.0.0.0/24","13335","CloudFlare Inc."',
        *("1.0.0.0", "1.0.0.255", (13335, "CloudFlare Inc.", None)),
    ),
    ("ip2location", '"16777216","16777471","1.0.0.0/24","-","-"', "1.0.0.0", "1.0.0.255", None),
]

HEADERS = [
    (
        "network,autonomous_system_number,autonomous_system_organization",
        *("8.8.8.0/24,15169,GOOGLE", (15169, "GOOGLE", None)),
    ),
    (
        "network,country,country_code,continent,continent_code,asn,as_name,as_domain",
        "8.8.8.0/24,United States,US,North America,NA,AS15169,Google LLC,google.com",
        (15169, "Google LLC", "US"),
    ),
    (
        "network,country,country_code,continent,continent_code,asn,as_name,as_domain",
        *("8.8.8.0/24,United States,US,North America,NA,,,", None),
    ),
    (
        "start_ip,end_ip,asn,name,domain",
        *("8.8.8.0,8.8.8.255,AS15169,Google LLC,google.com", (15169, "Google LLC", None)),
    ),
    (
        '"network","asn","country_code","name","org","domain"',
        *('8.8.8.0/24,15169,US,GOOGLE,"Google, LLC",google.com', (15169, "GOOGLE", "US")),
    ),
    (" Network , ASN ", "8.8.8.0/24,1.10", (65546, None, None)),
    (
        "ip_from,ip_to,cidr,asn,as",
        *("134744064,134744319,8.8.8.0/24,15169,Google LLC", (15169, "Google LLC", None)),
    ),
]


@pytest.mark.parametrize(("header", "line", "said"), HEADERS)
def test_a_csv_file_with_a_header_is_read_by_its_header(header, line, said):
    assert recognised(header) == "header"
    form = form_of(header)
    fields = cut(line, form)
    assert span(fields, form) == (4, 0x08080800, 0x080808FF)
    assert value(fields[form.addresses :], form) == said


@pytest.mark.parametrize(
    "header",
    ["network,geoname_id", "asn,name", "start_ip,asn", "ip_from,ip_to,country_code,x", "a,b,c"],
)
def test_a_header_without_addresses_or_as_numbers_is_of_no_format(header):
    assert recognised(header) is None


def test_a_line_with_too_few_fields_for_its_header_is_a_value_error():
    form = form_of("network,country,asn")
    with pytest.raises(ValueError, match="too few fields"):
        span(cut("8.8.8.0/24,US", form), form)


@pytest.mark.parametrize(("kind", "line", "first", "last", "said"), LINES)
def test_a_line_of_each_format_is_recognised_and_understood(kind, line, first, last, said):
    assert recognised(line) == kind
    form = FORMATS[kind]
    fields = cut(line, form)
    version, *ends = span(fields, form)
    address = ipaddress.IPv6Address if version == 6 else ipaddress.IPv4Address
    assert [str(address(end)) for end in ends] == [first, last]
    assert value(fields[form.addresses :], form) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("15169\tGoogle LLC", (15169, "Google LLC")),
        ("15169 Google, Inc.", (15169, "Google, Inc.")),
        ("AS15169  Google LLC", (15169, "Google LLC")),
        ("64500 360 Networks", (64500, "360 Networks")),
    ],
)
def test_a_line_of_names_is_recognised_and_understood(line, said):
    assert recognised(line) == "names"
    assert name(cut(line, FORMATS["names"])) == said


def test_a_file_of_names_may_begin_with_as_zero():
    assert recognised("0\tReserved") == recognised("AS0 Reserved") == "names"


@pytest.mark.parametrize("line", ["hello", "hello world", "15169", "<html>", "8.8.8.8", "x y z"])
def test_other_lines_are_of_no_format(line):
    assert recognised(line) is None


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        *(("prefixes", f"{bad} 64500") for bad in ("8.8.8.0/33", "8.8.8.0/-1", "8.8.8/24", "x/8")),
        *(("prefixes", bad) for bad in ("8.8.8.0/24", "8.8.8.0/ 1", "::/129 1", "8.8.8.0/24 none")),
        *(("prefixes", f"8.8.8.0/24 {bad}") for bad in (2**32, -1, "AS", "0x10", "8.8.8.0/24")),
        *(("prefixes", f"8.8.8.0/24 {bad}") for bad in ("15169 64500", "15169x", "-", "1.70000")),
        *(("prefixes", bad) for bad in ("8.8.8.0/2_4 1", "8.8.8.0/\u0664 1", "8.8.8.0\0/24 1")),
        *(("csv", bad) for bad in ("1_0,20,1", "\u0661,20,1", f"1,{'9' * 5000},1")),
        ("csv", f'1.0.0.0,1.0.0.9,1,"{"x" * 200_000}'),
        *(("csv", bad) for bad in ("1.0.0.9,1.0.0.0,1,x", "1.0.0.0,::1,1,x", "1.0.0.0,1.0.0.1,,x")),
        *(("csv", bad) for bad in ("first,last,asn", "-1,5,1,x", f"{2**128},{2**128},1,x", "1,2")),
        *(("iptoasn", bad) for bad in ("1.0.0.0\t1.0.0.9", "", "1.0.0.0\t\t1\tUS\tx")),
    ],
)
def test_a_line_that_makes_no_sense_is_a_value_error(kind, line):
    form = FORMATS[kind]
    fields = cut(line, form)
    with pytest.raises(ValueError, match=r"^[^:']+$"):  # no text of Python's
        _ = span(fields, form), value(fields[form.addresses :], form)


@pytest.mark.parametrize("line", ["", "  \t", "# comment", "; pyasn says hello"])
def test_empty_lines_and_comments_say_nothing(line):
    assert not is_text(line)
