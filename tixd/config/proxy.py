"""Find the proxy between tixd and the tix-api as the original system's HTTP library found it.

Rules: those of Python's `requests`: <scheme>_proxy before all_proxy, lower case before upper case,
an empty lower-case variable takes the upper-case one away; no_proxy names hosts that are reached
without one. Contents are never repeated in a message: a proxy's URL may hold a password.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Choice:
    """What the environment says of the proxy: its text, "" for none, and which variable says so."""

    text: str
    variable: str


def choose(environ: Mapping[str, str], scheme: str, host: str, port: int) -> Choice | None:
    """Return what the environment says for this API; None where it says nothing."""
    variable = next((v for v in ("no_proxy", "NO_PROXY") if environ.get(v)), "")
    if variable and _is_named(environ[variable], host, port):
        return Choice("", variable)
    for start in (scheme, "all"):
        for variable in (f"{start}_proxy", f"{start}_proxy".upper()):
            if environ.get(variable):
                return Choice(environ[variable], variable)
            if variable in environ and variable.islower():
                break
    return None


def proxy_url(text: str) -> str:
    """Return the proxy as a URL, with the scheme that is understood where none is given.

    Raises ValueError that says what is allowed.
    """
    url = text if "://" in text else f"http://{text}"
    if url.lower().startswith("socks"):
        raise ValueError("is a SOCKS proxy, which tixd cannot use; name an HTTP proxy")
    if not _is_http(url):
        raise ValueError("must be a URL such as http://proxy.example:3128")
    return url


def _is_http(url: str) -> bool:
    """Return whether the URL has a proxy scheme that urllib3 knows, a host, and a valid port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    # A slash in a password ends the host for every reader of the URL: what follows is a path.
    named = bool(parts.hostname) and "@" not in parts.path + parts.query + parts.fragment
    return parts.scheme in ("http", "https") and named and port != 0


def _is_named(no_proxy: str, host: str, port: int) -> bool:
    """Return whether a no_proxy text names the host: *, its end, its end with port, a network."""
    host = host.lower()
    entries = [entry for entry in no_proxy.lower().replace(" ", "").split(",") if entry]
    if "*" in entries:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return any(f"{host}:{port}".endswith(e) or f".{host}".endswith(e) for e in entries)
    return any(_holds(entry, address, port) for entry in entries)


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
    """Return whether an entry is the address, the address with its port, or a network with it."""
    text = f"[{address}]" if address.version == 6 else str(address)
    if entry in (text, f"{text}:{port}"):
        return True
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
