"""Read the configuration of a process; the only reader of the environment and of its file.

Rules: command line > environment > file > the image's default > default; an empty variable counts
as unset; every value given is checked, also one that another overrules; all problems are reported
at once, one a line; no message shows a secret. An unknown key stops the start; an unknown variable
is a warning, as is an unknown key in a file of gracc-collector, whose parser ignored them.
"""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from tixd import bounded, errors
from tixd.config import environment, proxy, values
from tixd.config.collector_settings import CollectorSettings
from tixd.config.environment import Environment
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.config.values import COLLECTOR, PROCESSING, SettingsTable

#: Read where no other file is named and this one is there.
DEFAULT_FILE = Path("/etc/tixd/tixd.toml")

#: Settings that the command line has an option for.
OPTIONS = MappingProxyType(
    {"role": "--role", "schedule_dir": "-s", "log_level": "-l", "log_file": "-l"}
)

#: The section of tixd.toml that is the collector's.
COLLECTOR_SECTION = "collector"

#: Variables by which an image changes the default of a setting; files and all else overrule them.
IMAGE_DEFAULTS = MappingProxyType(
    {"GRACC_DEFAULT_ADDRESS": "address", "GRACC_DEFAULT_PORT": "port"}
)

#: Texts that look like "off", although they too turn TIX_API_SSL on.
FALSE_WORDS = frozenset(
    {"0", "disable", "disabled", "f", "false", "n", "no", "none", "null", "off"}
)

#: At most this many problems, and this many warnings, are listed; the rest is counted.
MAX_PROBLEMS = 50

#: Largest file of settings that is read.
MAX_FILE_BYTES = 1024 * 1024

#: Settings whose variable is one of several; see `_choose_proxy` and `_choose_ca_bundle`.
_CHOSEN = frozenset({"api_proxy", "api_ca_bundle"})

#: Names of gracc-collector that mean nothing here, in small letters, and what to do instead.
_SKIP_VERIFY = (
    "the broker's certificate is always checked; name the CA certificates that verify it in"
    " AMQP.caFile"
)
_GONE = MappingProxyType({"amqp.skipverify": _SKIP_VERIFY, "gracc_amqp_skipverify": _SKIP_VERIFY})

AnySettings = TypeVar("AnySettings", Settings, CollectorSettings)


@dataclass(frozen=True, slots=True)
class Config(Generic[AnySettings]):
    """The settings, their sources, and warnings about them.

    sources: by name of the setting, "default", "environment TIX_API_HOST",
    "/etc/tixd/tixd.toml [api] host", "option --role"; warnings: sentences; environment: what the
    service manager says.
    """

    settings: AnySettings
    sources: Mapping[str, str]
    warnings: tuple[str, ...]
    environment: Environment


#: The configuration of a processing role, and that of the collector.
ProcessingConfig = Config[Settings]
CollectorConfig = Config[CollectorSettings]


