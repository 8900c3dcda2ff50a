"""Check one value of one setting, and say what is allowed instead.

Rules: a text from the environment or the command line may stand for a number; in tixd.toml a value
has its own type. The collector takes texts for numbers and numbers for texts everywhere, as
gracc-collector did. What is not allowed raises ValueError, whose message says what is allowed and
never repeats the value, which may be a secret.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import json
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pydantic

from tixd import bounded
from tixd.config.collector_settings import CollectorSettings
from tixd.config.fields import Secret, duration_seconds
from tixd.config.settings import Settings

#: Largest file of a secret that is read.
MAX_SECRET_BYTES = 64 * 1024

#: Longest text of a setting: no path can be longer, and no user, host or password is.
MAX_CHARACTERS = 4096

#: The longest name that AMQP 0.9.1 can write.
MAX_AMQP_BYTES = 255

#: Characters that no setting holds: control characters, line breaks, and the stand-ins for bytes
#: that are not UTF-8 (Unicode general categories).
_UNWANTED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}

#: Words that Go's strconv.ParseBool takes.
_SWITCHES = MappingProxyType(
    dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
    | dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)
)

#: What Kafka takes as the name of a topic.
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")

#: A broker of Kafka: a host, or an address in brackets, and its port.
_BROKER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:;/\[\]]+):([0-9]{1,5})")

#: What a setting can be, by its shape where its type says too little.
_SHAPE_WORDS = MappingProxyType(
    {
        "duration": "a duration above zero, such as "
        '"300ms", "60s" or "1h30m" (ns, us, ms, s, m, h)',
        "brokers": "one text: host:port of each broker, with commas between, such as "
        '"kafka1:9092,kafka2:9092": no scheme, no semicolon, a port for each',
    }
)


class SettingsTable:
    """All settings of one product, how it writes their names, and the check of their values.

    fields, types: by name of the setting, in the order in which operators are shown them; keys,
    variables: name of the setting by what a file, or the environment, calls it, and whether that
    names a file with the setting's value; is_lenient: texts may stand for numbers and numbers for
    texts everywhere, and keys may have any letter case.
    """

    def __init__(
        self, settings: type, prefix: str, file_suffix: str, *, is_lenient: bool = False
    ) -> None:
        self.prefix = prefix
        self.file_suffix = file_suffix
        self.is_lenient = is_lenient
        self.fields: dict[str, Field[Any]] = {field.name: field for field in fields(settings)}
        self.types: dict[str, Any] = get_type_hints(settings)
        self.keys = self._names("key", lambda key: f"{key}{file_suffix}")
        self.variables = self._names("env", self.file_variable)

    def _names(self, fact: str, file_name: Callable[[str], str]) -> dict[str, tuple[str, bool]]:
        plain = {self.facts(name)[fact]: (name, False) for name in self.fields}
        secrets = {key: name for key, (name, _) in plain.items() if self.is_secret(name)}
        return plain | {file_name(key): (name, True) for key, name in secrets.items()}

    def file_variable(self, variable: str) -> str:
        """Return the variable that names the file of a secret; all roles share those of TIX_."""
        suffix = "_FILE" if variable.startswith("TIX_") else self.file_suffix.upper()
        return f"{variable}{suffix}"

    def key_of(self, words: Sequence[str]) -> str:
        """Return the key that a section and a word in it are, as `fold` folds known keys."""
        return self.fold(".".join(words if self.is_lenient else map(word, words)))

    def fold(self, key: str) -> str:
        """Return the key in the letter case in which keys are compared."""
        return key.lower() if self.is_lenient else key

    def shown_key(self, words: Sequence[str]) -> str:
        """Return a key for messages and sources: "[api] host", of the collector "AMQP.host"."""
        *section, last = map(word, words)
        if self.is_lenient:
            return ".".join([*section, last])
        return f"[{section[0]}] {last}" if section else last

    def facts(self, name: str) -> Mapping[str, Any]:
        """Return what the setting was declared with; see `fields.setting`."""
        return self.fields[name].metadata

    def is_secret(self, name: str) -> bool:
        """Return whether the setting's value is shown nowhere."""
        return self.types[name] is Secret

    def default_text(self, name: str) -> str:
        """Return the default as operators write it; the default of a secret is public."""
        value = self.fields[name].default
        if isinstance(value, Secret):
            return value.reveal()
        text = json.dumps(value) if isinstance(value, bool) else str(value)
        return str(self.facts(name).get("written", text))

    def choices(self, name: str) -> tuple[str, ...]:
        """Return the words that a setting can be; none where it is not a choice."""
        kind = self.types[name]
        words = get_args(kind) if get_origin(kind) is Literal else ()
        return tuple(self.facts(name).get("words", words))

    def allowed(self, name: str) -> str:
        """Say what a setting can be: "a whole number of files, 0 or more"."""
        kind, facts = self.types[name], self.facts(name)
        if choices := self.choices(name):
            return f"one of {', '.join(choices)}"
        if words := _SHAPE_WORDS.get(facts.get("shape", "")):
            return words
        words = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            kind, "a text"
        )
        words += f" of {facts['unit']}" if "unit" in facts else ""
        if "maximum" in facts:
            return f"{words} from {facts['minimum']} to {facts['maximum']}"
        return words + (f", {facts['minimum']} or more" if "minimum" in facts else "")

    def check(self, name: str, value: object, *, strict: bool = True) -> Any:
        """Return the value as the settings hold it; strict: a text cannot stand for a number.

        Raises ValueError with what is allowed.
        """
        kind, facts = self.types[name], self.facts(name)
        if isinstance(value, str):
            _check_text(value, may_be_empty=facts.get("empty") or not self.fields[name].default)
        try:
            if self.is_lenient:
                value = _as_go_reads_it(kind, facts, value)
            if get_origin(kind) is Literal and isinstance(value, str):
                value = _word(value, get_args(kind), facts.get("aliases", {}))
            adapter = _adapter(kind, facts.get("minimum"), facts.get("maximum"))
            found = adapter.validate_python(value, strict=strict or self.is_lenient)
        except (ValueError, OverflowError):  # pydantic's ValidationError is a ValueError
            note = f"; {facts['note']}" if "note" in facts else ""
            raise ValueError(f"must be {self.allowed(name)}{note}") from None
        if kind is Secret:
            return Secret(found)
        shape = SHAPES.get(facts.get("shape", ""))
        return shape(found) if shape and found else found

    def check_variable(self, name: str, text: str) -> Any:
        """Return the value that an environment variable means; `text` is not empty.

        PROCESSOR_TYPE has words of its own; TIX_API_SSL is on whatever it says, as it always was.
        """
        facts = self.facts(name)
        if words := facts.get("variable_words"):
            if text.upper() not in words:
                raise ValueError(f"must be one of {', '.join(words)}; {facts['note']}")
            return words[text.upper()]
        if facts.get("any_text_is_true"):
            return True
        return self.check(name, text, strict=False)

    def shown(self, name: str, raw: object) -> str:
        """Return a wrong value as a message shows it: without what may be a password.

        >>> print(PROCESSING.shown("api_host", "http://anna:secret@api"))
        "http://***@api"
        >>> print(PROCESSING.shown("api_user", "anna:secret"))
        "anna:***"
        """
        if not isinstance(raw, str):
            return quoted(raw)
        if self.facts(name).get("shape") == "user" and ":" in raw:
            return quoted(raw.partition(":")[0] + ":***")
        scheme = start if (start := raw.partition("://")[0]).isalnum() and start != raw else ""
        _, at, host = raw.rpartition("@")
        return quoted(f"{scheme}{'://' if scheme else ''}***@{host}" if at else raw)


