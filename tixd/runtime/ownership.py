"""Tell whether only root can change where a path leads.

Rules: a group that may write to a folder on the way is trusted; everybody is, with the sticky bit.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def is_root_controlled(path: str, *, there: bool = True) -> bool:
    """Return whether every folder and link on the way to `path`, and it itself, is root's.

    there: what is missing counts as another user's, who may make it sooner than root.
    """
    ways = Path(os.path.abspath(path)), Path(os.path.realpath(path))
    return all(_is_roots(place, there=there) for way in ways for place in (way, *way.parents))


def is_strangers_link(path: str) -> bool:
    """Return whether the last name of the path is a link that is not root's."""
    try:
        facts = os.lstat(path)
    except OSError:  # nothing there leads nowhere
        return False
    return stat.S_ISLNK(facts.st_mode) and facts.st_uid != 0


def _is_roots(place: Path, *, there: bool) -> bool:
    try:
        facts = os.lstat(place)
    except FileNotFoundError:
        return not there
    except OSError:  # a name that is too long, a file in a folder's place, a volume closed to root
        return False
    anybody = facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX
    return facts.st_uid == 0 and not (stat.S_ISDIR(facts.st_mode) and anybody)
