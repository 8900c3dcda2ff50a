"""The commands: each module has `command`, which `tixd.cli` imports when it is called.

In: an Invocation, by `@click.pass_obj`. Out: the command's text on standard output.
Rules: only here is anything printed; the log goes where the settings say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tixd import errors
from tixd.config import loader
from tixd.config.environment import Surroundings
from tixd.config.loader import CollectorConfig, ProcessingConfig
from tixd.runtime import startup

#: How long root waits for the reports volume to say whose it is.
OWNER_SECONDS = 2.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stood before the command's name: options by setting, and the file of `-c`."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> ProcessingConfig:
        """The configuration of this process; raises ConfigError."""
        return loader.load(self.options, os.environ, self.file)

    def load_for_asking(self) -> ProcessingConfig:
        """What a command needs of it that only asks: settings that are wrong have their default."""
        return loader.load_for_asking(self.options, os.environ, self.file)

    def start(self, *, schedules: bool = False) -> ProcessingConfig:
        """Load the configuration, be who it says, open the log, and log what it warns of.

        The settings that come back say which form the log has, so that workers write the same.
        """
        loaded, form = startup.begin(self.load(), schedules=schedules)
        return replace(loaded, settings=replace(loaded.settings, log_format=form))


@dataclass(frozen=True, slots=True)
class CollectorInvocation:
    """The same for the collector, whose settings are its own."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> CollectorConfig:
        """The configuration of this process; raises ConfigError."""
        return loader.load_collector(self.options, os.environ, self.file)

    def start(self) -> CollectorConfig:
        """Load the configuration, be who it says, open the log, and log what it warns of."""
        return startup.begin(self.load(), schedules=False)[0]


def asked(loaded: ProcessingConfig, ask: Callable[[Surroundings], Answer]) -> Answer:
    """What `ask` hears where a tixd of this user has its sockets.

    Root asks also where one has them that has become the owner of the reports; the volume is looked
    at only where nobody else answers, and not for long, because it may hang. Raises NotRunning.
    """
    try:
        return ask(loaded.surroundings)
    except errors.NotRunning:
        if os.geteuid() != 0 or (owner := _owner(loaded)) is None:
            raise
        return ask(loaded.surroundings.and_those_of(owner))


def _owner(loaded: ProcessingConfig) -> int | None:
    """The user that root's tixd goes on as; None where that cannot be known."""
    from tixd.diagnostics.runner import Check, run_checks  # noqa: PLC0415 - seldom needed

    def look() -> str:
        found = startup.identity(loaded)
        return str(found.uid if found else 0)

    [found] = run_checks([Check("owner", look, "")], OWNER_SECONDS)
    return int(found.text) if found.fine else None
