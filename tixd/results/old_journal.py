"""The journal of tixd 0.1.0, the file `.tixd.json`: taken over once, then removed.

In: an open installation folder. Out: its Journal. Rules: tix-time-processor reads every file whose
name ends in .json and dies of this one, so it goes as soon as its deletions are finished; what is
no regular file under this name is left alone.
"""

from __future__ import annotations

import orjson

from tixd import errors
from tixd.directory import TEMPORARY_SUFFIX, Folder
from tixd.results.journal import Journal, from_members

#: Name of the file that 0.1.0 makes, also while a 0.1.0 on another host still works here.
OLD_FILE_NAME = ".tixd.json"

#: Version of its format.
OLD_FORMAT = 1

#: A longer file is not read; the names of 60,000 reports fit.
MAX_OLD_BYTES = 2 * 2**20


def load_old(folder: Folder) -> tuple[Journal | None, str]:
    """The old journal, and why it cannot be trusted, "" where it can; None where there is none.

    Raises errors.VolumeError where it cannot be read, which leaves it where it is.
    """
    try:
        content = folder.load(OLD_FILE_NAME, MAX_OLD_BYTES)
        return from_members(orjson.loads(content), OLD_FORMAT), ""
    except errors.Vanished:
        return None, ""
    except errors.TooLong as error:
        return Journal(), error.detail
    except (ValueError, TypeError, KeyError) as error:
        return Journal(), str(error)


def remove_old(folder: Folder) -> None:
    """Remove the old journal, and what a killed 0.1.0 had begun to write."""
    folder.unlink(OLD_FILE_NAME + TEMPORARY_SUFFIX)
    folder.unlink(OLD_FILE_NAME)
