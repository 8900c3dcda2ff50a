"""Proxies, TLS, IPv6 and names on the way to the tix-api."""

from __future__ import annotations

import base64
import socket

import pytest

from tests.support.certificates import make_certificate
from tests.support.results import ONE, post, result, settings_for
from tests.support.stand_in_api import StandInApi, closed_port
from tests.support.stand_in_proxy import StandInProxy
from tixd import errors
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.results.client import ApiClient
from tixd.results.transport import basic_auth, proxy, ssl_context

PATH = "/api/user/1/installation/11/reports"


def outcome(port: int, **changes: object) -> tuple[str, str]:
    """Outcome and reason of one post."""
    client = ApiClient(settings_for(port, **changes))
    answer = post(client, ONE, result())
    client.close()
    return answer.outcome, answer.reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that vouches for itself."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure_api(certificate):
    """A tix-api behind HTTPS."""
    with StandInApi(tls=certificate.server) as api:
        yield api


def test_a_proxy_is_asked_for_the_whole_url_with_its_own_credentials():
    with StandInApi(user="tix", password="secret") as api, StandInProxy() as way:
        url = f"http://me:p%40ss@127.0.0.1:{way.port}"
        assert outcome(api.port, api_proxy=Secret(url))[0] == "accepted"
    assert way.requests == [f"POST http://127.0.0.1:{api.port}{PATH} HTTP/1.1"]
    assert way.credentials == ["basic " + base64.b64encode(b"me:p@ss").decode().lower()]


def test_a_proxy_tunnels_https(secure_api, certificate):
    with StandInProxy() as way:
        got = outcome(
            secure_api.port,
            api_ssl=True,
            api_ca_bundle=str(certificate.file),
            api_proxy=Secret(f"me:secret@127.0.0.1:{way.port}"),
        )
    assert got[0] == "accepted"
    assert [line.rpartition(" ")[0] for line in way.requests] == [
        f"CONNECT 127.0.0.1:{secure_api.port}"
    ]
    assert way.credentials[0].startswith("basic ")


def test_a_proxy_that_refuses_a_tunnel_makes_the_api_unreachable():
    refusal = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
    with StandInProxy(refusal=refusal) as way:
        url = Secret(f"http://me:hunter2@127.0.0.1:{way.port}")
        got, reason = outcome(closed_port(), api_ssl=True, api_proxy=url)
    assert got == "later"
    assert reason.startswith("the proxy does not let it through")
    assert "hunter2" not in reason


def test_a_tunnel_that_opens_is_no_answer_of_the_tix_api():
    with StandInApi() as api, StandInProxy() as way:  # which speaks no TLS, so nothing is sent
        url = Secret(f"http://127.0.0.1:{way.port}")
        outcome_, reason = outcome(api.port, api_ssl=True, api_proxy=url)
    assert (outcome_, api.posts) == ("later", [])
    assert "TLS" in reason or "connection broke" in reason


def test_a_dead_proxy_is_named_without_its_credentials():
    url = Secret(f"http://me:hunter2@127.0.0.1:{closed_port()}")
    got, reason = outcome(closed_port(), api_proxy=url)
    assert got == "later"
    assert "proxy" in reason
    assert "hunter2" not in reason


@pytest.mark.parametrize("as_folder", [False, True])
def test_https_believes_the_certificates_it_is_given(secure_api, certificate, tmp_path, as_folder):
    bundle = certificate.file
    if as_folder:
        bundle = tmp_path
        (tmp_path / "a.pem").write_bytes(certificate.file.read_bytes())
        hashed(tmp_path)
    got = outcome(secure_api.port, api_ssl=True, api_ca_bundle=str(bundle))
    assert got[0] == "accepted"


def hashed(folder) -> None:
    """Give the certificates in a folder the names by which OpenSSL finds them."""
    import subprocess

    subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)


def test_https_does_not_believe_an_unknown_certificate(secure_api):
    got, reason = outcome(secure_api.port, api_ssl=True)
    assert got == "later"
    assert reason.startswith("TLS failed")
    assert secure_api.posts == []


def test_https_does_not_believe_a_certificate_for_another_host(secure_api, certificate):
    bundle = str(certificate.file)
    got = outcome(secure_api.port, api_ssl=True, api_ca_bundle=bundle, api_host="127.0.0.2")
    assert got[0] == "later"
    assert secure_api.posts == []


def test_an_ipv6_address_is_a_host_with_and_without_brackets():
    for host in ("::1", "[::1]"):
        assert Settings(api_host=host, api_port=81).api_base_url == "http://[::1]:81"


def test_an_api_on_ipv6_gets_a_host_header_with_brackets():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        client = ApiClient(settings_for(port, api_host="::1", api_read_seconds=0.2))
        assert post(client, ONE, result()).reason == "no answer in time"
        peer, _ = listener.accept()
        with peer:
            assert f"\r\nHost: [::1]:{port}\r\n".encode() in peer.recv(65536)


def test_ports_are_those_of_the_scheme_unless_set():
    assert Settings(api_host="h").api_base_url == "http://h:80"
    assert Settings(api_host="h", api_ssl=True).api_base_url == "https://h:443"


def test_a_host_name_that_nobody_knows_makes_the_api_unreachable(monkeypatch):
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    got, reason = outcome(80, api_host="nobody.invalid")
    assert got == "later"
    assert reason == "the host name is not known: Name or service not known"


@pytest.mark.parametrize(
    ("user", "password", "encoded"),
    [
        ("tix", "a:b", b"tix:a:b"),
        ("ma\u00f1ana", "caf\u00e9", b"ma\xc3\xb1ana:caf\xc3\xa9"),
        ("tix", "\u20ac", b"tix:\xe2\x82\xac"),
        ("tix", "\udcff", b"tix:\xff"),
    ],
)
def test_credentials_are_sent_as_utf_8(user, password, encoded):
    assert basic_auth(user, password) == "Basic " + base64.b64encode(encoded).decode()


@pytest.mark.parametrize(
    ("text", "url", "has_credentials"),
    [
        ("proxy:3128", "http://proxy:3128", False),
        ("http://proxy", "http://proxy", False),
        ("https://u:p@[::1]:8443/x", "https://[::1]:8443", True),
        ("http://u@proxy:1", "http://proxy:1", True),
    ],
)
def test_a_proxy_loses_its_credentials_before_anything_sees_its_url(text, url, has_credentials):
    got, headers = proxy(Secret(text))
    assert (got, bool(headers)) == (url, has_credentials)


@pytest.mark.parametrize("text", ["socks5://u:hunter2@p:1", "http://u:hunter2@p:x", "http://"])
def test_a_proxy_that_cannot_be_used_is_a_configuration_error_without_secrets(text):
    with pytest.raises(errors.ConfigError) as caught:
        proxy(Secret(text))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_read_are_a_configuration_error(tmp_path, content):
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(errors.ConfigError, match=r"api\.ca_bundle"):
        ssl_context(str(bundle))
