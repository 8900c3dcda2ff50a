"""One value for one setting: checked and of its type, or what is allowed instead.

In: the name of a setting and what somebody wrote for it. Out: the value that Settings holds.
Rules: a text comes from the environment or the command line, where everything is text; in
tixd.toml a value has its own type. What is not allowed raises ValueError, whose message says what
is allowed and never repeats the value, which may be a secret.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import json
import os
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pydantic

from tixd import bounded
from tixd.config.fields import Secret
from tixd.config.settings import Settings

#: Largest file of a secret that is read.
MAX_SECRET_BYTES = 64 * 1024

#: Longest text of a setting: no path can be longer, and no user, host or password is.
MAX_CHARACTERS = 4096

#: Every setting by its name, in the order in which operators are shown them.
FIELDS: dict[str, Field[Any]] = {field.name: field for field in fields(Settings)}

#: The Python type of every setting.
TYPES: dict[str, Any] = get_type_hints(Settings)

#: What messages about a role add: this one has settings of its own.
_NO_COLLECTOR = "; the collector is the option --role collector"

#: Values of PROCESSOR_TYPE, as the image of the original system takes them, and their roles.
PROCESSOR_TYPES = {"STANDALONE": "standalone", "BEAT": "dispatcher", "WORKER": "worker"}

#: Other names of log levels: FATAL is Celery's, WARN is one that Python takes.
LEVEL_ALIASES = {"FATAL": "CRITICAL", "WARN": "WARNING"}

#: Kinds of character that no setting holds: control characters, and the stand-ins for bytes that
#: are not UTF-8 (Unicode general categories).
_UNWANTED_CATEGORIES = {"Cc", "Cs"}


def is_secret(name: str) -> bool:
    """Whether the setting's value is shown nowhere."""
    return TYPES[name] is Secret


def default(name: str) -> Any:
    """The value of a setting that nobody gave."""
    value = FIELDS[name].default
    assert value is not MISSING  # noqa: S101 - settings are declared with setting(), which asks one
    return value


def default_text(name: str) -> str:
    """The default as an operator writes it; a default that is a secret is known to everybody."""
    value = default(name)
    if isinstance(value, Secret):
        return value.reveal()
    return json.dumps(value) if isinstance(value, bool) else str(value)


def choices(name: str) -> str:
    """The words that a setting can be, in brackets after its help; "" where it is no choice."""
    kind = TYPES[name]
    return f" ({', '.join(get_args(kind))})" if get_origin(kind) is Literal else ""


def quoted(value: object) -> str:
    """The value as a message shows it: one line, quoted, bounded, without control characters."""
    return json.dumps(bounded.value(value))


def shown(name: str, raw: object) -> str:
    """A value that cannot be, as a message shows it: without what may be a password.

    >>> print(shown("api_host", "http://anna:secret@api"), shown("api_user", "anna:secret"))
    "http://***@api" "anna:***"
    """
    if not isinstance(raw, str):
        return quoted(raw)
    if name == "api_user" and ":" in raw:
        return quoted(raw.partition(":")[0] + ":***")
    scheme = start if (start := raw.partition("://")[0]).isalnum() and start != raw else ""
    _, at, host = raw.rpartition("@")
    return quoted(f"{scheme}{'://' if scheme else ''}***@{host}" if at else raw)


def secret_file(path: object) -> str:
    """The name of a secret's file as a message shows it; what is no path may be the secret."""
    return quoted(path) if os.path.isabs(str(path)) else "(no absolute path)"


def word(name: str) -> str:
    """A name that somebody gave, as a message shows it: quoted unless it is a plain word."""
    return bounded.text(name) if name.isidentifier() else quoted(name)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: the nearest known one, if one is near."""
    if len(name) > bounded.MOST_CHARACTERS:
        return ""
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def from_environment(name: str, text: str) -> Any:
    """The value that an environment variable means; `text` is not empty.

    PROCESSOR_TYPE has names of its own; a switch is on whatever it says, as TIX_API_SSL always was.
    """
    if name == "role":
        if text.upper() not in PROCESSOR_TYPES:
            raise ValueError(f"must be one of {', '.join(PROCESSOR_TYPES)}{_NO_COLLECTOR}")
        return PROCESSOR_TYPES[text.upper()]
    if TYPES[name] is bool:
        return True
    return checked(name, text, strict=False)


def checked(name: str, value: object, *, strict: bool) -> Any:
    """The value as Settings holds it; `strict` takes no text for a number.

    Raises ValueError with what is allowed.
    """
    if isinstance(value, str):
        value = _plain_text(name, value)
    try:
        found = _adapter(name).validate_python(value, strict=strict)
    except pydantic.ValidationError:
        also = _NO_COLLECTOR if name == "role" else ""
        raise ValueError(f"must be {allowed(name)}{also}") from None
    return Secret(found) if is_secret(name) else found


def from_file(path: Path) -> str:
    """The secret in a file, without the line break that editors put at its end.

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
    """The content of a small regular file; raises OSError, and ValueError for anything else."""
    # Opening or reading a FIFO or a device may block for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is no regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"is larger than {most_bytes // 1024} KiB")
    return content


def allowed(name: str) -> str:
    """What a setting can be, in words: "a whole number of files, 0 or more"."""
    kind, facts = TYPES[name], FIELDS[name].metadata
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    words = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a text")
    words += f" of {facts['unit']}" if "unit" in facts else ""
    if "maximum" in facts:
        return f"{words} from {facts['minimum']} to {facts['maximum']}"
    return words + (f", {facts['minimum']} or more" if "minimum" in facts else "")


@functools.cache
def _adapter(name: str) -> pydantic.TypeAdapter[Any]:
    """What checks the values of one setting, made from its type and its bounds."""
    kind, facts = TYPES[name], FIELDS[name].metadata
    bounds: dict[str, Any] = {"allow_inf_nan": False} if kind is float else {}
    bounds |= {"ge": facts["minimum"]} if "minimum" in facts else {}
    bounds |= {"le": facts["maximum"]} if "maximum" in facts else {}
    kind = str if kind is Secret else kind
    bounded: Any = Annotated[kind, pydantic.Field(**bounds)]
    return pydantic.TypeAdapter(bounded)


def _plain_text(name: str, text: str) -> str:
    """The text without what no setting may hold, in the spelling that Settings uses."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"must have at most {MAX_CHARACTERS} characters")
    if any(unicodedata.category(character) in _UNWANTED_CATEGORIES for character in text):
        raise ValueError("must hold no line breaks, control characters or bytes that are not UTF-8")
    if not text and default(name):
        raise ValueError("must not be empty")
    if name in ("api_host", "rabbitmq_host"):
        return host_alone(text)
    if name == "http_address" and text:
        return _address(text)
    if name == "api_user" and ":" in text:
        raise ValueError("must hold no colon, which HTTP Basic puts before the password")
    if name == "log_level":
        return LEVEL_ALIASES.get(text.upper(), text.upper())
    return text.lower() if get_origin(TYPES[name]) is Literal else text


def host_alone(text: str) -> str:
    """A host name, or an address without brackets; raises ValueError for a URL."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare or bare != text:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            raise ValueError("give the host alone, without scheme and port") from None
    if set(text) & set("/@?#[] "):
        raise ValueError("give the host alone, without scheme, path and user")
    return text


def _address(text: str) -> str:
    """host:port with an IPv6 address in brackets, or the word "off"."""
    return "off" if text.lower() == "off" else host_and_port(text, "off")


def host_and_port(text: str, word: str, *, host_needed: bool = True) -> str:
    """host:port with an IPv6 address in brackets; `word`: what else messages say is allowed."""
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
