"""Forms: what urllib says they are, within limits."""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tixd.collector import body, form
from tixd.errors import BadRequest, OverLimit


@given(st.lists(st.tuples(st.text("abcü%&=+ ", min_size=1), st.binary()), max_size=5))
def test_what_urllib_encodes_comes_out_again(pairs: list[tuple[str, bytes]]) -> None:
    expected = dict(reversed(pairs))
    assert form.parse(urlencode(pairs).encode()) == expected


@given(st.binary(max_size=60))
def test_any_bytes_give_what_urllib_gives_or_a_bad_request(encoded: bytes) -> None:
    try:
        found = form.parse(encoded)
    except BadRequest:
        assert b"%" in encoded
        return
    pairs = [pair.replace(b"+", b" ").partition(b"=") for pair in encoded.split(b"&") if pair]
    values = [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]
    assert found == {name.decode(errors="replace"): value for name, value in reversed(values)}


@pytest.mark.parametrize("bad", [b"%", b"%4", b"%zz", b"%%41", b"a%2", b"%\n", b"%\r\n41", b"%=41"])
def test_a_percent_sign_without_two_digits_is_refused(bad: bytes) -> None:
    with pytest.raises(BadRequest, match="two hexadecimal digits"):
        form.parse(b"arg1=" + bad)


def test_of_a_name_that_repeats_the_first_value_stands() -> None:
    assert form.parse(b"a=1&b=2&a=3&%61=4") == {"a": b"1", "b": b"2"}


def test_a_text_in_pieces_is_the_same_wherever_it_is_cut() -> None:
    value = bytes(range(256)) * 3
    encoded = b"x%61=1&a=" + quote_from_bytes(value).encode() + b"&b=%41"
    for step in (1, 2, 3, 5, 7, 300):
        found = form.Form(None)
        for start in range(0, len(encoded), step):
            found.feed(encoded[start : start + step])
        assert found.values() == {"xa": b"1", "a": value, "b": b"A"}


def test_a_long_text_is_decoded_in_steps_that_tell_what_is_held() -> None:
    held = list(body.decoding(b"a=" + b"%41" * (1 << 20), form.Form(None)))
    assert len(held) >= 3
    assert held == sorted(held)
    assert 1 << 20 <= held[-1] <= 5 << 18


def test_parameters_that_are_not_wanted_are_not_held() -> None:
    found = form.Form()
    found.feed(b"zap=" + b"x" * 1_000_000 + b"&command=a&command=" + b"y" * 1_000_000)
    assert found.memory_bytes < 10
    assert found.values() == {"command": b"a"}


@pytest.mark.parametrize("start", [b"x" * 2000, b"from=" + b"x" * 70_000])
def test_a_name_or_a_value_that_goes_on_is_refused_before_its_end(start: bytes) -> None:
    with pytest.raises(OverLimit, match="parameter"):
        form.Form().feed(start)


def test_a_value_that_is_too_long_is_named_by_its_parameter() -> None:
    with pytest.raises(OverLimit, match=r'^parameter "from" of over 65536 bytes'):
        form.Form().feed(b"command=update&from=" + b"x" * 70_000)


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(OverLimit, match="over 1000 parameters"):
        form.parse(b"a&" * 1000)
