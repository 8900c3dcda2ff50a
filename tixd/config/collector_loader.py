"""Where the value of every setting of the collector comes from.

In: options, environment, a file: the original's flat TOML, or tixd.toml with its [collector].
Out: frozen CollectorSettings, the source of each value, warnings. Rules: command line >
environment > file > the image's default > default; an empty variable counts as unset; keys in any
letter case; in the original's form an unknown key is a warning, because its parser ignored them, in
tixd.toml it stops the start; every value given is checked, all problems are reported at once, none
shows a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tixd import errors
from tixd.config import collector_values, environment, values
from tixd.config.collector_settings import CollectorSettings
from tixd.config.environment import Surroundings
from tixd.config.loader import few, read_toml

#: Settings that the command line has an option for.
OPTIONS = MappingProxyType({"log_level": "-l", "log_file": "-l"})

#: Keys at the top of tixd.toml that are of the processing roles.
_TIXD_KEYS = frozenset(f.metadata["key"].split(".")[0] for f in values.FIELDS.values())

#: Names of the settings by their keys in small letters.
_NAMES = MappingProxyType(
    {f.metadata["key"].lower(): n for n, f in collector_values.FIELDS.items()}
)

#: The key that names a file with a secret, and its setting.
_FILES = MappingProxyType(
    {f"{k}file": n for k, n in _NAMES.items() if collector_values.is_secret(n)}
)

#: All keys as they are written, by small letters.
_KEYS = MappingProxyType(
    {f.metadata["key"].lower(): f.metadata["key"] for f in collector_values.FIELDS.values()}
    | {f"{k}file": f"{collector_values.FIELDS[n].metadata['key']}File" for k, n in _NAMES.items()}
)

#: Variables by which an image changes the default of a setting; files and all else overrule them.
IMAGE_DEFAULTS = MappingProxyType(
    {"GRACC_DEFAULT_ADDRESS": "address", "GRACC_DEFAULT_PORT": "port"}
)

#: Keys of the original that mean nothing here, in small letters, and what is to be done instead.
_GONE = MappingProxyType(
    {
        "amqp.skipverify": "the broker's certificate is always checked; name the certificates that"
        " vouch for it in AMQP.caFile"
    }
)

#: Sections of the file.
_SECTIONS = frozenset(key.split(".")[0] for key in _NAMES if "." in key)


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """The settings, where each of them came from, and what the operator should know of them."""

    settings: CollectorSettings
    sources: Mapping[str, str]
    warnings: tuple[str, ...]
    surroundings: Surroundings


def load(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> CollectorConfig:
    """Read everything; `options` by name of the setting, `file` None for the default one.

    Raises ConfigError with every problem found, one a line.
    """
    draft = _Draft()
    for variable, name in IMAGE_DEFAULTS.items():
        if environ.get(variable):
            draft.take(name, environ[variable], f"the image's {variable}")
    _read_document(draft, *read_toml(file, draft.problems))
    _read_environment(draft, environ)
    for name, text in options.items():
        draft.take(name, text, f"option {OPTIONS.get(name, name)}")
    settings = replace(CollectorSettings(), **draft.values)
    draft.problems += _contradictions(settings, draft.sources)
    if draft.problems:
        raise errors.ConfigError("\n".join(few(draft.problems)))
    draft.warnings += _doubts(settings, draft.sources)
    around = environment.read(environ, uid=os.geteuid())
    sources, warnings = MappingProxyType(draft.sources), tuple(few(draft.warnings))
    return CollectorConfig(settings, sources, warnings, around)


class _Draft:
    """The values found so far, where they came from, and what is wrong with the others."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources = dict.fromkeys(collector_values.FIELDS, "default")
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def take(self, name: str, raw: Any, source: str) -> None:
        """Let `raw` be the setting's value, or note why it cannot be."""
        shown = "" if collector_values.is_secret(name) else f" = {values.shown(name, raw)}"
        try:
            self.values[name] = collector_values.checked(name, raw)
        except ValueError as error:
            self.problems.append(f"{source}{shown}: {error}")
        else:
            self.sources[name] = source

    def take_file(self, name: str, path: Any, source: str) -> None:
        """Let the secret be what the file holds."""
        try:
            self.take(name, values.from_file(Path(str(path))), source)
        except ValueError as error:
            self.problems.append(f"{source} = {values.secret_file(path)}: {error}")


# --- the file ------------------------------------------------------------------------------------


def _read_document(draft: _Draft, path: Path, document: Mapping[str, Any]) -> None:
    """Tell the two forms apart by their keys, and read the one it is."""
    tixd = {word for word in document if word == "collector" or word in _TIXD_KEYS}
    flat = {w for w in document if w.lower() in _SECTIONS or w.lower() in _NAMES}
    if tixd and flat:
        draft.problems.append(
            f"{path}: has keys of tixd.toml ({', '.join(sorted(tixd))}) and of gracc-collector "
            f"({', '.join(sorted(flat))}); put the latter under [collector]"
        )
    elif tixd:
        _read_keys(draft, f"{path} [collector]", document.get("collector", {}), strict=True)
    else:
        _read_keys(draft, str(path), _without_files(draft, path, document), strict=False)


