"""Lines of the sources of an AS table: recognise their format, split and parse them.

The first line that is not a comment determines the format. A field is parsed as a whole or not at
all. Of several origins the first counts; AS 0 means none. Pure.
"""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from tixd.asn.origin import as_number, as_number_and_name, clean, country_code

#: Names of the formats, for operators.
FormatName = Literal[
    "prefixes", "pfx2as", "iptoasn", "csv", "csv prefixes", "ip2location", "header", "names"
]

#: Lines of the known formats, for messages.
SHAPES = (
    "PREFIX ASN, ADDRESS LENGTH ASN (pfx2as), FIRST LAST ASN COUNTRY NAME with tabs (iptoasn),"
    " FIRST,LAST,ASN,NAME, FIRST,LAST,PREFIX,ASN,NAME (IP2Location), PREFIX,ASN,NAME, ASN NAME,"
    " or a header that names network, or start_ip and end_ip, and asn"
)

#: Columns of CSV files with a header, by field: the first that a header names counts.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "prefix": ("network", "prefix", "cidr"),
    "first": ("start_ip", "ip_from", "range_start", "first"),
    "last": ("end_ip", "ip_to", "range_end", "last"),
    "asn": ("autonomous_system_number", "asn", "as_number"),
    "country": ("country_code", "country"),
    "name": ("autonomous_system_organization", "as_name", "name", "as", "organization", "org"),
}

#: Longest line, characters.
MAX_LINE_CHARACTERS = 10_000

#: Longest field of addresses or an AS number, characters.
_MAX_FIELD_CHARACTERS = 255

#: Start of a comment: pyasn's, and the usual one.
_COMMENTS = (";", "#")

#: Digits, as many as the value of an IPv6 address has.
_DIGITS = re.compile("[0-9]{1,39}")

#: Characters of an address, or of a number that stands for one.
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]*[0-9:][0-9A-Fa-f:.]*(?:/.*)?")

#: Bits of an address, by IP version.
BITS = {4: 32, 6: 128}

#: AS number, name and country of a range of addresses.
Value = tuple[int, str | None, str | None]


class Format(NamedTuple):
    """The delimiter of a line (None: blanks) and its fields; addresses come first.

    columns: places of the fields, where they are not the first ones; nothing: texts in place of an
    AS number that mean no AS.
    """

    delimiter: str | None
    fields: tuple[str, ...]
    columns: tuple[int, ...] = ()
    nothing: frozenset[str] = frozenset({"0"})

    @property
    def addresses(self) -> int:
        """Count the fields of addresses."""
        return self.fields.index("asn")


FORMATS: Mapping[FormatName, Format] = {
    "prefixes": Format(None, ("prefix", "asn")),
    "pfx2as": Format(None, ("address", "length", "asn")),
    "iptoasn": Format("\t", ("first", "last", "asn", "country", "name")),
    "csv": Format(",", ("first", "last", "asn", "name")),
    "csv prefixes": Format(",", ("prefix", "asn", "name")),
    "ip2location": Format(
        ",", ("first", "last", "asn", "name"), (0, 1, 3, 4), frozenset({"0", "-"})
    ),
    "names": Format(None, ("asn", "name")),
}


def is_text(line: str) -> bool:
    """Return whether the line is neither empty nor a comment."""
    return bool(line.strip()) and not line.startswith(_COMMENTS)


def recognised(line: str) -> FormatName | None:
    """Recognise the format of a line; None: unknown."""
    head = line.partition(",")[0].strip()
    if head != line.strip() and not set(head) & set(" \t"):
        return _recognised_csv(_commas(line))
    fields = line.split()
    if line.count("\t") >= 4:
        return "iptoasn"
    if "/" in fields[0]:
        return "prefixes"
    if as_number_and_name(fields[0]):
        return "names" if len(fields) > 1 else None
    return "pfx2as" if len(fields) == 3 and fields[1].isdigit() else None


def _recognised_csv(fields: Sequence[str]) -> FormatName | None:
    if not fields:
        return None
    if not _ADDRESS.fullmatch(fields[0].strip()):
        return "header" if _by_header(fields) else None
    if "/" in fields[0]:
        return "csv prefixes"
    return "ip2location" if len(fields) > 3 and "/" in fields[2] else "csv"


