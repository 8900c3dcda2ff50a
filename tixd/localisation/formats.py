"""The lines that AS tables are made of: what each format looks like, and what a line says; pure.

In: lines of text. Out: addresses and what they have, or an AS number with its name. Rules: the
first line that is no comment tells the format; several origins: the first counts; AS 0 is none.
"""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from tixd.localisation.origin import as_number, clean, country_code

#: What a file of each format holds, as operators call it.
FormatName = Literal["prefixes", "pfx2as", "iptoasn", "csv", "names"]

#: Lines that begin so are comments: pyasn's and everybody's.
_COMMENTS = (";", "#")

#: The AS number that a line of names begins with.
_NAMED = re.compile(r"(?:AS)?[0-9]{1,10}", re.IGNORECASE)

#: Bits of an address, by IP version.
BITS = {4: 32, 6: 128}


#: AS number, name and country: what a range of addresses has in a table.
Value = tuple[int, str | None, str | None]


class Format(NamedTuple):
    """How a line is cut (None: at blanks), and which field is which; addresses come first."""

    delimiter: str | None
    fields: tuple[str, ...]

    @property
    def addresses(self) -> int:
        """How many fields tell the addresses."""
        return self.fields.index("asn")


FORMATS: Mapping[FormatName, Format] = {
    "prefixes": Format(None, ("prefix", "asn")),
    "pfx2as": Format(None, ("address", "length", "asn")),
    "iptoasn": Format("\t", ("first", "last", "asn", "country", "name")),
    "csv": Format(",", ("first", "last", "asn", "name")),
    "names": Format(None, ("asn", "name")),
}


def is_text(line: str) -> bool:
    """Whether the line says anything: it is neither empty nor a comment."""
    return bool(line.strip()) and not line.startswith(_COMMENTS)


def recognised(line: str) -> FormatName | None:
    """The format of which this is a line; None: of none."""
    head = line.partition(",")[0]
    if head != line and not set(head) & set(" \t/"):
        return "csv"
    fields = line.split()
    if line.count("\t") >= 4:
        return "iptoasn"
    if "/" in fields[0]:
        return "prefixes"
    if _NAMED.fullmatch(fields[0]):
        return "names" if len(fields) > 1 else None
    return "pfx2as" if len(fields) == 3 and fields[1].isdigit() else None


def cut(line: str, form: Format) -> list[str]:
    """The fields of a line."""
    if form.delimiter == ",":
        return next(csv.reader([line]))
    return line.split(form.delimiter, len(form.fields) - 1)


def span(fields: Sequence[str], form: Format) -> tuple[int, int, int]:
    """IP version, first and last address of a line; ValueError where it has none."""
    if len(fields) <= form.addresses:
        raise ValueError("too few fields")
    try:
        if form.fields[0] == "prefix":
            text, _, length = fields[0].partition("/")
            return _network(text, length)
        if form.fields[0] == "address":
            return _network(fields[0], fields[1])
        (version, first), (other, last) = _address(fields[0]), _address(fields[1])
    except OSError:
        raise ValueError("no address") from None
    if version != other or first > last:
        raise ValueError("the range ends before it begins")
    return version, first, last


def value(fields: Sequence[str], form: Format) -> Value | None:
    """What the fields after the addresses say; None: of no AS. ValueError: they make no sense."""
    said = dict(zip(form.fields[form.addresses :], fields, strict=False))
    number = as_number(said["asn"])
    if number is None:
        if said["asn"].strip() != "0":
            raise ValueError("no AS number")
        return None
    return number, clean(said.get("name")), country_code(said.get("country"))


def name(fields: Sequence[str]) -> tuple[int, str]:
    """AS number and name of a line of names; ValueError where it is no such line."""
    asn = as_number(fields[0])
    text = clean(fields[1]) if len(fields) > 1 else None
    if asn is None or text is None:
        raise ValueError("no AS number with a name")
    return asn, text


def _network(text: str, length: str) -> tuple[int, int, int]:
    """IP version, first and last address of a prefix, whatever its host bits."""
    version, address = _address(text)
    free = BITS[version] - int(length)
    if not 0 <= free <= BITS[version]:
        raise ValueError("no such prefix length")
    first = address >> free << free
    return version, first, first + (1 << free) - 1


def _address(text: str) -> tuple[int, int]:
    """IP version and value of an address, or of its number as some CSV files have it."""
    text = text.strip()
    if ":" in text:
        return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text))
    if "." in text:
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text))
    number = int(text)
    if not 0 <= number < 1 << BITS[6]:
        raise ValueError("no address")
    return (4 if number < 1 << BITS[4] else 6), number
