"""Origins: which addresses can have one, and what the records of providers say."""

from __future__ import annotations

import pytest

from tixd.asn.origin import UNKNOWN, Origin, as_number, clean, origin_in, routable


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.31.255.255", "192.168.0.1", "127.0.0.1", "169.254.7.7"),
        *("100.64.0.1", "100.127.255.255", "192.0.2.1", "198.51.100.9", "203.0.113.255"),
        *("0.0.0.1", "198.19.0.1", "224.0.0.1", "255.255.255.255"),
        *("::", "::1", "::8.8.8.8", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1", "3fff::1"),
        *("", "condenser.example", "8.8.8", "8.8.8.8:80", "1.2.3.4.5", "٨.٨.٨.٨"),
    ],
)
def test_special_addresses_and_other_texts_have_no_as(address):
    assert routable(address) is None


@pytest.mark.parametrize(
    "address",
    [
        *(
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.0",
            "198.20.0.0",
            "223.255.255.255",
        ),
        *("2001:4860:4860::8888", "2000::", "2001:db7:ffff::", "2001:db9::", "3ffe::1"),
    ],
)
def test_addresses_beside_the_special_ones_can_have_an_as(address):
    assert str(routable(address)) == address


@pytest.mark.parametrize(
    ("record", "origin"),
    [
        (
            {"autonomous_system_number": 7303, "autonomous_system_organization": "Telecom"},
            Origin(7303, "Telecom"),
        ),
        (
            {
                "asn": "AS15169",
                "as_name": "Google LLC",
                "as_domain": "google.com",
                "country": "United States",
                "country_code": "US",
                "continent_code": "NA",
            },
            Origin(15169, "Google LLC", None, "US"),
        ),
        (
            {"asn": "AS15169", "name": "Google LLC", "domain": "google.com", "country": "us"},
            Origin(15169, "Google LLC", None, "US"),
        ),
        ({"autonomous_system_number": 64500}, Origin(64500)),
        ({"asn": "", "as_name": "", "country_code": "US"}, UNKNOWN),
        ({"country": {"iso_code": "US"}, "location": {"latitude": 37.7}}, UNKNOWN),
        ({"asn": 64500, "as_name": ["x"], "country": {"iso_code": "US"}}, Origin(64500)),
        ({"asn": "AS15169 Google LLC"}, Origin(15169, "Google LLC")),
        ({"asn": "15169 Google LLC", "autonomous_system_number": "8.8.8.0/24"}, UNKNOWN),
        (
            {
                "country": {"iso_code": "US"},
                "traits": {
                    "autonomous_system_number": 15169,
                    "autonomous_system_organization": "GOOGLE",
                },
            },
            Origin(15169, "GOOGLE"),
        ),
        *(
            ({"traits": nonsense}, UNKNOWN)
            for nonsense in (None, "AS1", [{"asn": 1}], {"asn": "x"})
        ),
        *((nonsense, UNKNOWN) for nonsense in (None, "AS1", 5, [], {}, {"asn": [1]})),
    ],
)
def test_records_of_every_provider_are_understood(record, origin):
    assert origin_in(record) == origin


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((15169, 15169), ("15169", 15169), ("AS15169", 15169), ("as15169", 15169)),
        *(("13335_38803", 13335), ("4608,7575", 4608), ("{64500,64501}", 64500)),
        *(("4200000000", 4200000000), (2**32 - 1, 2**32 - 1), (2**32, None), ("9" * 10, None)),
        *((0, None), ("0", None), (-1, None), ("-1", None), (True, None), (1.5, None), ("", None)),
        *((None, None), ("None", None), ("AS", None), ("x", None)),
        *(("AS15169 Google LLC", 15169), ("AS1.10 Two Bytes", 65546), (" 15169\t", 15169)),
        *(("1.10", 65546), ("AS1.10", 65546), ("65535.65535", 2**32 - 1), ("1.10_7", 65546)),
        *(("0.0", None), ("1.65536", None), ("65536.1", None), ("1.", None), ("1.2.3", None)),
        *(("8.8.8.0/24", None), ("15169x", None), ("15169 Google", None), ("AS 15169", None)),
        *(("13335_x", None), ("4608,", None), ("{64500", None), ("1{5}", None), ("1\n2", None)),
        *(("AS15169Google", None), ("AS15169 \x00", 15169), ("\u0661", None), ("1_" * 10**6, None)),
    ],
)
def test_an_as_number_is_a_whole_field_in_what_providers_write(value, number):
    assert as_number(value) == number


def test_a_name_is_one_printable_line():
    assert clean(" Net\x1b[31m\nWorks ") == "Net [31m Works"
    assert clean("Télécom Ñandú") == "Télécom Ñandú"
    assert clean("x" * 300) == "x" * 255
    assert clean("\x00\n") is None
