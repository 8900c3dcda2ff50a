"""Declare every setting of the collector, once: name, type, default and help.

A key is that of gracc-collector, a variable is GRACC_ and the key in capitals.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tixd.config.fields import Secret, duration_seconds, setting
from tixd.config.settings import LEVEL_ALIASES

#: Levels in the words of gracc-collector, which messages and tables show.
LEVEL_WORDS = ("debug", "info", "warn", "error", "fatal", "panic")

#: The formats in which records are published.
Format = Literal["raw", "xml", "json"]

#: What happens to an element of an envelope that is not a known record.
Unknown = Literal["skip", "reject"]


def _setting(default: Any, key: str, help: str, **facts: Any) -> Any:  # noqa: A002
    """Declare a field that an operator can set; the variable follows from the key."""
    env = facts.pop("env", f"GRACC_{key.upper().replace('.', '_')}")
    return setting(default, env, key, help, **facts)


def _duration(default: str, key: str, help: str) -> Any:  # noqa: A002
    """Declare a field in seconds that is given as a Go duration."""
    return _setting(duration_seconds(default), key, help, shape="duration", written=default)


def _bytes(default: int, key: str, help: str) -> Any:  # noqa: A002
    return _setting(default, key, help, unit="bytes", minimum=1)


def _count(default: int, key: str, help: str, unit: str) -> Any:  # noqa: A002
    return _setting(default, key, help, unit=unit, minimum=1)


def _port(default: int, key: str, help: str) -> Any:  # noqa: A002
    return _setting(default, key, help, minimum=1, maximum=65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """The values that the collector runs with."""

    address: str = _setting("localhost", "address", "address to listen on; empty: all", empty=True)
    port: int = _port(8888, "port", "port to listen on")
    reuse_port: bool = _setting(
        False,  # noqa: FBT003
        "reusePort",
        "share the port with other collectors of this user on this host that set it too",
    )
    admin_address: str = _setting(
        "",
        "adminAddress",
        "host:port of this collector alone for the page, /stats, /metrics, /healthz and /readyz; "
        "empty or off: only where bundles go",
        shape="address",
    )
    page_token: Secret = _setting(
        Secret(),
        "pageToken",
        "password of the page, with any user name; empty: only the host itself may look",
        env="TIX_PAGE_TOKEN",
    )
    metrics_open: bool = _setting(
        True,  # noqa: FBT003
        "metricsOpen",
        "answer /metrics to everybody, also where the page asks for a token; /stats always is",
        env="TIX_METRICS_OPEN",
    )
    timeout_seconds: float = _duration(
        "60s", "timeout", "longest time for reading a request, and then for its confirms"
    )
    stop_seconds: float = _setting(
        25.0,
        "stopSeconds",
        "how long current requests may take after SIGTERM, if timeout is not shorter",
        env="TIX_STOP_SECONDS",
        unit="seconds",
        minimum=0,
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = _setting(
        "INFO",
        "loglevel",
        "least important events that are logged; fatal and panic are CRITICAL",
        words=LEVEL_WORDS,
        aliases=MappingProxyType({**LEVEL_ALIASES, "PANIC": "CRITICAL"}),
        written="info",
    )
    log_format: Literal["auto", "text", "json", "journald"] = _setting(
        "auto", "logFormat", "form of log lines", env="TIX_LOG_FORMAT"
    )
    log_file: str = _setting(
        "stderr", "logFile", "stderr, stdout or a file; also -l", env="TIX_LOG_FILE"
    )
    history: str = _setting(
        "",
        "historyFile",
        "file of the history, ending in .sqlite, or off; empty: collector.sqlite in"
        " $STATE_DIRECTORY, or off where that is not set",
        env="TIX_HISTORY",
        shape="history",
    )
    history_days: float = _setting(
        90.0,
        "historyDays",
        "how long senders and their counts stay in the history",
        env="TIX_HISTORY_DAYS",
        unit="days",
        minimum=0.1,
    )
    history_max_mb: int = _setting(
        1024,
        "historyMaxMb",
        "largest size of the history; the oldest goes first",
        env="TIX_HISTORY_MAX_MB",
        unit="MB",
        minimum=1,
    )
    run_as: str = _setting(
        "",
        "runAs",
        "user, or user:group, that tixd becomes when root starts it; empty: root, with few rights",
        env="TIX_RUN_AS",
    )

    amqp_enable: bool = _setting(True, "AMQP.enable", "publish to an AMQP 0.9.1 broker")  # noqa: FBT003,
    amqp_scheme: Literal["amqp", "amqps"] = _setting(
        "amqp", "AMQP.scheme", "amqps is TLS, and the broker's certificate is checked"
    )
    amqp_host: str = _setting("localhost", "AMQP.host", "host of the broker", shape="host")
    amqp_port: int = _port(5672, "AMQP.port", "port of the broker")
    amqp_vhost: str = _setting("", "AMQP.vhost", "virtual host; empty: /", shape="amqp_name")
    amqp_user: str = _setting("guest", "AMQP.user", "user", shape="amqp_name")
    amqp_password: Secret = _setting(
        Secret("guest"),
        "AMQP.password",
        "password of the user; AMQP.passwordFile names a file that holds it",
        empty=True,
    )
    amqp_exchange: str = _setting(
        "gracc",
        "AMQP.exchange",
        "exchange; empty: the broker's default one",
        empty=True,
        shape="amqp_name",
    )
    amqp_exchange_type: Literal["fanout", "direct", "topic", "headers"] = _setting(
        "fanout", "AMQP.exchangeType", "type of the exchange, where it has to be declared"
    )
    amqp_routing_key: str = _setting(
        "", "AMQP.routingKey", "routing key of every record", shape="amqp_name"
    )
    amqp_durable: bool = _setting(
        True,  # noqa: FBT003
        "AMQP.durable",
        "the exchange survives a restart of the broker, where it has to be declared",
    )
    amqp_auto_delete: bool = _setting(
        True,  # noqa: FBT003
        "AMQP.autoDelete",
        "delete the exchange with its last binding, where it has to be declared",
    )
    amqp_internal: bool = _setting(
        False,  # noqa: FBT003
        "AMQP.internal",
        "must be false: no client can publish to an internal exchange",
    )
    amqp_format: Format = _setting("json", "AMQP.format", "form of the published records")
    amqp_retry_seconds: float = _duration(
        "10s", "AMQP.retry", "pause before the second try to connect; then it doubles"
    )
    amqp_max_retry_seconds: float = _duration(
        "60s", "AMQP.maxRetry", "longest pause between tries to connect"
    )
    amqp_ca_file: str = _setting(
        "", "AMQP.caFile", "file of CA certificates that verify the broker; empty: the system's"
    )
    amqp_cert_file: str = _setting("", "AMQP.certFile", "client certificate")
    amqp_key_file: str = _setting("", "AMQP.keyFile", "private key of the client certificate")

    kafka_enable: bool = _setting(False, "kafka.enable", "publish to Kafka; needs the extra kafka")  # noqa: FBT003,
    kafka_brokers: str = _setting(
        "localhost:9092",
        "kafka.brokers",
        "host:port of brokers, comma-separated",
        shape="brokers",
    )
    kafka_topic: str = _setting("gracc", "kafka.topic", "topic", shape="topic")
    kafka_format: Format = _setting("json", "kafka.format", "form of the published records")
    kafka_max_message_bytes: int = _bytes(
        1_000_000, "kafka.maxMessage", "largest record that the topic accepts"
    )

    file_path: str = _setting("", "file.path", "append records to this file; empty: do not")
    file_max_bytes: int = _bytes(
        64 * 1024 * 1024, "file.maxBytes", "size at which a new file is begun"
    )
    file_keep: int = _setting(10, "file.keep", "full files kept; 0: all", unit="files", minimum=0)

    start_buffer_size: int = _bytes(4096, "StartBufferSize", "accepted and ignored")
    max_buffer_size: int = _bytes(524288, "MaxBufferSize", "longest token of an update")
    unknown_records: Unknown = _setting(
        "skip",
        "unknownRecords",
        "unknown elements of a multiupdate: skip them, or reject the bundle",
    )
    trusted_proxies: str = _setting(
        "127.0.0.0/8,::1",
        "trustedProxies",
        "networks of trusted proxies: their X-Real-IP and X-Forwarded-For count",
        empty=True,
        shape="networks",
    )
    max_body_bytes: int = _bytes(16 * 1024 * 1024, "maxBody", "largest body as sent")
    max_inflated_bytes: int = _bytes(
        64 * 1024 * 1024, "maxInflated", "largest body after decompression"
    )
    max_members: int = _count(2000, "maxMembers", "gzip members in a body", "members")
    max_records: int = _count(10_000, "maxRecords", "records in a bundle", "records")
    max_depth: int = _count(64, "maxDepth", "nesting of elements", "levels")
    max_attributes: int = _count(256, "maxAttributes", "attributes of an element", "attributes")
    max_tags: int = _count(20_000, "maxTags", "tags of a record; also its attributes", "tags")
    max_record_bytes: int = _bytes(
        4 * 1024 * 1024, "maxRecordSize", "largest record of a multiupdate"
    )
    max_namespace_bytes: int = _bytes(
        256, "maxNamespace", "longest namespace; an envelope may declare four times as much"
    )
    max_requests: int = _count(64, "maxRequests", "bundles in progress at once", "bundles")
    max_bytes_in_hand: int = _bytes(
        96 * 1024 * 1024,
        "maxBytesInHand",
        "memory of all requests: heads, bodies, records; one may have three quarters of it",
    )
    max_connections: int = _count(
        2048,
        "maxConnections",
        "connections at once; fewer if file descriptors are short",
        "connections",
    )