#: The settings of the processing roles.
PROCESSING = SettingsTable(Settings, "TIX_", "_file")

#: The settings of the collector.
COLLECTOR = SettingsTable(CollectorSettings, "GRACC_", "File", is_lenient=True)


def _check_text(text: str, *, may_be_empty: bool) -> None:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"must have at most {MAX_CHARACTERS} characters")
    if any(unicodedata.category(character) in _UNWANTED_CATEGORIES for character in text):
        raise ValueError("must hold no line breaks, control characters or bytes that are not UTF-8")
    if not text and not may_be_empty:
        raise ValueError("must not be empty")


def _as_go_reads_it(kind: Any, facts: Mapping[str, Any], value: object) -> object:
    """Return the value in the type of the setting, where gracc-collector saw one in it."""
    if facts.get("shape") == "duration":
        seconds = duration_seconds(str(value))
        if not 0 < seconds < float("inf"):
            raise ValueError
        return seconds
    if kind is bool:
        return _SWITCHES.get(str(value), value)
    if isinstance(value, str) and kind in (int, float):
        if kind is int and not (value.isascii() and value.isdigit()):
            raise ValueError
        return kind(value)
    if kind not in (int, float) and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _word(text: str, words: Iterable[str], aliases: Mapping[str, str]) -> str:
    """Return the word of a choice that the text is in any letter case, else the text."""
    text = aliases.get(text.upper(), text)
    return {word.lower(): word for word in words}.get(text.lower(), text)


