"""Where every setting's value comes from; the only reader of the environment and of tixd.toml.

In: command line options, environment, tixd.toml. Out: frozen Settings, the source of each value,
and warnings. Rules: command line > environment > tixd.toml > default; an empty environment
variable counts as unset; every value given is checked, also one that another overrules; all
problems are reported at once, one line each; a secret's value is in no message.
"""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tixd import bounded, errors
from tixd.config import environment, proxy, values
from tixd.config.environment import Surroundings
from tixd.config.fields import Secret
from tixd.config.settings import Settings

#: Read where no other file is named and this one is there.
DEFAULT_FILE = Path("/etc/tixd/tixd.toml")

#: Settings that the command line has an option for.
OPTIONS = MappingProxyType(
    {"role": "--role", "schedule_dir": "-s", "log_level": "-l", "log_file": "-l"}
)

#: Sections of tixd.toml that are not for the processing roles and are left alone.
FOREIGN_SECTIONS = frozenset({"collector"})

#: Texts after which an operator may think that TIX_API_SSL is off; they turn it on all the same.
FALSE_WORDS = frozenset(
    {"0", "disable", "disabled", "f", "false", "n", "no", "none", "null", "off"}
)

#: So many unknown variables, and settings that are wrong, are told one by one.
MOST_UNKNOWN = MOST_PROBLEMS = 50

#: Largest file of settings that is read.
MAX_FILE_BYTES = 1024 * 1024

#: Variables of the environment that are chosen among others, not simply read.
_CHOSEN = ("api_proxy", "api_ca_bundle")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, where each of them came from, and what the operator should know of them.

    sources: by name of the setting, "default", "environment TIX_API_HOST",
    "/etc/tixd/tixd.toml [api] host", "option --role"; warnings: sentences; surroundings: what the
    service manager says.
    """

    settings: Settings
    sources: Mapping[str, str]
    warnings: tuple[str, ...]
    surroundings: Surroundings


def load(options: Mapping[str, str], environ: Mapping[str, str], file: Path | None) -> Config:
    """Read everything; `options` by name of the setting, `file` None for the default one.

    Raises ConfigError with every problem found, one a line.
    """
    draft = _drafted(options, environ, file)
    if draft.problems:
        raise errors.ConfigError("\n".join(few(draft.problems)))
    return _finished(draft, environ)


def few(texts: Sequence[str]) -> list[str]:
    """The first problems or warnings of very many, and how many more there are."""
    more = len(texts) - MOST_PROBLEMS
    return [*texts[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]


def load_for_asking(
    options: Mapping[str, str], environ: Mapping[str, str], file: Path | None
) -> Config:
    """Read what may be used, for a command that only asks a running tixd.

    A setting that is wrong has its default; so has each of a file that cannot be read.
    """
    return _finished(_drafted(options, environ, file), environ)


def _drafted(options: Mapping[str, str], environ: Mapping[str, str], file: Path | None) -> _Draft:
    draft = _Draft()
    _read_document(draft, *read_toml(file, draft.problems))
    _read_environment(draft, environ)
    for name, text in options.items():
        draft.take(name, text, f"option {OPTIONS[name]}", _as_text)
    _choose_proxy(draft, environ)
    _choose_ca_bundle(draft, environ)
    return draft


def _finished(draft: _Draft, environ: Mapping[str, str]) -> Config:
    around = environment.read(environ, uid=os.geteuid())
    sources, warnings = MappingProxyType(draft.sources), tuple(draft.warnings)
    return Config(draft.settings(), sources, warnings, around)


class _Draft:
    """The values found so far, where they came from, and what is wrong with the others."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources = dict.fromkeys(values.FIELDS, "default")
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def take(self, name: str, raw: Any, source: str, check: Callable[[str, Any], Any]) -> None:
        """Let `raw` be the setting's value, or note why it cannot be."""
        shown = "" if values.is_secret(name) else f" = {values.shown(name, raw)}"
        try:
            self.values[name] = check(name, raw)
        except ValueError as error:
            self.problems.append(f"{source}{shown}: {error}")
        else:
            self.sources[name] = source

    def take_secret(self, name: str, given: Mapping[str, str | Path]) -> None:
        """Take a secret from the one place that gives it: a text, or the file that holds it."""
        if len(given) > 1:
            self.problems.append(f"{' and '.join(given)} contradict each other: keep one of them")
            return
        for source, place in given.items():
            try:
                text = values.from_file(place) if isinstance(place, Path) else place
            except ValueError as error:
                self.problems.append(f"{source} = {values.secret_file(place)}: {error}")
            else:
                self.take(name, text, source, _as_text)

    def settings(self) -> Settings:
        """The settings as they are known by now."""
        return replace(Settings(), **self.values)


def _as_text(name: str, raw: str) -> Any:
    return values.checked(name, raw, strict=False)


# --- tixd.toml -----------------------------------------------------------------------------------


def read_toml(file: Path | None, problems: list[str]) -> tuple[Path, Mapping[str, Any]]:
    """The file, or the default one where none is named, and what it holds.

    Nothing where it cannot be read; why is then among the problems, unless nobody named it and it
    is not there.
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
    """The text of a file of settings; raises OSError, and ValueError where it is none."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 1024} KiB")
    return content.decode()


