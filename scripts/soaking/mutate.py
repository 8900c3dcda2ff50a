"""Damage bytes as a fuzzer does: out of a seed, so that each finding can be made again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

#: Longest input that is made, bytes: longer ones are made by the tests of limits.
MAX_BYTES = 200_000

#: Bytes that mean something to one of the parsers.
TOKENS = (
    *(b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\r\n", b"\r\n\r\n", b"\n", b"|", b"&", b"="),
    *(b"%", b"%00", b"%zz", b"+", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null"),
    *(
        b"NaN",
        b"1e400",
        b"-0",
        b"-1",
        b"0",
        b"9" * 30,
        b"1.5",
        b"true",
        b"\\ud800",
        b"\xed\xa0\x80",
    ),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"<![CDATA[", b"]]>", b"<!--", b"-->"),
    *(b"<?xml version='1.0'?>", b"</", b"/>", b"<a ", b"xmlns=''", b"xmlns:x='y'", b"replication|"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n"),
    *(
        b"../",
        b"/etc/passwd",
        b"%2e%2e/",
        b"PT",
        b"2016-13-45T25:61:61Z",
        b"+24:00",
        b"AS",
        b"1.10",
    ),
    *(b"::1/129", b"1.2.3.4/33", "\u2028".encode(), "\U0001f600".encode(), b"a" * 5000),
)

Change = Callable[[Random, bytearray, Sequence[bytes]], None]


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _insert(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    place = random.randint(0, len(data))
    data[place:place] = random.choice(TOKENS)


def _replace(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin, end = _span(random, data)
    data[begin:end] = random.choice(TOKENS)


def _cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin, end = _span(random, data)
    del data[begin:end]


def _end(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randint(0, len(data)) :]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin, end = _span(random, data)
    times = min(random.choice((1, 2, 10, 1000)), MAX_BYTES // max(1, end - begin))
    data[end:end] = bytes(data[begin:end]) * times


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = bytearray(random.choice(others))
    begin, end = _span(random, other)
    place = random.randint(0, len(data))
    data[place:place] = other[begin:end]


def _swap(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Change places of two pieces."""
    begin, end = _span(random, data)
    piece = data[begin:end]
    del data[begin:end]
    place = random.randint(0, len(data))
    data[place:place] = piece


_CHANGES: tuple[Change, ...] = (_flip, _insert, _replace, _cut, _end, _repeat, _splice, _swap)


def _span(random: Random, data: bytearray) -> tuple[int, int]:
    begin = random.randint(0, len(data))
    return begin, min(len(data), begin + random.choice((1, 1, 4, 16, 100, 5000)))


def mutated(random: Random, corpus: Sequence[bytes]) -> bytes:
    """Return one of the corpus with a few changes."""
    data = bytearray(random.choice(corpus))
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        random.choice(_CHANGES)(random, data, corpus)
    return bytes(data[:MAX_BYTES])
