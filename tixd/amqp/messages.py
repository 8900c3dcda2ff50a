"""What is said to a broker and heard of it: frozen values of AMQP 0.9.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tixd.config.fields import Secret


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of certificates and a key; without a CA file the system's authorities are asked."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A virtual host of a broker, and who we are there; `tls` None: amqp, else amqps."""

    host: str
    port: int
    user: str
    password: Secret
    vhost: str = "/"
    tls: Tls | None = None

    def __str__(self) -> str:
        """As people write it, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{'amqps' if self.tls else 'amqp'}://{host}:{self.port}{vhost}"


@dataclass(frozen=True, slots=True)
class Properties:
    """What a message says of itself; empty where it says nothing.

    expiration: milliseconds after which the broker drops it, as a decimal text.
    """

    content_type: str = ""
    content_encoding: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str = ""
    reply_to: str = ""
    expiration: str = ""
    message_id: str = ""
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was delivered; `tag` is what its channel knows it by."""

    tag: int
    body: bytes
    properties: Properties


@dataclass(frozen=True, slots=True)
class Declared:
    """A queue: its name, how many messages wait for delivery, and how many consume it."""

    name: str
    messages: int
    consumers: int = 0
