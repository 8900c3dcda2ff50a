"""Start a service: change to its user, then open its log; and exit a process at once.

Rules: nothing is done before the whole configuration is valid; the folders that tixd writes to are
handed over before root's rights are dropped.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from typing import NoReturn, TypeVar

from tixd import errors, logs
from tixd.config import environment
from tixd.config.environment import SYSTEM_RUNTIME_FOLDER, Environment
from tixd.config.loader import CollectorConfig, ProcessingConfig
from tixd.config.settings import Settings
from tixd.runtime import privileges
from tixd.runtime.ownership import is_strangers_link

#: Capabilities of a processing role where root owns the reports, or several users do.
KEPT = (privileges.DAC_OVERRIDE, privileges.FOWNER)

#: Capabilities of a collector that runs as root.
KEPT_BY_COLLECTOR = (privileges.DAC_OVERRIDE, privileges.NET_BIND_SERVICE)

Loaded = TypeVar("Loaded", bound=ProcessingConfig | CollectorConfig)


def identity(loaded: ProcessingConfig | CollectorConfig) -> privileges.Identity | None:
    """Return the user that root changes to, None for others; looks at the reports.

    Raises ConfigError.
    """
    reports = loaded.settings.reports_base_path if isinstance(loaded.settings, Settings) else ""
    return privileges.target_identity(loaded.settings.run_as, reports)


def become_service(loaded: Loaded) -> Loaded:
    """Change to the service's user, to check what it needs; make no schedule folder."""
    sockets, *schedule = _own_folders(loaded, schedules=True)
    folders = [sockets, *filter(os.path.isdir, schedule)]
    return _change_user(loaded, identity(loaded), folders, "")[0]


def begin(loaded: Loaded, *, schedules: bool) -> tuple[Loaded, logs.Form]:
    """Change to the user that the configuration says, then open the log; return its form.

    schedules: it has a schedule folder. Raises ConfigError and CannotStart.
    """
    file = logs.path_of(loaded.settings.log_file)
    folders = _own_folders(loaded, schedules=schedules)
    if os.geteuid() == 0:
        _check_links([*folders, file], loaded)
    found = identity(loaded)
    loaded, not_dropped = _change_user(loaded, found, folders, file)
    form = _open_log(loaded)
    if found and found.why:
        logs.info("privileges", user=found, reason=found.why)
    if not_dropped:
        logs.warning("privileges_not_dropped", reason=not_dropped)
    for text in loaded.warnings:
        logs.warning("configuration", text=text)
    return loaded, form


def _check_links(paths: list[str], loaded: ProcessingConfig | CollectorConfig) -> None:
    """Raise CannotStart where a link of another user leads to a file or folder of tixd."""
    reports = [loaded.settings.reports_base_path] if isinstance(loaded.settings, Settings) else []
    for path in filter(is_strangers_link, [*reports, *paths]):
        raise errors.CannotStart(
            f"{path} is a link that is not root's, and root started tixd: name what it leads to"
        )


def _own_folders(loaded: ProcessingConfig | CollectorConfig, *, schedules: bool) -> list[str]:
    """List the folders that tixd writes to besides the reports: for sockets and the schedule."""
    folders = [_runtime_folder(loaded.environment)]
    if schedules and isinstance(loaded.settings, Settings) and loaded.settings.role != "worker":
        folders.append(loaded.settings.schedule_dir)
    return folders


def _runtime_folder(found: Environment) -> str:
    """Return the service manager's runtime folder, else the system's, never one of root's own."""
    system = SYSTEM_RUNTIME_FOLDER in found.runtime_folders
    return SYSTEM_RUNTIME_FOLDER if system else found.runtime_folders[0]


def _change_user(
    loaded: Loaded, found: privileges.Identity | None, folders: list[str], file: str
) -> tuple[Loaded, str | None]:
    """Change to the identity, if any; return the configuration with its runtime folders.

    Also return why root's rights were not dropped; None where they were.
    """
    if found is None:
        return loaded, None
    privileges.check(found)
    privileges.chown_to(found, folders, file)
    kept = KEPT if isinstance(loaded.settings, Settings) else KEPT_BY_COLLECTOR
    not_dropped = privileges.drop_privileges(found, kept)
    now = environment.read(os.environ, uid=os.geteuid())
    return replace(loaded, environment=now), not_dropped


def _open_log(loaded: ProcessingConfig | CollectorConfig) -> logs.Form:
    """Open the log; raises ConfigError."""
    wanted, journal = loaded.settings, loaded.environment.journal_stream
    form = logs.form_for(wanted.log_format, wanted.log_file, journal)
    try:
        logs.set_up(wanted.log_level, form, wanted.log_file)
    except OSError as error:
        source = loaded.sources["log_file"]
        raise errors.ConfigError(
            f'{source} = "{wanted.log_file}": the log cannot be opened: {error.strerror}'
        ) from None
    logs.adopt()
    return form


def exit_now(code: int) -> NoReturn:
    """Exit without waiting for worker processes that are stuck; flush streams and log first.

    At its end Python waits for every process that it has started. A killed one that is stuck in the
    kernel, as on a volume that hangs, ends as soon as the volume answers.
    """
    sys.stdout.flush()
    logging.shutdown()
    os._exit(code)
