"""Whose a folder is, who we are, and what to do where that does not go together."""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections.abc import Iterator
from uuid import uuid4

from tixd import errors
from tixd.config.environment import user
from tixd.directory import Folder


def me() -> str:
    """The user that tries."""
    return user(os.geteuid())


@contextlib.contextmanager
def allowed(path: str) -> Iterator[None]:
    """Raises Unusable where a right is missing at `path`: whose it is, who tried, what to do."""
    try:
        yield
    except errors.NotPermitted as error:
        owner, facts = _whose(path)
        raise errors.Unusable(
            f"{error.detail}, tried as {me()}; {path} is {facts}:"
            f" run tixd as {owner} (TIX_RUN_AS, or scripts/install again), or give {me()} the right"
        ) from None


def make_and_remove(folder: Folder) -> None:
    """Make a file and remove it, under a name that all of tixd passes over; raises VolumeError."""
    folder.unlink(folder.write_temporary(f".tixd.check-{uuid4()}", b"x", durable=True))


def _whose(path: str) -> tuple[str, str]:
    """The owner, and owner, group and mode in words."""
    try:
        facts = os.stat(path)
    except OSError:
        return "its owner", "of a folder that may not be looked into either"
    owner, mode = user(facts.st_uid), stat.filemode(facts.st_mode)[1:]
    try:
        group = grp.getgrgid(facts.st_gid).gr_name
    except KeyError:
        group = str(facts.st_gid)
    return owner, f"{mode}, of {owner} and group {group}"