def form_of(line: str) -> Format:
    """Return the format of a file by its first line; raises ValueError for an unknown one."""
    kind = recognised(line)
    form = _by_header(_commas(line)) if kind == "header" else FORMATS[kind] if kind else None
    if form is None:
        raise ValueError("not a line of a known format")
    return form


def _by_header(names: Sequence[str]) -> Format | None:
    """Return the format below a header with these names; None: no addresses or AS numbers."""
    known = [name.strip().lower() for name in names]
    places = {
        field: known.index(column)
        for field, columns in _COLUMNS.items()
        for column in reversed(columns)
        if column in known
    }
    ends = [field for field in ("first", "last") if field in places]
    addresses = ends if len(ends) == 2 else ["prefix"]
    if not {*addresses, "asn"} <= places.keys():
        return None
    fields = (*addresses, "asn", *(field for field in ("country", "name") if field in places))
    columns = tuple(places[field] for field in fields)
    return Format(",", fields, columns, frozenset({"0", "-", ""}))


def cut(line: str, form: Format) -> list[str]:
    """Split a line into fields; a line that is too long has none."""
    if len(line) >= MAX_LINE_CHARACTERS:
        return []
    if form.delimiter != ",":
        return line.split(form.delimiter, len(form.fields) - 1)
    found = _commas(line)
    if not form.columns:
        return found
    return [found[at] for at in form.columns] if len(found) > max(form.columns) else []


def _commas(line: str) -> list[str]:
    """Split a line of CSV into fields; none where one is too long for the library."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def span(fields: Sequence[str], form: Format) -> tuple[int, int, int]:
    """Return IP version, first and last address of a line; raises ValueError without them."""
    if len(fields) <= form.addresses:
        raise ValueError("too few fields, or a line too long")
    if any(len(field) > _MAX_FIELD_CHARACTERS for field in fields[: form.addresses + 1]):
        raise ValueError("a field is too long")
    try:
        if form.fields[0] == "prefix":
            text, _, length = fields[0].partition("/")
            return _network(text, length)
        if form.fields[0] == "address":
            return _network(fields[0], fields[1])
        (version, first), (other, last) = _address(fields[0]), _address(fields[1])
    except OSError:
        raise ValueError("not an address") from None
    if version != other or first > last:
        raise ValueError("the range ends before it begins")
    return version, first, last


def value(fields: Sequence[str], form: Format) -> Value | None:
    """Read the fields after the addresses; None: no AS. Raises ValueError for bad ones."""
    by_name = dict(zip(form.fields[form.addresses :], fields, strict=False))
    if by_name["asn"].strip() in form.nothing:
        return None
    found = as_number_and_name(by_name["asn"])
    if found is None:
        raise ValueError("not an AS number")
    number, name = found
    if number == 0:
        return None
    return number, clean(by_name.get("name")) or name, country_code(by_name.get("country"))


def name(fields: Sequence[str]) -> tuple[int, str]:
    """Return AS number and name of a line of names; raises ValueError for another line."""
    asn = as_number(fields[0]) if fields else None
    text = clean(fields[1]) if len(fields) > 1 else None
    if asn is None or text is None:
        raise ValueError("not an AS number with a name")
    return asn, text


def _network(text: str, length: str) -> tuple[int, int, int]:
    """Return IP version, first and last address of a prefix; host bits are ignored."""
    version, address = _address(text)
    free = BITS[version] - (int(length) if _DIGITS.fullmatch(length) else -1)
    if not 0 <= free <= BITS[version]:
        raise ValueError("not a prefix length")
    first = address >> free << free
    return version, first, first + (1 << free) - 1


def _address(text: str) -> tuple[int, int]:
    """Return IP version and value of an address, or of its number as in some CSV files."""
    text = text.strip()
    if "\0" in text:
        raise ValueError("not an address")
    if ":" in text:
        return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text))
    if "." in text:
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text))
    number = int(text) if _DIGITS.fullmatch(text) else -1
    if not 0 <= number < 1 << BITS[6]:
        raise ValueError("not an address")
    return (4 if number < 1 << BITS[4] else 6), number
