"""The commands: each module has `command`, which `tixd.cli` imports when it is called.

Rules: only here is anything printed; the log goes where the settings say.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from tixd import errors
from tixd.config import loader
from tixd.config.environment import Environment
from tixd.config.loader import CollectorConfig, ProcessingConfig
from tixd.config.settings import Settings
from tixd.runtime import control, startup
from tixd.runtime.status import Snapshot

#: How long a running tixd may take to answer; it answers from memory.
ANSWER_SECONDS = 5.0

#: The role whose settings are its own.
COLLECTOR = "collector"

#: What a role is asked.
_STATUS = "GET /status"

#: What it must tell.
_MEMBERS = {field.name for field in fields(Snapshot)} | {"not_ready", "headline"}

#: How long root waits for the reports volume to say who owns it.
OWNER_SECONDS = 2.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stood before the command's name: options by setting, and the file of `-c`."""

    options: Mapping[str, str]
    file: Path | None

    def load(self) -> ProcessingConfig:
        """Load the configuration of this process; raises ConfigError."""
        return loader.load(self.options, os.environ, self.file)

    def load_for_asking(self) -> ProcessingConfig:
        """Load what a command needs that only asks; settings that are wrong have their default."""
        return loader.load_for_asking(self.options, os.environ, self.file)

    def start(self, *, schedules: bool = False) -> ProcessingConfig:
        """Load the configuration, become the user it names, open the log, log its warnings.

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
        """Load the configuration of this process; raises ConfigError."""
        return loader.load_collector(self.options, os.environ, self.file)

    def load_for_asking(self) -> CollectorConfig:
        """Load what a command needs that only asks; settings that are wrong have their default."""
        return loader.load_collector_for_asking(self.options, os.environ, self.file)

    def start(self) -> CollectorConfig:
        """Load the configuration, become the user it names, open the log, log its warnings."""
        return startup.begin(self.load(), schedules=False)[0]


#: What stood before the command's name, for any role.
AnyInvocation = Invocation | CollectorInvocation


def ask_collectors(invocation: AnyInvocation) -> list[Mapping[str, Any]]:
    """Return the status of every collector here; raises NotRunning."""
    loaded = invocation.load_for_asking()
    return _known(ask_running(loaded, _ask_collectors, _STATUS, ANSWER_SECONDS))


def _ask_collectors(environment: Environment, _: str, request: str, seconds: float) -> list[Any]:
    return control.ask_all(environment, COLLECTOR, request, seconds)


def ask_roles(invocation: AnyInvocation) -> list[Mapping[str, Any]]:
    """Return the status of every role here, or of the one that the settings name."""
    return asker(invocation, ANSWER_SECONDS)()


def asker(invocation: AnyInvocation, seconds: float) -> Callable[[], list[Mapping[str, Any]]]:
    """Return what asks for the status of roles as ask_roles does, as often as it is called."""
    loaded = invocation.load_for_asking()
    owner = functools.cache(functools.partial(_owner, loaded))
    return lambda: _known(ask_running(loaded, control.ask_all, _STATUS, seconds, owner))


def _known(roles: list[Any]) -> list[Mapping[str, Any]]:
    """Return the status of roles; raises NotDone where one is of another version."""
    if not all(isinstance(role, dict) and role.keys() >= _MEMBERS for role in roles):
        raise errors.NotDone("another version of tixd runs here: use that version's tixd command")
    return roles


def ask_running(
    loaded: ProcessingConfig | CollectorConfig,
    ask: Callable[[Environment, str, str, float], Answer],
    request: str,
    seconds: float,
    find_owner: Callable[[], int | None] | None = None,
) -> Answer:
    """Ask the tixd of this user, of the role that the settings name if they do; raises NotRunning.

    ask: `ask_one` or `ask_all` of runtime.control. Root also asks where a tixd has its sockets that
    root started and that became the owner of the reports. The volume is looked at only where nobody
    else answers, and not for long, because it may hang; find_owner: tells who owns it instead.
    """
    role = COLLECTOR
    if isinstance(loaded.settings, Settings):
        role = loaded.settings.role if loaded.sources["role"] != "default" else ""
    try:
        return ask(loaded.environment, role, request, seconds)
    except errors.NotRunning:
        if os.geteuid() != 0:
            raise
        owner = find_owner() if find_owner else _owner(loaded)
        if owner is None:
            raise
        return ask(loaded.environment.with_folders_of(owner), role, request, seconds)


def _owner(loaded: ProcessingConfig | CollectorConfig) -> int | None:
    """Return the user that root's tixd becomes; None where that cannot be known."""
    from tixd.diagnostics.runner import Check, run_checks  # noqa: PLC0415 - seldom needed

    def look() -> str:
        found = startup.identity(loaded)
        return str(found.uid if found else 0)

    [found] = run_checks([Check("owner", look, "")], OWNER_SECONDS)
    return int(found.text) if found.fine else None
