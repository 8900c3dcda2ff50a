"""The origin of an address: its AS, as the records of several providers give it.

Private, loopback, link-local, CGNAT, documentation and other special addresses have no AS, even if
a table names one. What a record lacks, or has in an unknown form, is None. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from tixd import bounded

Address = IPv4Address | IPv6Address

#: Largest AS number (RFC 6793: four bytes).
LARGEST_ASN = 2**32 - 1

#: Longest name of an AS, characters.
MAX_NAME_CHARACTERS = 255

#: IPv4 without an AS: IANA's Special-Purpose Address Registry, multicast and class E.
_SPECIAL_V4 = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
)

#: The part of IPv6 that is assigned to networks.
GLOBAL_V6 = IPv6Network("2000::/3")

#: The parts of it that are for documentation (RFC 9637).
_SPECIAL_V6 = (ip_network("2001:db8::/32"), ip_network("3fff::/20"))

#: Members for the AS number: of GeoLite2 and DB-IP, then of IPinfo Lite.
_NUMBER_KEYS = ("autonomous_system_number", "asn")

#: Members for the name, the same and then older files of IPinfo.
_NAME_KEYS = ("autonomous_system_organization", "as_name", "name")

#: Members for the country.
_COUNTRY_KEYS = ("country_code", "country")

#: One AS number: digits, also in two halves (asdot, RFC 5396).
_ONE = r"(?:AS)?(?:[0-9]{1,10}|[0-9]{1,5}\.[0-9]{1,5})"

#: One origin of several: an AS number, or a set of them in braces.
_PART = rf"(?:{_ONE}|\{{{_ONE}(?:,{_ONE})*\}})"

#: A field that holds AS numbers and nothing else, of which the first counts.
_NUMBERS = re.compile(rf"{_PART}(?:[_,]{_PART})*", re.ASCII | re.IGNORECASE)

#: A field with an AS number and its name, as the older files of GeoIP have it.
_WITH_NAME = re.compile(rf"(?=AS){_ONE}\s+(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)

#: The digits of a field's first AS number.
_FIRST = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """The AS of an address; None where it is not known.

    prefix: the network around the address in which all have this origin; country: ISO 3166 code.
    """

    asn: int | None = None
    name: str | None = None
    prefix: str | None = None
    country: str | None = None

    def __str__(self) -> str:
        """Format number and name of the AS."""
        return f"AS{self.asn} {self.name or ''}".rstrip() if self.asn else "no AS"


#: The origin of an address without a known AS.
UNKNOWN = Origin()


def routable(text: str) -> Address | None:
    """Return the address in `text` if it can have an AS; None for special ones and other texts.

    >>> routable("8.8.8.8"), routable("100.64.0.1"), routable("fe80::1"), routable("host")
    (IPv4Address('8.8.8.8'), None, None, None)
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        special = any(address in network for network in _SPECIAL_V4)
    else:
        special = address not in GLOBAL_V6 or any(address in part for part in _SPECIAL_V6)
    return None if special else address


def origin_in(record: object, prefix: str | None = None) -> Origin:
    """Return the origin in a record of an MMDB file; UNKNOWN where it names no AS.

    >>> origin_in({"asn": "AS15169", "as_name": "Google LLC", "country_code": "US"}, "8.8.8.0/24")
    Origin(asn=15169, name='Google LLC', prefix='8.8.8.0/24', country='US')
    """
    if not isinstance(record, Mapping):
        return UNKNOWN
    traits = record.get("traits")  # where GeoIP2 Enterprise has it
    if isinstance(traits, Mapping):
        record = {**traits, **record}
    found = (as_number_and_name(record.get(key)) for key in _NUMBER_KEYS)
    asn, own_name = next((each for each in found if each and each[0]), (None, None))
    if asn is None:
        return UNKNOWN
    name = next((n for n in (clean(record.get(key)) for key in _NAME_KEYS) if n), own_name)
    codes = (country_code(record.get(key)) for key in _COUNTRY_KEYS)
    return Origin(asn, name, prefix, next((code for code in codes if code), None))


def as_number(value: object) -> int | None:
    """Return the AS number in a number or a text, the first of several; None: there is none.

    >>> as_number("AS15169"), as_number("13335_38803"), as_number(0), as_number("{64500,64501}")
    (15169, 13335, None, 64500)
    """
    found = as_number_and_name(value)
    return found[0] or None if found else None


def as_number_and_name(value: object) -> tuple[int, str | None] | None:
    """Return the AS number in a number or a text, 0 for no AS, and the name; None: neither.

    >>> as_number_and_name("1.10"), as_number_and_name("AS15169 Google")
    ((65546, None), (15169, 'Google'))
    """
    name = None
    if isinstance(value, str):
        text = value.strip()
        named = _WITH_NAME.fullmatch(text)
        name = clean(named[1]) if named else None
        first = _FIRST.search(text) if named or _NUMBERS.fullmatch(text) else None
        value = _number(first[0]) if first else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return (value, name) if 0 <= value <= LARGEST_ASN else None


def _number(text: str) -> int | None:
    """Parse digits, or asdot notation, whose halves have 16 bits each."""
    high, dot, low = text.rpartition(".")
    if not dot:
        return int(low)
    halves = int(high), int(low)
    return (halves[0] << 16) + halves[1] if max(halves) < 1 << 16 else None


def clean(value: object) -> str | None:
    """Return a name as one printable line; None where nothing is left."""
    if not isinstance(value, str):
        return None
    return bounded.printable(value, " ").strip()[:MAX_NAME_CHARACTERS] or None


def country_code(value: object) -> str | None:
    """Return two capital letters, or None."""
    code = isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha()
    return str(value).upper() if code else None