@functools.cache
def _adapter(kind: Any, minimum: float | None, maximum: float | None) -> pydantic.TypeAdapter[Any]:
    """Make what checks a type and its bounds."""
    finite: dict[str, Any] = {"allow_inf_nan": False} if kind is float else {}
    kind = str if kind is Secret else kind
    bounded_kind: Any = Annotated[kind, pydantic.Field(ge=minimum, le=maximum, **finite)]
    return pydantic.TypeAdapter(bounded_kind)


# --- shapes of texts -----------------------------------------------------------------------------


def host_alone(text: str) -> str:
    """Return a host name, or an address without brackets; raises ValueError for a URL."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare or bare != text:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            raise ValueError("give the host alone, without scheme and port") from None
    if set(text) & set("/@?#[] "):
        raise ValueError("give the host alone, without scheme, path and user")
    return text


def host_and_port(text: str, word: str, *, host_needed: bool = True) -> str:
    """Return host:port with an IPv6 address in brackets; `word`: what else messages allow."""
    host, colon, port = text.rpartition(":")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    if not (colon and is_number and 1 <= int(port) <= 65535):
        raise ValueError(f"must be host:port with a port from 1 to 65535, or {word}")
    if not host and not host_needed:
        return text
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host) is not bracketed:
        raise ValueError(f"must be host:port, with an IPv6 address in brackets, or {word}")
    return f"[{host_alone(host)}]:{port}" if bracketed else f"{host_alone(host)}:{port}"


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Return addresses and networks with commas between; raises ValueError naming a wrong one."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError:
            shown = bounded.text(part)
            raise ValueError(f"{shown!r} is not a network such as 10.0.0.0/8 or ::1") from None
    return tuple(found)


def _address_or_off(text: str) -> str:
    return "off" if text.lower() == "off" else host_and_port(text, "off")


def _history(text: str) -> str:
    """Return a name that no other file can have: a damaged history is renamed."""
    if text.lower() == "off":
        return "off"
    if not text.endswith(".sqlite"):
        raise ValueError("must be a file whose name ends in .sqlite, or off")
    return text


def _user(text: str) -> str:
    if ":" in text:
        raise ValueError("must hold no colon, which HTTP Basic puts before the password")
    return text


def _amqp_name(text: str) -> str:
    if len(text.encode()) > MAX_AMQP_BYTES:
        raise ValueError(f"must have at most {MAX_AMQP_BYTES} bytes, as all names in AMQP")
    return text


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text):
        raise ValueError("must be at most 249 letters, digits, dots, underscores and dashes")
    return text


def _brokers(text: str) -> str:
    """Reject texts that librdkafka would read as other brokers than intended."""
    if "@" in text:
        raise ValueError("give host:port alone, without user and password")
    found = [_BROKER.fullmatch(part.strip()) for part in text.split(",")]
    if not all(match and 1 <= int(match[1]) <= 65535 for match in found):
        raise ValueError(f"must be {_SHAPE_WORDS['brokers']}")
    return text


def _networks(text: str) -> str:
    networks(text)
    return text


#: Checks of texts that are not empty; they return the text as the settings hold it.
SHAPES = MappingProxyType(
    {
        "host": host_alone,
        "address": _address_or_off,
        "user": _user,
        "history": _history,
        "amqp_name": _amqp_name,
        "topic": _topic,
        "brokers": _brokers,
        "networks": _networks,
    }
)


# --- messages, files -----------------------------------------------------------------------------


def quoted(value: object) -> str:
    """Return the value for a message: one line, quoted, bounded, without control characters."""
    return json.dumps(bounded.value(value))


def word(name: str) -> str:
    """Return a name from outside for a message: quoted unless it is a plain word."""
    return bounded.text(name) if name.isidentifier() else quoted(name)


def secret_file(path: object) -> str:
    """Return a secret's file for a message; what is not a path may be the secret itself."""
    return quoted(path) if os.path.isabs(str(path)) else "(not an absolute path)"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown `name`: the nearest known one, if one is near.

    >>> did_you_mean("amqp.hots", ["AMQP.host", "port"])
    '; did you mean "AMQP.host"?'
    """
    if len(name) > bounded.MAX_CHARACTERS:
        return ""
    written = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), written, n=1)
    return f'; did you mean "{written[near[0]]}"?' if near else ""


def from_file(path: Path) -> str:
    """Return the secret in a file, without the line break that editors put at its end.

    Raises ValueError that says what is wrong with the file.
    """
    try:
        text = regular_file(path, MAX_SECRET_BYTES).decode()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("does not hold UTF-8 text") from None
    if not (text := text.removesuffix("\n").removesuffix("\r")):
        raise ValueError("is empty")
    return text


def regular_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a small regular file; raises OSError, ValueError for anything else."""
    # Opening or reading a FIFO or a device may block for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is not a regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"is larger than {most_bytes // 1024} KiB")
    return content