def _without_files(draft: _Draft, path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """The original's form has no output to files for us: an old section may still lie there."""
    kept = {word: part for word, part in document.items() if word.lower() != "file"}
    if len(kept) < len(document):
        draft.warnings.append(
            f"{path} [file]: ignored, because gracc-collector meant something else by it; to append"
            " records to a file set GRACC_FILE_PATH, or file.path in tixd.toml"
        )
    return kept


def _read_keys(draft: _Draft, place: str, part: Any, *, strict: bool) -> None:
    entries = dict(_entries(part))
    for key, raw in entries.items():
        source, name = f"{place} {values.quoted(key)[1:-1]}", _NAMES.get(key.lower())
        if name is not None:
            draft.take(name, raw, source)
        elif (name := _FILES.get(key.lower())) is not None:
            draft.take_file(name, raw, source)
        else:
            _unknown(draft, source, key, strict=strict)
    small = {key.lower() for key in entries}
    draft.problems += [
        f"{place} {_KEYS[_key(name)]} and {_KEYS[file]} contradict each other: keep one of them"
        for file, name in _FILES.items()
        if file in small and _key(name) in small
    ]
    if len(small) < len(entries):
        draft.problems.append(f"{place}: a key stands there twice, in different letter case")


def _entries(part: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value; those in a section as AMQP.host."""
    for word, value in (part if isinstance(part, dict) else {"": part}).items():
        if isinstance(value, dict):
            yield from ((f"{word}.{inner}", content) for inner, content in value.items())
        else:
            yield word, value


def _key(name: str) -> str:
    return str(collector_values.FIELDS[name].metadata["key"]).lower()


def _unknown(draft: _Draft, source: str, key: str, *, strict: bool) -> None:
    advice = _advice(key)
    if strict:
        draft.problems.append(f"{source}: no such setting{advice}")
    else:
        draft.warnings.append(f"{source}: no such setting, ignored{advice}")


def _advice(key: str) -> str:
    """The end of a message about an unknown key: what to do instead, or the nearest known key."""
    small = key.lower()
    if small in _GONE:
        return f": {_GONE[small]}"
    near = values.did_you_mean(small, _KEYS)
    for known, written in _KEYS.items():
        near = near.replace(f'"{known}"', f'"{written}"')
    return near


# --- environment ---------------------------------------------------------------------------------


def _read_environment(draft: _Draft, environ: Mapping[str, str]) -> None:
    environ, warnings = environment.without_links(environ, "GRACC_")
    draft.warnings += warnings
    variables = {f.metadata["env"]: name for name, f in collector_values.FIELDS.items()}
    files = {f"{v}FILE": n for v, n in variables.items() if collector_values.is_secret(n)}
    for variable in sorted(v for v in environ if environ[v]):
        source = f"environment {values.word(variable)}"
        if variable in variables:
            draft.take(variables[variable], environ[variable], source)
        elif variable in files:
            draft.take_file(files[variable], environ[variable], source)
        elif variable.startswith("GRACC_") and variable not in IMAGE_DEFAULTS:
            gone = _GONE.get(variable.removeprefix("GRACC_").replace("_", ".").lower())
            near = values.did_you_mean(variable, [*variables, *files])
            advice = f": {gone}" if gone else near
            draft.warnings.append(f"{source}: no such setting, ignored{advice}")
    draft.problems += [
        f"environment {file} and {file[:-4]} contradict each other: keep one of them"
        for file in files
        if environ.get(file) and environ.get(file[:-4])
    ]


# --- all together --------------------------------------------------------------------------------


def _contradictions(settings: CollectorSettings, sources: Mapping[str, str]) -> list[str]:
    """What cannot be although each value alone is allowed."""
    found = []
    if not (settings.amqp_enable or settings.kafka_enable or settings.file_path):
        found.append("no output is enabled: set AMQP.enable, kafka.enable or file.path")
    if settings.amqp_enable and settings.amqp_internal:
        found.append(
            f"{sources['amqp_internal']} = true: must be false, because nobody can publish "
            "to an internal exchange"
        )
    if bool(settings.amqp_cert_file) is not bool(settings.amqp_key_file):
        found.append("AMQP.certFile and AMQP.keyFile: set both, or none")
    for name in ("amqp_ca_file", "amqp_cert_file", "amqp_key_file"):
        path = getattr(settings, name)
        if path and not os.path.isfile(path):
            found.append(f"{sources[name]} = {values.quoted(path)}: there is no such file")
    return found


def _doubts(settings: CollectorSettings, sources: Mapping[str, str]) -> Iterator[str]:
    """What is allowed and probably not meant."""
    if sources["address"] == "default":
        port = " and port to 8080" if sources["port"] == "default" else ""
        yield (
            f"address is not set: the collector listens on localhost:{settings.port};"
            " gracc-collector listened on all addresses, by default at port 8080;"
            f' to do the same, set address to "0.0.0.0"{port}'
        )
    if not settings.amqp_enable:
        return
    if settings.amqp_routing_key:
        key = values.quoted(settings.amqp_routing_key)
        yield f"AMQP.routingKey = {key} is used; gracc-collector read it and published with none"
    elif not settings.amqp_exchange:
        yield (
            "AMQP.exchange and AMQP.routingKey are both empty: the default exchange can bring "
            "no record to a queue, so every bundle will get 503; set one of them"
        )
    if settings.amqp_ca_file and settings.amqp_scheme == "amqp":
        yield "AMQP.caFile is not used: AMQP.scheme is amqp, which has no TLS"
