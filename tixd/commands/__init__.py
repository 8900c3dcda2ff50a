"""The commands: each module has `command`, which `tixd.cli` imports when it is called.

In: an Invocation, by `@click.pass_obj`. Out: the command's text on standard output.
Rules: only here is anything printed; the log goes where the settings say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from tixd import capabilities, config, errors, logs, privileges, surroundings
from tixd.collector import configuration as collector
from tixd.collector.configuration import CollectorConfig
from tixd.surroundings import Surroundings

#: What a processing role needs where root owns the reports, or several users do.
KEPT = (capabilities.DAC_OVERRIDE, capabilities.FOWNER)

#: What the collector needs where nobody else than root is to run it.
KEPT_BY_COLLECTOR = (capabilities.DAC_OVERRIDE, capabilities.NET_BIND_SERVICE)

Loaded = TypeVar("Loaded", bound=config.Config | CollectorConfig)

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stood before the command's name: options by setting, and the file of `-c`."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> config.Config:
        """The configuration of this process; raises ConfigError."""
        return config.load(self.options, os.environ, self.file)

    def load_to_ask(self) -> tuple[config.Config, Surroundings]:
        """The configuration, and where a running tixd may be found; raises ConfigError.

        Root finds it too where it has become another user.
        """
        loaded = self.load()
        places, wanted = loaded.surroundings, loaded.settings
        if os.geteuid() == 0:
            identity = privileges.wanted(wanted.run_as, wanted.reports_base_path)
            places = places.and_those_of(identity.uid if identity else 0)
        return loaded, places

    def start(self) -> config.Config:
        """Load the configuration, be who it says, open the log, and log what it warns of.

        The settings that come back say which form the log has, so that workers write the same.
        """
        loaded = self.load()
        wanted = loaded.settings
        folder = wanted.schedule_dir if wanted.role != "worker" else ""
        loaded, form = _begin(loaded, folder)
        return replace(loaded, settings=replace(wanted, log_format=form))


@dataclass(frozen=True, slots=True)
class CollectorInvocation:
    """The same for the collector, whose settings are its own."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> CollectorConfig:
        """The configuration of this process; raises ConfigError."""
        return collector.load(self.options, os.environ, self.file)

    def start(self) -> CollectorConfig:
        """Load the configuration, be who it says, open the log, and log what it warns of."""
        return _begin(self.load())[0]


def identity(loaded: config.Config | CollectorConfig) -> privileges.Identity | None:
    """Whom root goes on as, None for others; looks at the reports. Raises ConfigError."""
    reports = loaded.settings.reports_base_path if isinstance(loaded, config.Config) else ""
    return privileges.wanted(loaded.settings.run_as, reports)


def become_service(loaded: Loaded) -> Loaded:
    """Be who the service would be, to try what it needs; a folder that is missing stays so."""
    folder = ""
    if isinstance(loaded, config.Config) and loaded.settings.role != "worker":
        folder = loaded.settings.schedule_dir
    return _become(loaded, identity(loaded), folder if os.path.isdir(folder) else "")


def _begin(loaded: Loaded, folder: str = "") -> tuple[Loaded, logs.Form]:
    """Be who the configuration says, with the schedule `folder`, then open the log."""
    become = identity(loaded)
    loaded = _become(loaded, become, folder, logs.path_of(loaded.settings.log_file))
    return loaded, _open_log(loaded, become)


def _become(
    loaded: Loaded, become: privileges.Identity | None, folder: str, file: str = ""
) -> Loaded:
    """Be the identity, if any: what comes back knows where that one's folders are."""
    if become is None:
        return loaded
    kept = KEPT if isinstance(loaded, config.Config) else KEPT_BY_COLLECTOR
    privileges.become(become, loaded.surroundings, kept, folder, file)
    return replace(loaded, surroundings=surroundings.read(os.environ, uid=os.geteuid()))


def _open_log(
    loaded: config.Config | CollectorConfig, become: privileges.Identity | None
) -> logs.Form:
    """Open the log and begin it; the form that it has. Raises ConfigError."""
    wanted, journal = loaded.settings, loaded.surroundings.journal_stream
    form = logs.form_for(wanted.log_format, wanted.log_file, journal)
    try:
        logs.set_up(wanted.log_level, form, wanted.log_file)
    except OSError as error:
        source = loaded.sources["log_file"]
        raise errors.ConfigError(
            f'{source} = "{wanted.log_file}": the log cannot be opened: {error.strerror}'
        ) from None
    if become and become.why:
        logs.info("privileges", user=become, reason=become.why)
    for text in loaded.warnings:
        logs.warning("configuration", text=text)
    return form


def format_option(words: str) -> Callable[[Command], Command]:
    """The option --format of a command that shows a table to people and JSON to programs."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help=words,
    )
