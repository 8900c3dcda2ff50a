"""Convert texts in usage records to published values: times, durations, whole numbers.

Rules: a time or a whole number that does not parse fails its record with BadRecord; a duration that
does not is 0. Pure.
"""

from __future__ import annotations

import functools
import json
import math
import re

from tixd.errors import BadRecord

#: What a key of the published map has as its value.
Value = str | int | float

#: Seconds of each unit of a duration, in the order of the pattern's groups: W, Y, M, D, H, M; years
#: and months as the original counts them (365 and 30 days).
_UNIT_SECONDS = (7 * 86400, 365 * 86400, 30 * 86400, 86400, 3600, 60)

#: Nanoseconds of a second, and of the places that a fraction is cut into: ms, us, ns.
_NANO = 10**9
_PLACES = (10**6, 10**3, 1)

#: A duration anywhere in a text: ISO 8601 with whole numbers but for the seconds, without a sign.
_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(\d++)W|(?:(\d++)Y)?(?:(\d++)M)?(?:(\d++)D)?"
    r"(?:T(?:(\d++)H)?(?:(\d++)M)?(?:(\d++(?:\.\d++)?)S)?)?)",
    re.ASCII,
)

#: RFC 3339 as Go reads it, as far as a pattern can tell: an hour may have one digit, a fraction
#: begin with a comma, an offset be up to 24 hours and 60 minutes.
_TIME = re.compile(
    r"((\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T)(\d|[01]\d|2[0-3])(:[0-5]\d:[0-5]\d)"
    r"(?:[.,]\d+)?(Z|([+-])([01]\d|2[0-4]):([0-5]\d|60))",
    re.ASCII,
)

#: The most frequent of these, published as it stands: UTC without a fraction, on a day that every
#: month has.
_PLAIN_TIME = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII
)

#: Days of the months in a year that is not a leap year.
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

#: Largest value of a signed integer of 64 bits (hop).
MAX_SIGNED = 2**63 - 1

#: Largest value of an unsigned integer of 64 bits (spaces and counts).
MAX_UNSIGNED = 2**64 - 1

#: Longest text that is remembered with its value, characters; a bundle has the same few many times.
_REMEMBERED_CHARACTERS = 40

#: Characters of a bad value that a message shows.
_SHOWN_CHARACTERS = 60


def seconds(text: str) -> int | float:
    """Return the seconds of a duration; whole ones as an integer.

    A fraction is cut to nanoseconds as the original cuts it, because consumers compute ids from it.

    >>> [seconds(text) for text in ("PT1M5.32S", "P1Y2M3DT4H", "P2W", "-PT5.0S", "five", "")]
    [65.32, 36993600, 1209600, 5, 0, 0]
    >>> seconds("PT1M5.17S")
    65.169999999
    """
    return _seconds(text) if len(text) <= _REMEMBERED_CHARACTERS else _seconds.__wrapped__(text)


def number(value: float) -> int | float:
    """Return a number as it is published: whole without a fraction, an infinite one as 0.

    >>> number(18.0), number(0.5), number(1e300), number(math.inf)
    (18, 0.5, 1e+300, 0)
    """
    if value.is_integer() and value <= MAX_SIGNED:
        return int(value)
    return value if math.isfinite(value) else 0


@functools.lru_cache(maxsize=4096)
def _seconds(text: str) -> int | float:
    found = _DURATION.search(text)
    if not found:
        return 0
    *units, rest = found.groups(default="0")
    try:
        whole = sum(int(float(n)) * size for n, size in zip(units, _UNIT_SECONDS, strict=True))
        above, nanoseconds = divmod(_nanoseconds(float(rest)), _NANO)
        return number(whole + above + nanoseconds / _NANO)
    except OverflowError:  # beyond what a float holds
        return 0


def _nanoseconds(value: float) -> int:
    """Cut seconds to nanoseconds place by place, in floats as the original does."""
    total = int(value) * _NANO
    for place in _PLACES:
        value = (value - int(value)) * 1000
        total += int(value) * place
    return total


def time(text: str, key: str) -> str:
    """Return an RFC 3339 time without its fraction, with its offset; raises BadRecord.

    >>> time("2016-05-27T22:46:46.999-05:00", "EndTime")
    '2016-05-27T22:46:46-05:00'
    >>> time("2016-02-29T00:00:00+00:00", "EndTime")
    '2016-02-29T00:00:00Z'
    """
    if _PLAIN_TIME.fullmatch(text):
        return text
    found = _TIME.fullmatch(text)
    if not found or not _day_exists(int(found[2]), int(found[3]), int(found[4])):
        raise BadRecord(f"{key} {_shown(text)} is not an RFC 3339 time")
    date, hour, rest, offset = found.group(1, 5, 6, 7)
    if offset != "Z":
        hours, minutes = divmod(int(found[9]) * 60 + int(found[10]), 60)
        offset = f"{found[8]}{hours:02}:{minutes:02}" if hours or minutes else "Z"
    return f"{date}{hour:0>2}{rest}{offset}"


def whole(text: str, key: str, limit: int) -> int:
    """Return a whole number from 0 to `limit`, blanks around it allowed; raises BadRecord.

    >>> whole(" 18446744073709551615\\n", "TotalSpace", MAX_UNSIGNED)
    18446744073709551615
    """
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit():
        raise BadRecord(f"{key} {_shown(text)} is not a whole number")
    digits = digits.lstrip("0") or "0"
    if len(digits) > len(str(limit)) or int(digits) > limit:
        raise BadRecord(f"{key} {_shown(text)} is over {limit}")
    return int(digits)


def typed_key(prefix: str, text: str) -> str:
    """Return a key that ends with a description or type; absent ones are unknown.

    >>> typed_key("Resource", "condor.Job Status"), typed_key("TimeInstant", "")
    ('Resource_condor-Job-Status', 'TimeInstant_unknown')
    """
    short = len(text) <= _REMEMBERED_CHARACTERS
    return _typed_key(prefix, text) if short else _typed_key.__wrapped__(prefix, text)


@functools.lru_cache(maxsize=4096)
def _typed_key(prefix: str, text: str) -> str:
    return f"{prefix}_{text.replace('.', '-').replace(' ', '-') or 'unknown'}"


def _day_exists(year: int, month: int, day: int) -> bool:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= _MONTH_DAYS[month - 1] + leap


def _shown(text: str) -> str:
    return json.dumps(text[:_SHOWN_CHARACTERS])