def load(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> ProcessingConfig:
    """Read everything for a processing role; `options` by setting, `file` None for the default one.

    Raises ConfigError with every problem found, one a line.
    """
    draft = _read_processing(options, environ, file)
    draft.raise_problems()
    return draft.config(Settings)


def load_for_asking(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> ProcessingConfig:
    """Read what can be read, for a command that only asks a running tixd.

    A wrong setting has its default; so has every setting of a file that cannot be read.
    """
    return _read_processing(options, environ, file).config(Settings)


def load_collector(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> CollectorConfig:
    """Read everything for the collector, whose file is tixd.toml or one of gracc-collector.

    Raises ConfigError with every problem found, one a line.
    """
    draft = _read_collector(options, environ, file)
    draft.raise_problems()
    return draft.config(CollectorSettings)


def load_collector_for_asking(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> CollectorConfig:
    """Read what can be read, for a command that only asks a running collector."""
    return _read_collector(options, environ, file).config(CollectorSettings)


def _read_collector(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> _Draft:
    draft = _Draft(COLLECTOR, environ)
    for variable, name in IMAGE_DEFAULTS.items():
        if environ.get(variable):
            draft.set_value(name, environ[variable], f"the image's {variable}", COLLECTOR.check)
    _read_collector_document(draft, *_read_toml(file, draft.problems))
    _read_environment(draft)
    _read_options(draft, options)
    settings = draft.settings(CollectorSettings)
    draft.problems += _contradictions(settings, draft.sources)
    draft.warnings += _doubts(settings, draft.sources)
    return draft


def _read_processing(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> _Draft:
    draft = _Draft(PROCESSING, environ)
    path, document = _read_toml(file, draft.problems)
    tixd, gracc = _words_by_form(document)
    if gracc and not tixd:
        draft.problems.append(f"{path}: this is a file of gracc-collector: add --role collector")
    else:
        own = {word: part for word, part in document.items() if word != COLLECTOR_SECTION}
        _read_keys(draft, str(path), own, draft.problems)
    _read_environment(draft, apart_from=_CHOSEN)
    _warn_of_false_words(draft)
    _read_options(draft, options)
    _choose_proxy(draft)
    _choose_ca_bundle(draft)
    return draft


def few(texts: Sequence[str]) -> list[str]:
    """Return the first problems or warnings of very many, and how many more there are."""
    more = len(texts) - MAX_PROBLEMS
    return [*texts[:MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]


class _Draft:
    """The values found so far, where they came from, and what is wrong with the others."""

    def __init__(self, table: SettingsTable, environ: Mapping[str, str]) -> None:
        self.table = table
        self.environ = environ
        self.values: dict[str, Any] = {}
        self.sources = dict.fromkeys(table.fields, "default")
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def set_value(self, name: str, raw: Any, source: str, check: Callable[[str, Any], Any]) -> None:
        """Set the setting to `raw`, or note why that is not allowed."""
        shown = "" if self.table.is_secret(name) else f" = {self.table.shown(name, raw)}"
        try:
            self.values[name] = check(name, raw)
        except ValueError as error:
            self.problems.append(f"{source}{shown}: {error}")
        else:
            self.sources[name] = source

    def set_secret(self, name: str, places: Mapping[str, Any]) -> None:
        """Set a secret from the one place that gives it: a text, or the Path of its file."""
        if len(places) > 1:
            self.problems.append(f"{' and '.join(places)} contradict each other: keep one of them")
            return
        for source, place in places.items():
            try:
                text = values.from_file(place) if isinstance(place, Path) else place
            except ValueError as error:
                self.problems.append(f"{source} = {values.secret_file(place)}: {error}")
            else:
                self.set_value(name, text, source, self.table.check)

    def note_unknown(self, notes: list[str], source: str, name: str, known: Iterable[str]) -> None:
        """Add a warning or a problem about a name that no setting has, and the nearest known one.

        After many, near names are no longer looked for, which takes time.
        """
        ignored = ", ignored" if notes is self.warnings else ""
        advice = ""
        if instead := _GONE.get(name.lower()):
            advice = f": {instead}"
        elif len(notes) <= MAX_PROBLEMS:
            advice = values.did_you_mean(name, known)
        notes.append(f"{source}: no such setting{ignored}{advice}")

    def settings(self, kind: Callable[..., AnySettings]) -> AnySettings:
        """Return the settings found so far."""
        return kind(**self.values)

    def raise_problems(self) -> None:
        """Raise ConfigError where there are problems."""
        if self.problems:
            raise errors.ConfigError("\n".join(few(self.problems)))

    def config(self, kind: Callable[..., AnySettings]) -> Config[AnySettings]:
        """Return the configuration; settings with a problem have their default."""
        return Config(
            self.settings(kind),
            MappingProxyType(self.sources),
            tuple(few(self.warnings)),
            environment.read(self.environ, uid=os.geteuid()),
        )


# --- options, environment ------------------------------------------------------------------------


def _read_options(draft: _Draft, options: Mapping[str, str]) -> None:
    for name, text in options.items():
        check = _check_role if name == "role" else partial(draft.table.check, strict=False)
        draft.set_value(name, text, f"option {OPTIONS[name]}", check)


def _check_role(name: str, text: str) -> Any:
    roles = PROCESSING.choices(name)
    if text.lower() not in roles:
        raise ValueError(f"must be {', '.join(roles)} or collector")
    return text.lower()


def _read_environment(draft: _Draft, *, apart_from: frozenset[str] = frozenset()) -> None:
    table = draft.table
    environ, warnings = environment.without_links(draft.environ, table.prefix)
    draft.warnings += warnings
    for name in table.fields:
        variable = table.facts(name)["env"]
        if name in apart_from:
            continue
        if table.is_secret(name):
            places = _secret_places(environ, variable, table.file_variable(variable))
            draft.set_secret(name, places)
        elif text := environ.get(variable):
            draft.set_value(name, text, f"environment {variable}", table.check_variable)
    known = {*table.variables, *IMAGE_DEFAULTS}
    for variable in sorted(environ.keys() - known):
        if variable.startswith(table.prefix) and environ[variable]:
            source = f"environment {values.word(variable)}"
            draft.note_unknown(draft.warnings, source, variable, known)


def _secret_places(
    environ: Mapping[str, str], variable: str, file_variable: str
) -> dict[str, str | Path]:
    """Find every place that gives a secret, by its name in messages."""
    places: dict[str, str | Path] = {}
    if environ.get(variable):
        places[f"environment {variable}"] = environ[variable]
    if path := environ.get(file_variable):
        places[f"environment {file_variable}"] = Path(path)
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        path = os.path.join(folder, variable.lower())
        if os.path.lexists(path):
            places[f"systemd credential {variable.lower()}"] = Path(path)
    return places


# --- the file ------------------------------------------------------------------------------------


def _read_toml(file: Path | None, problems: list[str]) -> tuple[Path, Mapping[str, Any]]:
    """Read the file, or the default one where none is named.

    Return {} and add a problem where it cannot be read; a default file may be missing.
    """
    path = file or DEFAULT_FILE
    try:
        return path, tomllib.loads(_content(path))
    except OSError as error:
        if file is not None or not isinstance(error, FileNotFoundError):
            whom = f", as {environment.user(os.geteuid())}" if error.errno == errno.EACCES else ""
            problems.append(f"{path}: cannot be read: {error.strerror}{whom}")
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: is not valid TOML: {bounded.text(str(error))}")
    return path, {}


def _content(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 1024} KiB")
    return content.decode()


def _read_keys(draft: _Draft, place: str, part: Mapping[str, Any], unknown: list[str]) -> None:
    """Set every value of a document, or of a part of it; unknown keys are noted in `unknown`."""
    table = draft.table
    secrets: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    keys = {table.fold(key): target for key, target in table.keys.items()}
    sections = {key.partition(".")[0] for key in keys if "." in key}
    for words, raw in _entries(part, sections, table.fold):
        source, key = f"{place} {table.shown_key(words)}", table.key_of(words)
        if key in seen:
            draft.problems.append(f"{source}: is set twice, in different letter case")
        seen.add(key)
        name, is_file = keys.get(key, ("", False))
        if not name:
            draft.note_unknown(unknown, source, ".".join(words), table.keys)
        elif table.is_secret(name):
            is_path = is_file and (table.is_lenient or isinstance(raw, str))
            secrets.setdefault(name, {})[source] = Path(str(raw)) if is_path else raw
        else:
            draft.set_value(name, raw, source, table.check)
    for name, places in secrets.items():
        draft.set_secret(name, places)


def _entries(
    document: Mapping[str, Any], sections: set[str], fold: Callable[[str], str]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every key of the document with its value; a section without any is one itself."""
    for word, value in document.items():
        if isinstance(value, dict) and (value or fold(word) in sections):
            yield from (((word, inner), content) for inner, content in value.items())
        else:
            yield (word,), value


def _read_collector_document(draft: _Draft, path: Path, document: Mapping[str, Any]) -> None:
    """Tell tixd.toml and gracc-collector's form apart by their keys, and read the one it is."""
    tixd, gracc = _words_by_form(document)
    if tixd and gracc:
        draft.problems.append(
            f"{path}: has keys of tixd.toml ({', '.join(sorted(tixd))}) and of gracc-collector "
            f"({', '.join(sorted(gracc))}); put the latter under [{COLLECTOR_SECTION}]"
        )
    elif tixd:
        part = document.get(COLLECTOR_SECTION, {})
        part = part if isinstance(part, dict) else {"": part}
        _read_keys(draft, f"{path} [{COLLECTOR_SECTION}]", part, draft.problems)
    else:
        _read_keys(draft, str(path), _without_files(draft, path, document), draft.warnings)


def _words_by_form(document: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the top words of tixd.toml in a document, and those of gracc-collector's form."""
    words_of_tixd = {COLLECTOR_SECTION, *(key.partition(".")[0] for key in PROCESSING.keys)}
    words_of_gracc = {key.partition(".")[0].lower() for key in COLLECTOR.keys}
    tixd = {word for word in document if word in words_of_tixd}
    return tixd, {word for word in document if word.lower() in words_of_gracc}


def _without_files(draft: _Draft, path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Drop gracc-collector's section of files: an old one may still lie there."""
    kept = {word: part for word, part in document.items() if word.lower() != "file"}
    if len(kept) < len(document):
        draft.warnings.append(
            f"{path} [file]: ignored, because gracc-collector meant something else by it; to append"
            " records to a file set GRACC_FILE_PATH, or file.path in tixd.toml"
        )
    return kept


# --- settings that depend on each other ----------------------------------------------------------


def _warn_of_false_words(draft: _Draft) -> None:
    text = draft.environ.get("TIX_API_SSL", "")
    if text.strip().lower() in FALSE_WORDS:
        draft.warnings.append(
            f"environment TIX_API_SSL = {values.quoted(text)}: HTTPS is on, as any text turns it"
            " on; unset it for HTTP"
        )


def _choose_proxy(draft: _Draft) -> None:
    api = draft.settings(Settings)
    choice = proxy.choose(draft.environ, api.api_scheme, api.api_host, api.api_port_used)
    text, source = api.api_proxy.reveal(), draft.sources["api_proxy"]
    if choice is not None:
        text, source = choice.text, f"environment {choice.variable}"
    draft.set_value("api_proxy", text, source, _check_proxy)


def _check_proxy(name: str, raw: str) -> Secret:
    text = PROCESSING.check(name, raw).reveal()
    return Secret(proxy.proxy_url(text) if text else "")


def _choose_ca_bundle(draft: _Draft) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if text := draft.environ.get(variable):
            draft.set_value("api_ca_bundle", text, f"environment {variable}", PROCESSING.check)
            break
    api = draft.settings(Settings)
    if api.api_ssl and api.api_ca_bundle and not os.path.exists(api.api_ca_bundle):
        source = draft.sources["api_ca_bundle"]
        shown = values.quoted(api.api_ca_bundle)
        draft.problems.append(f"{source} = {shown}: there is no such file or folder")


def _contradictions(settings: CollectorSettings, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield what cannot be although each value alone is allowed."""
    if not (settings.amqp_enable or settings.kafka_enable or settings.file_path):
        yield "no output is enabled: set AMQP.enable, kafka.enable or file.path"
    if settings.amqp_enable and settings.amqp_internal:
        yield (
            f"{sources['amqp_internal']} = true: must be false, because no client can publish "
            "to an internal exchange"
        )
    if bool(settings.amqp_cert_file) is not bool(settings.amqp_key_file):
        yield "AMQP.certFile and AMQP.keyFile: set both, or none"
    for name in ("amqp_ca_file", "amqp_cert_file", "amqp_key_file"):
        path = getattr(settings, name)
        if path and not os.path.isfile(path):
            yield f"{sources[name]} = {values.quoted(path)}: there is no such file"


def _doubts(settings: CollectorSettings, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield what is allowed and probably not meant."""
    if sources["address"] == "default":
        port = " and port to 8080" if sources["port"] == "default" else ""
        yield (
            f"address is not set: the collector listens on localhost:{settings.port};"
            " gracc-collector listened on all addresses, by default at port 8080;"
            f' to do the same, set address to "0.0.0.0"{port}'
        )
    if settings.reuse_port and settings.admin_address in ("", "off"):
        yield (
            "reusePort = true without adminAddress: at a shared port /metrics, /stats and /readyz "
            "are those of one collector, each time another; set adminAddress, which must differ "
            "between the collectors"
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
