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

from tixd import config, errors, logs
from tixd.collector import configuration as collector
from tixd.collector.configuration import CollectorConfig

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stood before the command's name: options by setting, and the file of `-c`."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> config.Config:
        """The configuration of this process; raises ConfigError."""
        return config.load(self.options, os.environ, self.file)

    def start(self) -> config.Config:
        """Load the configuration, open the log as it says, and log what it warns of.

        The settings that come back say which form the log has, so that workers write the same.
        """
        loaded = self.load()
        return replace(loaded, settings=replace(loaded.settings, log_format=_open_log(loaded)))


@dataclass(frozen=True, slots=True)
class CollectorInvocation:
    """The same for the collector, whose settings are its own."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> CollectorConfig:
        """The configuration of this process; raises ConfigError."""
        return collector.load(self.options, os.environ, self.file)

    def start(self) -> CollectorConfig:
        """Load the configuration, open the log as it says, and log what it warns of."""
        loaded = self.load()
        _open_log(loaded)
        return loaded


def _open_log(loaded: config.Config | CollectorConfig) -> logs.Form:
    """Open the log; the form that it has. Raises ConfigError."""
    wanted, journal = loaded.settings, loaded.surroundings.journal_stream
    form = logs.form_for(wanted.log_format, wanted.log_file, journal)
    try:
        logs.set_up(wanted.log_level, form, wanted.log_file)
    except OSError as error:
        source = loaded.sources["log_file"]
        raise errors.ConfigError(
            f'{source} = "{wanted.log_file}": the log cannot be opened: {error.strerror}'
        ) from None
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
