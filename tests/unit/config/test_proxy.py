"""The proxy: chosen from the environment as Python's requests chooses it."""

import pytest

from tests.unit.config.test_loader import problems, toml
from tixd.config import loader, proxy

EVERYWHERE = {"all_proxy": "http://all:1"}


def chosen(environ, scheme="http", host="api.example.org", port=80):
    """The proxy's text, "" where a no_proxy forbids one, None where nothing is said."""
    choice = proxy.choose(environ, scheme, host, port)
    return choice and choice.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"http_proxy": "a"}, "a"),
        ({"HTTP_PROXY": "a"}, "a"),
        ({"HTTP_PROXY": "a", "http_proxy": "b"}, "b"),
        ({"https_proxy": "a"}, None),
        ({"https_proxy": "a", "ALL_PROXY": "b"}, "b"),
        ({"http_proxy": "a", "all_proxy": "b"}, "a"),
        ({"HTTP_PROXY": "a", "http_proxy": ""}, None),
        ({"HTTP_PROXY": "a", "http_proxy": "", "all_proxy": "b"}, "b"),
    ],
)
def test_the_schemes_proxy_comes_first_and_lower_case_wins(environ, expected):
    assert chosen(environ) == expected


def test_https_takes_the_proxy_for_https():
    environ = {"http_proxy": "a", "HTTPS_PROXY": "b"}
    assert chosen(environ, scheme="https", port=443) == "b"


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("*", "api.example.org"),
        ("api.example.org", "api.example.org"),
        ("other, example.org", "api.example.org"),
        (".example.org", "example.org"),
        ("api.example.org:80", "api.example.org"),
        ("EXAMPLE.org", "Api.Example.Org"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:80", "10.1.2.3"),
        ("fd00::/8", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
    ],
)
def test_a_host_named_by_no_proxy_is_reached_directly(no_proxy, host):
    assert chosen(EVERYWHERE | {"no_proxy": no_proxy}, host=host) == ""


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("", "api.example.org"),
        (",", "api.example.org"),
        ("example.com", "api.example.org"),
        ("api.example.org:8080", "api.example.org"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("2.3", "10.1.2.3"),
        ("10.0.0.0/33", "10.1.2.3"),
        ("10.0.0.0/8", "fd00::1"),
    ],
)
def test_other_hosts_are_reached_through_the_proxy(no_proxy, host):
    assert chosen(EVERYWHERE | {"no_proxy": no_proxy}, host=host) == "http://all:1"


def test_a_proxy_without_a_scheme_is_spoken_to_in_http():
    loaded = loader.load({}, {"http_proxy": "proxy:3128"}, None)
    assert loaded.settings.api_proxy.reveal() == "http://proxy:3128"
    assert loaded.sources["api_proxy"] == "environment http_proxy"


def test_no_proxy_overrules_the_proxy_of_tixd_toml(tmp_path):
    file = toml(tmp_path, '[api]\nproxy = "proxy:3128"\n')
    assert loader.load({}, {}, file).settings.api_proxy.reveal() == "http://proxy:3128"
    direct = loader.load({}, {"NO_PROXY": "localhost"}, file)
    assert not direct.settings.api_proxy
    assert direct.sources["api_proxy"] == "environment NO_PROXY"


def test_a_socks_proxy_is_refused_by_name():
    assert problems({"ALL_PROXY": "SOCKS5h://u:geheim@proxy"}) == [
        "environment ALL_PROXY: is a SOCKS proxy, which tixd cannot use; name an HTTP proxy"
    ]


@pytest.mark.parametrize(
    "text", ["ftp://geheim", "http://", "http://[::geheim", "http://geheim:0", "http://geheim:x"]
)
def test_a_proxy_that_is_no_url_is_refused_without_showing_it(text):
    (line,) = problems({"http_proxy": text})
    assert line == "environment http_proxy: must be a URL such as http://proxy.example:3128"