def _read_document(draft: _Draft, path: Path, document: Mapping[str, Any]) -> None:
    names = {tuple(f.metadata["key"].split(".")): name for name, f in values.FIELDS.items()}
    files = {(*key[:-1], f"{key[-1]}_file"): n for key, n in names.items() if values.is_secret(n)}
    secrets: dict[str, dict[str, str | Path]] = {}
    for key, raw in _entries(document, {key[0] for key in names if len(key) > 1}):
        source = f"{path} {_place(key)}"
        name = names.get(key) or files.get(key)
        if name is None and len(draft.problems) > MOST_PROBLEMS:
            draft.problems.append("")  # only counted
        elif name is None:
            near = values.did_you_mean(".".join(key), map(".".join, [*names, *files]))
            draft.problems.append(f"{source}: no such setting{near}")
        elif not values.is_secret(name):
            draft.take(name, raw, source, partial(values.checked, strict=True))
        elif isinstance(raw, str):
            secrets.setdefault(name, {})[source] = Path(raw) if key in files else raw
        else:
            draft.problems.append(f"{source}: must be a text")
    for name, given in secrets.items():
        draft.take_secret(name, given)


def _entries(
    document: Mapping[str, Any], sections: set[str]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every (key, value) of the document that is for us; a section without any is one itself."""
    for word, value in document.items():
        if word in FOREIGN_SECTIONS:
            continue
        if isinstance(value, dict) and (value or word in sections):
            yield from (((word, inner), content) for inner, content in value.items())
        else:
            yield (word,), value


def _place(key: tuple[str, ...]) -> str:
    words = [values.word(part) for part in key]
    return f"[{words[0]}] {words[1]}" if len(words) > 1 else words[0]


# --- environment ---------------------------------------------------------------------------------


def _read_environment(draft: _Draft, environ: Mapping[str, str]) -> None:
    environ, warnings = environment.without_links(environ, "TIX_")
    draft.warnings += warnings
    known: set[str] = set()
    for name, field in values.FIELDS.items():
        variable = field.metadata["env"]
        known.add(variable)
        if name in _CHOSEN:
            continue
        if values.is_secret(name):
            known.add(f"{variable}_FILE")
            draft.take_secret(name, _secret_places(variable, environ))
        elif environ.get(variable):
            source = f"environment {variable}"
            draft.take(name, environ[variable], source, values.from_environment)
    if environ.get("TIX_API_SSL", "").strip().lower() in FALSE_WORDS:
        said = values.quoted(environ["TIX_API_SSL"])
        draft.warnings.append(
            f"environment TIX_API_SSL = {said}: HTTPS is on, as any text turns it on; "
            "unset it for HTTP"
        )
    _warn_of_unknown(draft, environ, known)


def _warn_of_unknown(draft: _Draft, environ: Mapping[str, str], known: set[str]) -> None:
    unknown = sorted(v for v in environ if v.startswith("TIX_") and v not in known)
    for variable in unknown[:MOST_UNKNOWN]:
        near = values.did_you_mean(variable, known)
        draft.warnings.append(
            f"environment {values.word(variable)}: no such setting, ignored{near}"
        )
    if more := unknown[MOST_UNKNOWN:]:
        draft.warnings.append(f"environment: {len(more)} more TIX_ variables are no settings")


def _secret_places(variable: str, environ: Mapping[str, str]) -> dict[str, str | Path]:
    """Every place that gives a secret, by how messages call it."""
    given: dict[str, str | Path] = {}
    if environ.get(variable):
        given[f"environment {variable}"] = environ[variable]
    if path := environ.get(f"{variable}_FILE"):
        given[f"environment {variable}_FILE"] = Path(path)
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        path = os.path.join(folder, variable.lower())
        if os.path.lexists(path):
            given[f"systemd credential {variable.lower()}"] = Path(path)
    return given


def _choose_proxy(draft: _Draft, environ: Mapping[str, str]) -> None:
    api = draft.settings()
    choice = proxy.choose(environ, api.api_scheme, api.api_host, api.api_port_used)
    text, source = api.api_proxy.reveal(), draft.sources["api_proxy"]
    if choice is not None:
        text, source = choice.text, f"environment {choice.variable}"
    draft.take("api_proxy", text, source, _as_proxy)


def _as_proxy(name: str, raw: str) -> Secret:
    text = _as_text(name, raw).reveal()
    return Secret(proxy.proxy_url(text) if text else "")


def _choose_ca_bundle(draft: _Draft, environ: Mapping[str, str]) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if environ.get(variable):
            draft.take("api_ca_bundle", environ[variable], f"environment {variable}", _as_text)
            break
    api = draft.settings()
    if api.api_ssl and api.api_ca_bundle and not os.path.exists(api.api_ca_bundle):
        source = draft.sources["api_ca_bundle"]
        shown = values.quoted(api.api_ca_bundle)
        draft.problems.append(f"{source} = {shown}: there is no such file or folder")
