"""Endpoints, messages and queues of AMQP 0.9.1, as frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tixd.config.fields import Secret


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of certificates and a key; without a CA file the system's authorities count."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class SettingNames:
    """How operators name the settings of an endpoint; those of the processing roles by default."""

    host: str = "TIX_RABBITMQ_HOST"
    port: str = "TIX_RABBITMQ_PORT"
    user: str = "TIX_RABBITMQ_USER"
    password: str = "TIX_RABBITMQ_PASS"  # noqa: S105 - the name of a setting
    vhost: str = "TIX_RABBITMQ_VHOST"
    tls: str = "TIX_RABBITMQ_CA_FILE, TIX_RABBITMQ_CERT_FILE, TIX_RABBITMQ_KEY_FILE"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A virtual host of a broker and our login there; `tls` None: amqp, else amqps."""

    host: str
    port: int
    user: str
    password: Secret
    vhost: str = "/"
    tls: Tls | None = None
    names: SettingNames = SettingNames()

    def __str__(self) -> str:
        """Format it as a URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{'amqps' if self.tls else 'amqp'}://{host}:{self.port}{vhost}"


@dataclass(frozen=True, slots=True)
class Properties:
    """Properties of a message; empty ones are absent.

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
    """A delivered message; `tag` identifies it on its channel."""

    tag: int
    body: bytes
    properties: Properties


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared queue: its name, messages that wait for delivery, and consumers."""

    name: str
    messages: int
    consumers: int = 0
