"""Parts of a request: whose it is, what is in hand, bodies that were compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest

from tixd import errors
from tixd.collector import given, inflate, sender
from tixd.collector.hand import Hand

TRUSTED = given.networks("127.0.0.0/8, ::1, 10.0.0.0/8")


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
    assert sender.address(peer, headers, TRUSTED) == address


def test_what_a_request_held_is_free_when_it_ends():
    hand = Hand(most_requests=1, most_bytes=10)
    with hand.share() as share:
        share.take(6)
        with hand.share() as other, pytest.raises(errors.NotAccepted, match="6 bytes are in hand"):
            other.take(5)
        share.take(4)
    assert (hand.bytes, hand.requests) == (0, 0)


def test_one_bundle_more_than_allowed_is_not_worked_on():
    hand = Hand(most_requests=1, most_bytes=10)
    with hand.work():
        with pytest.raises(errors.NotAccepted), hand.work():
            pass
        assert hand.requests == 1
    with hand.work():
        pass


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
    pieces = list(inflate.pieces(body, encoding, len(TEXT)))
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= inflate.PIECE_BYTES


@pytest.mark.parametrize("cut", [1, 9, 12, 100])
def test_a_body_that_ends_too_early_is_refused_wherever_it_ends(cut):
    with pytest.raises(errors.BadRequest):
        list(inflate.pieces(gzip.compress(TEXT)[:-cut], "gzip", len(TEXT)))


def test_a_bomb_is_refused_after_the_limit_and_not_after_itself():
    seen: list[int] = []
    pieces = inflate.pieces(gzip.compress(bytes(50_000_000)), "gzip", 1_000_000)
    with pytest.raises(errors.OverLimit):
        seen.extend(map(len, pieces))
    assert sum(seen) <= 1_000_000


def test_only_known_encodings_are_taken():
    for known in ("", "identity", "gzip", "x-gzip", "deflate"):
        inflate.check_encoding(known)
    with pytest.raises(errors.WrongType):
        inflate.check_encoding("br")
