"""Whose request it is: the address of the sender, past the proxies that are trusted.

In: the peer's address, headers, trusted networks. Out: an address for the log. Pure.
Rules: a header is believed only where a trusted proxy sent it: X-Real-IP first, then the right-most
entry of X-Forwarded-For that is no trusted proxy itself; what is no address is not believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address(peer: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> str:
    """The sender's address; the peer's where no trusted proxy tells of another.

    >>> loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    >>> address("127.0.0.1", {"X-Forwarded-For": "6.6.6.6, 192.0.2.1, 127.0.0.2"}, loopback)
    '192.0.2.1'
    >>> address("192.0.2.9", {"X-Real-IP": "192.0.2.1"}, loopback)
    '192.0.2.9'
    """
    if not _is_trusted(peer, trusted):
        return peer
    if real := _bare(headers.get("X-Real-IP", "")):
        return real
    for entry in reversed(headers.get("X-Forwarded-For", "").split(",")):
        found = _bare(entry)
        if not found:
            return peer
        if not _is_trusted(found, trusted):
            return found
    return peer


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in trusted)


def _bare(entry: str) -> str:
    """The address in an entry, without port and brackets; "" where there is none."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
