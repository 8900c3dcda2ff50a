"""Parts of a request: whose it is, bodies that were compressed."""

from __future__ import annotations

import gzip
import time
import zlib
from typing import Any

import pytest

from tixd import errors
from tixd.collector import body as body_module
from tixd.collector import server
from tixd.config import values

TRUSTED = values.networks("127.0.0.0/8, ::1, 10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("192.0.2.1", {}, "192.0.2.1"),
        ("192.0.2.1", {"X-Real-IP": "6.6.6.6", "X-Forwarded-For": "6.6.6.6"}, "192.0.2.1"),
        ("127.0.0.1", {"X-Real-IP": "192.0.2.1", "X-Forwarded-For": "6.6.6.6"}, "192.0.2.1"),
        ("::1", {"X-Forwarded-For": "6.6.6.6, 192.0.2.1, 10.1.1.1"}, "192.0.2.1"),
        ("::ffff:127.0.0.1", {"X-Forwarded-For": "[2001:db8::1]:80"}, "2001:db8::1"),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1:4711"}, "192.0.2.1"),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1, \x1b[31m"}, "127.0.0.1"),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.1, 10.0.0.2"}, "127.0.0.1"),
        ("127.0.0.1", {"X-Real-IP": "nonsense"}, "127.0.0.1"),
        ("", {"X-Real-IP": "6.6.6.6"}, ""),
    ],
)
def test_only_trusted_proxies_tell_whose_request_it_is(peer, headers, address):
    assert server.client_address(peer, headers, TRUSTED) == address


TEXT = bytes(range(256)) * 4000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(TEXT, mtime=0), "gzip"),
        (gzip.compress(TEXT[:5], mtime=0) + gzip.compress(TEXT[5:], mtime=0), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (zlib.compress(TEXT)[2:-4], "deflate"),
    ],
)
def test_a_body_is_inflated_in_pieces_of_bounded_size(body, encoding):
    pieces = list(body_module.inflate(body, encoding, len(TEXT), 2))
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= body_module.PIECE_BYTES


@pytest.mark.parametrize("cut", [1, 9, 12, 100])
def test_a_body_that_ends_too_early_is_refused_wherever_it_ends(cut):
    with pytest.raises(errors.BadRequest):
        list(body_module.inflate(gzip.compress(TEXT)[:-cut], "gzip", len(TEXT), 1))


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (b"plain", "gzip", "the body is not gzip, or it is damaged"),
        (gzip.compress(TEXT)[:-6] + b"abcdef", "gzip", "the body is not gzip, or it is damaged"),
        (b"plain", "deflate", "the body is not deflate, or it is damaged"),
    ],
)
def test_a_body_that_cannot_be_inflated_is_refused_in_plain_words(body, encoding, said):
    with pytest.raises(errors.BadRequest) as refused:
        list(body_module.inflate(body, encoding, len(TEXT), 1))
    assert refused.value.answer == f"Error handling request: {said}"


def test_a_bomb_is_refused_after_the_limit_and_not_after_itself():
    seen: list[int] = []
    pieces = body_module.inflate(gzip.compress(bytes(50_000_000)), "gzip", 1_000_000, 1)
    with pytest.raises(errors.OverLimit, match="maxInflated"):
        seen.extend(map(len, pieces))
    assert sum(seen) <= 1_000_000


def test_the_work_on_many_members_grows_with_their_number_alone():
    empty, seconds = gzip.compress(b"", mtime=0), []
    for count in (4_000, 40_000):
        begun = time.process_time()
        list(body_module.inflate(empty * count, "gzip", 1, count))
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 30 * seconds[0]  # as it was, 100 times and more


def test_a_member_more_than_allowed_is_refused():
    body = gzip.compress(b"ab", mtime=0) * 5
    assert b"".join(body_module.inflate(body, "gzip", 10, 5)) == b"ab" * 5
    with pytest.raises(errors.OverLimit, match=r"more than 4 members \(maxMembers\)"):
        list(body_module.inflate(body, "gzip", 10, 4))


class Counting:
    """A decompressor that notes how much comes out of it."""

    real, inflated = zlib.decompressobj, 0

    def __init__(self, window: int) -> None:
        self.inner = Counting.real(window)

    def decompress(self, *args: Any) -> bytes:
        """What zlib makes of it."""
        piece = self.inner.decompress(*args)
        Counting.inflated += len(piece)
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_no_byte_is_inflated_twice(monkeypatch):
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    monkeypatch.setattr(Counting, "inflated", 0)
    list(body_module.inflate(gzip.compress(TEXT), "gzip", len(TEXT), 1))
    assert Counting.inflated == len(TEXT)


def test_only_known_encodings_are_taken():
    for known in ("", "identity", "gzip", "x-gzip", "deflate"):
        body_module.check_encoding(known)
    with pytest.raises(errors.WrongType):
        body_module.check_encoding("br")
