"""Who may look at the page: over the loopback without a token, from elsewhere with one."""

import base64

import pytest

from tixd.config.fields import Secret
from tixd.page.access import Caller, refusal

TOKEN = Secret("s3cret ä")
SETTING = "TIX_PAGE_TOKEN"


def status(caller: Caller, token: Secret = Secret()) -> int | None:  # noqa: B008 - frozen
    """The status of the refusal, if there is one."""
    found = refusal(caller, token, SETTING)
    return found and found.status


def basic(text: str) -> str:
    """A header as browsers send a name and a password."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("local", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_over_the_loopback_nobody_is_asked_for_a_token(local):
    assert status(Caller(local, "localhost:8889", "")) is None


@pytest.mark.parametrize("host", ["evil.example", "", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_a_name_that_may_belong_to_somebody_else_is_refused_there(host):
    assert status(Caller("127.0.0.1", host, "")) == 403
    assert status(Caller("127.0.0.1", host, "Bearer s3cret ä"), TOKEN) is None


def test_what_a_proxy_brings_over_the_loopback_needs_a_token():
    caller = Caller("127.0.0.1", "localhost", "Bearer s3cret ä", is_proxied=True)
    assert status(caller) == 403
    assert status(caller, TOKEN) is None


@pytest.mark.parametrize("local", ["192.0.2.1", "::", "2001:db8::1", "fe80::1%eth0", "", "x"])
def test_elsewhere_nobody_may_look_without_a_token_and_is_told_which_to_set(local):
    found = refusal(Caller(local, "192.0.2.1", ""), Secret(), SETTING)
    assert found
    assert found.status == 401
    assert SETTING in found.words
    assert found.challenge.startswith("Bearer"), "a browser's dialog could open nothing"


@pytest.mark.parametrize("given", ["Bearer s3cret ä", "bearer  s3cret ä ", basic("me:s3cret ä")])
@pytest.mark.parametrize("local", ["127.0.0.1", "192.0.2.1"])
def test_the_token_opens_as_bearer_and_as_password(given, local):
    assert status(Caller(local, "tixd.example", given), TOKEN) is None


@pytest.mark.parametrize(
    "given",
    [
        *("", "Bearer", "Bearer ", "Bearer s3cret", "s3cret ä", "Digest s3cret ä", "Basic"),
        *(
            "Basic !",
            "Basic s3cret",
            basic("s3cret ä"),
            basic(":"),
            basic("s3cret ä:"),
            "Bearer \udce4",
        ),
    ],
)
def test_anything_else_opens_nothing_not_even_over_the_loopback(given):
    found = refusal(Caller("127.0.0.1", "localhost", given), TOKEN, SETTING)
    assert found
    assert found.status == 401
    assert found.challenge.startswith("Basic")
    assert "s3cret" not in found.words
