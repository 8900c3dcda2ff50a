"""Certificates for 127.0.0.1, made for one test run by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Certificate:
    """File of the certificate, which is its own authority, and what a server needs of it."""

    file: Path
    server: ssl.SSLContext


def make_certificate(folder: Path) -> Certificate:
    """A self-signed certificate for 127.0.0.1 and localhost, valid for a day."""
    pair = _pair(folder, "ca")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*pair)
    return Certificate(pair.file, server)


class Pair(NamedTuple):
    """Files of a certificate and of its key."""

    file: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """An authority and whom it vouches for; `stranger` is another authority."""

    ca: Pair
    server: Pair
    client: Pair
    stranger: Pair


def make_authority(folder: Path) -> Authority:
    """An authority, a certificate each for a server and a client of 127.0.0.1, and a stranger."""
    ca = _pair(folder, "ca")
    return Authority(ca, *(_pair(folder, n, ca) for n in _SIGNED), stranger=_pair(folder, "other"))


_SIGNED, _NO_AUTHORITY = ("server", "client"), "basicConstraints=CA:FALSE"


def _pair(folder: Path, name: str, ca: Pair | None = None) -> Pair:
    """A certificate that the authority has signed; without one it is signed by itself."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = ["-subj", f"/CN=tixd {name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    signer = ["-CA", ca.file, "-CAkey", ca.key, "-addext", _NO_AUTHORITY] if ca else []
    files = ["-keyout", pair.key, "-out", pair.file]
    subprocess.run([*command, *names, *signer, *files], check=True, capture_output=True)
    return pair
