"""The tix-api as --connect tries it: one line for each trouble, and nothing posted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest

from tests.support.certificates import Certificate, make_certificate
from tests.support.relay import Relay
from tests.support.results import settings_for
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tests.support.stand_in_proxy import StandInProxy
from tixd import errors
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.diagnostics.api import ADVICE, check_api
from tixd.results.response import Cause
from tixd.results.transport import REASONS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def there() -> Iterator[StandInApi]:
    """A tix-api that asks for user and password."""
    with StandInApi(user="tix", password="secret") as server:
        yield server


def wrong(settings: Settings) -> str:
    """What is said to be wrong."""
    with pytest.raises(errors.TixdError) as caught:
        check_api(settings)
    assert "secret" not in str(caught.value)
    return str(caught.value)


def answering(line: str) -> StandInProxy:
    """A server that answers everything with this status line."""
    head = f"HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return StandInProxy(refusal=head.encode())


def test_an_api_that_takes_our_credentials_is_fine_and_gets_no_post(there):
    text = check_api(settings_for(there.port))
    assert text == f"{there.url} takes user tix, an admin, and the password (HTTP 200 OK)"
    assert there.posts == []
    assert there.connections == 1


def test_an_api_that_does_not_say_who_asks_is_fine_where_it_takes_the_password(there):
    for answer in (Behaviour(404), Behaviour(body=b"[]"), Behaviour(body=b"\xff{")):
        there.answer(answer)
        assert " takes user tix and the password (HTTP " in check_api(settings_for(there.port))


@pytest.mark.parametrize("role", ["user", "", 7, "x" * 9999])
def test_a_user_who_is_no_admin_may_post_for_nobody_and_that_is_told(there, role):
    there.role = role
    text = wrong(settings_for(there.port))
    assert f"user tix is not an admin there (its role is {str(role)[:40]!r}), so" in text
    assert text.endswith("name an admin in TIX_API_USER")


def test_a_user_who_is_disabled_is_told_as_such(there):
    there.answer(Behaviour(body=b'{"role": "admin", "enabled": false}'))
    assert "user tix is disabled there: enable it" in wrong(settings_for(there.port))


def test_the_word_for_an_admin_may_be_in_capitals(there):
    there.role = "ADMIN"
    assert "takes user tix, an admin, and the password" in check_api(settings_for(there.port))


def test_there_is_advice_for_every_way_in_which_an_answer_can_fail_to_come():
    assert set(ADVICE) == set(REASONS) == set(get_args(Cause))


def test_an_answer_before_the_answer_is_not_taken_for_it(there):
    there.answer(Behaviour(interim=(102, 103)))
    assert "takes user tix and the password (HTTP 200 OK)" in check_api(settings_for(there.port))


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("200 secret", ""),
        ("404 secret", ""),
        ("400 secret", "; if it speaks HTTPS there, set TIX_API_SSL=yes"),
    ],
)
def test_a_server_that_asks_nobody_for_a_password_is_not_the_api(line, more):
    with answering(line) as server:
        text = wrong(settings_for(server.port))
    assert text.partition(")")[2] == (
        " without asking for a password, so it is not the tix-api: correct TIX_API_HOST,"
        f" TIX_API_PORT and TIX_API_SSL{more}"
    )


def test_a_stand_in_without_a_password_is_not_the_api():
    with StandInApi() as server:
        assert "(HTTP 404 Not Found) without asking" in wrong(settings_for(server.port))


@pytest.mark.parametrize("changes", [{"api_password": Secret("secret2")}, {"api_user": "nobody"}])
def test_a_user_or_password_that_is_refused_is_told_as_such(there, changes):
    text = wrong(settings_for(there.port, **changes))
    assert " or the password (HTTP 401 Unauthorized): correct TIX_API_USER and TIX_API_P" in text


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"api_user": ""}, "TIX_API_USER"), ({"api_password": Secret()}, "TIX_API_PASSWORD")],
)
def test_a_user_or_password_that_is_not_set_is_told_without_a_try(changes, name):
    text = wrong(settings_for(closed_port(), **changes))
    assert text == f"{name} is not set: set it, else results are kept, not posted"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("403 secret", "(HTTP 403 Forbidden): correct TIX_API_USER"),
        ("301 secret", "sends us elsewhere (HTTP 301 Moved Permanently)"),
        ("502 secret", "answers with an error (HTTP 502 Bad Gateway): see its log"),
    ],
)
def test_answers_that_no_post_would_survive_are_told(line, words):
    with answering(line) as server:
        assert words in wrong(settings_for(server.port))


def test_a_host_that_nobody_knows_is_told():
    text = wrong(settings_for(80, api_host="no-such-host.invalid"))
    assert "the host name is not known: " in text
    assert text.endswith("correct TIX_API_HOST, or the name service of this host")


def test_a_port_on_which_nobody_listens_is_told():
    text = wrong(settings_for(closed_port()))
    assert "no connection: Connection refused: start it, or correct TIX_API_HOST" in text


def test_a_port_that_takes_no_connection_is_given_up():
    with socket.socket() as listener, contextlib.ExitStack() as full:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = full.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        settings = settings_for(listener.getsockname()[1], api_connect_seconds=0.3)
        assert "no connection in time: see TIX_API_HOST and TIX_API_PORT" in wrong(settings)


def test_an_api_that_says_nothing_is_given_up(there):
    with Relay(there.port) as relay:
        relay.black_hole()
        text = wrong(settings_for(relay.port, api_read_seconds=0.3))
    assert "no answer in time: it accepts connections and sends nothing" in text


def test_a_certificate_that_nobody_vouches_for_names_the_setting(certificate):
    with StandInApi(user="tix", password="secret", tls=certificate.server) as server:
        settings = settings_for(server.port, api_ssl=True)
        text = wrong(settings)
        assert "TLS failed: self-signed certificate: name a file of CA certificates" in text
        assert "REQUESTS_CA_BUNDLE" in text
        trusting = replace(settings, api_ca_bundle=str(certificate.file))
        assert "takes user tix, an admin, and the password" in check_api(trusting)


def test_https_where_http_is_spoken_and_the_reverse_are_told(there, certificate):
    plain = settings_for(there.port, api_ssl=True, api_read_seconds=0.3)
    assert "see its log, and whether TIX_API_SSL is right" in wrong(plain)
    with StandInApi(tls=certificate.server) as server:
        assert "if it speaks HTTPS there, set TIX_API_SSL" in wrong(settings_for(server.port))


def test_a_bundle_of_certificates_that_is_not_there_is_told():
    settings = settings_for(closed_port(), api_ssl=True, api_ca_bundle="/nowhere.pem")
    assert wrong(settings) == "api.ca_bundle /nowhere.pem: No such file or directory"


def test_the_way_through_a_proxy_is_tried_and_its_password_not_told(there):
    with StandInProxy() as proxy:
        url = Secret(f"http://bob:secret@127.0.0.1:{proxy.port}")
        text = check_api(settings_for(there.port, api_proxy=url))
        assert "through a proxy takes user tix, an admin, and the password" in text
        assert all(line.startswith("GET ") for line in proxy.requests)
    assert "the proxy does not let it through" in wrong(settings_for(there.port, api_proxy=url))


def test_a_proxy_that_wants_a_password_is_told(there):
    with answering("407 secret") as proxy:
        url = Secret(f"http://127.0.0.1:{proxy.port}")
        assert "put user and password into its URL" in wrong(
            settings_for(there.port, api_proxy=url)
        )
