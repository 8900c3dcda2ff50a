"""One value for one setting of the collector: checked and of its type, or what is allowed.

In: the name of a setting and what somebody wrote for it. Out: the value that CollectorSettings
holds. Rules: as the original took them, numbers and switches may be texts; what is not allowed
raises ValueError, whose message says what is allowed and never repeats the value.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import Field, fields
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tixd import bounded
from tixd.config import fields as fields_module
from tixd.config.collector_settings import CollectorSettings
from tixd.config.fields import Secret
from tixd.config.values import MAX_CHARACTERS, host_alone

#: Every setting by its name, in the order in which operators are shown them.
FIELDS: dict[str, Field[Any]] = {field.name: field for field in fields(CollectorSettings)}

#: The Python type of every setting.
TYPES: dict[str, Any] = get_type_hints(CollectorSettings)

#: Words that Go's strconv.ParseBool takes.
_SWITCHES = MappingProxyType(
    dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
    | dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)
)

#: Log levels of the original by their other names here.
_LEVELS = MappingProxyType({"WARN": "WARNING", "FATAL": "CRITICAL", "PANIC": "CRITICAL"})

#: The longest name that AMQP 0.9.1 can write, and the settings that are such names.
MOST_AMQP_BYTES = 255
_AMQP_NAMES = frozenset({"amqp_exchange", "amqp_routing_key", "amqp_vhost", "amqp_user"})

#: What Kafka takes as the name of a topic.
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")

#: A broker of Kafka: a host, or an address in brackets, and its port.
_BROKER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:;/\[\]]+):([0-9]{1,5})")

#: What `kafka.brokers` must be, in words.
_BROKERS_SHAPE = (
    "one text: host:port of each broker, with commas between, such as "
    '"kafka1:9092,kafka2:9092": no scheme, no semicolon, a port for each'
)

#: Levels in the words of the original, which messages and tables show.
_LEVEL_WORDS = ("debug", "info", "warn", "error", "fatal", "panic")


def is_secret(name: str) -> bool:
    """Whether the setting's value is shown nowhere."""
    return TYPES[name] is Secret


def checked(name: str, value: object) -> Any:
    """The value as CollectorSettings holds it; raises ValueError with what is allowed."""
    kind, facts = TYPES[name], FIELDS[name].metadata
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise ValueError(f"must have at most {MAX_CHARACTERS} characters")
    try:
        if "duration" in facts:
            return _duration(value)
        if kind is bool:
            return value if isinstance(value, bool) else _SWITCHES[_text(value)]
        if kind is int:
            return _number(value, facts)
        if kind is float:
            return _float(value, facts)
        found = _text(value, empty=facts.get("empty", False) or kind is Secret)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise ValueError(f"must be {allowed(name)}") from None
    if kind is Secret:
        return Secret(found)
    return _choice(name, found) if get_origin(kind) is Literal else _place(name, found)


def _place(name: str, text: str) -> str:
    """The text of a setting; where it says who is where, it says so and no more."""
    if name == "trusted_proxies":
        networks(text)
    if name == "kafka_brokers":
        _check_brokers(text)
    if name == "kafka_topic" and not _TOPIC.fullmatch(text):
        raise ValueError("must be at most 249 letters, digits, dots, underscores and dashes")
    if name in _AMQP_NAMES and len(text.encode()) > MOST_AMQP_BYTES:
        raise ValueError(f"must have at most {MOST_AMQP_BYTES} bytes, as all names in AMQP")
    return host_alone(text) if name == "amqp_host" else text


def _check_brokers(text: str) -> None:
    """Raises ValueError where librdkafka would look for brokers that nobody meant."""
    if "@" in text:
        raise ValueError("give host:port alone, without user and password")
    words = [word.strip() for word in text.split(",")]
    found = [_BROKER.fullmatch(word) for word in words]
    if not all(match and 1 <= int(match[1]) <= 65535 for match in found):
        raise ValueError(f"must be {_BROKERS_SHAPE}")


def _duration(value: object) -> float:
    found = fields_module.seconds(_text(value))
    if not 0 < found < float("inf"):
        raise ValueError
    return found


def _number(value: object, facts: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    text = str(value)
    found = int(text) if text.isascii() and text.isdigit() else -1
    if not facts["minimum"] <= found <= facts.get("maximum", found):
        raise ValueError
    return found


def _float(value: object, facts: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    found = float(value)
    if not (math.isfinite(found) and _least(facts) <= found <= facts.get("maximum", found)):
        raise ValueError
    return found


def _least(facts: Any) -> float:
    """The least that a number may be; nothing here can be negative."""
    return float(facts.get("minimum", 0))


def _text(value: object, *, empty: bool = False) -> str:
    """A text, or a number as one; no line breaks, control characters or halves of surrogates."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    text = str(value)
    if not (text or empty) or not all(c.isprintable() for c in text):
        raise ValueError
    return text


def _choice(name: str, text: str) -> str:
    """The word of the setting that the text is, in any letter case."""
    words = get_args(TYPES[name])
    if name == "log_level":
        text = _LEVELS.get(text.upper(), text.upper())
    found = text if text in words else text.lower()
    if found not in words:
        raise ValueError(f"must be {allowed(name)}")
    return found


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Addresses and networks with commas between; raises ValueError that names the wrong one."""
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            shown = bounded.text(word)
            raise ValueError(f"{shown!r} is no network such as 10.0.0.0/8 or ::1") from None
    return tuple(found)


def allowed(name: str) -> str:
    """What a setting can be, in words: "a whole number of bytes, 1 or more"."""
    kind, facts = TYPES[name], FIELDS[name].metadata
    if name == "kafka_brokers":
        return _BROKERS_SHAPE
    if "duration" in facts:
        return 'a duration above zero, such as "300ms", "60s" or "1h30m" (ns, us, ms, s, m, h)'
    if words := choices(name):
        return f"one of {', '.join(words)}"
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        number += f" of {facts['unit']}" if "unit" in facts else ""
        if "maximum" in facts:
            return f"{number} from {facts.get('minimum', 0)} to {facts['maximum']}"
        return f"{number}, {facts.get('minimum', 0)} or more"
    empty = "" if facts.get("empty") or kind is Secret else ", not empty"
    return f"a text in one line{empty}"


def choices(name: str) -> tuple[str, ...]:
    """The words that a setting can be; empty where it is no choice."""
    if name == "log_level":
        return _LEVEL_WORDS
    return get_args(TYPES[name]) if get_origin(TYPES[name]) is Literal else ()


def default_text(name: str) -> str:
    """The default as an operator writes it; a default that is a secret is known to everybody."""
    value, facts = FIELDS[name].default, FIELDS[name].metadata
    if isinstance(value, Secret):
        return value.reveal()
    if name == "log_level":
        return str(value).lower()
    return facts.get("duration") or (str(value).lower() if isinstance(value, bool) else str(value))
