"""The roles that a process can have: what each does from its start to its stop, one file each.

Rules: a role's module is loaded only where that role runs, so that none pays for another's
libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from tixd.config.loader import ProcessingConfig
from tixd.roles.processing import ProcessingService


def live(loaded: ProcessingConfig, reload: Callable[[], ProcessingConfig]) -> None:
    """Run the role that the configuration names until a signal ends it.

    reload: reads the configuration again, for SIGHUP. Raises CannotStart where it cannot start.
    """
    role = import_module(f"{__name__}.{loaded.settings.role}")
    ProcessingService(loaded, reload, role.run).live()
