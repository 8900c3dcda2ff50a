"""A report, and the installation that it belongs to. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tixd.analysis.observations import Observations

#: File in an installation: a worker holds its kernel lock, its content is the journal, and its
#: time, once touched, is that of the volume's clock.
LOCK_FILE = ".tixd.lock"

#: Longest source address, characters; a host name has at most 255.
MAX_SOURCE_CHARACTERS = 255


def is_source(text: str) -> bool:
    """Return whether a report or a result may have this source: one printable line, not too long.

    >>> is_source("203.0.113.7"), is_source("host\\nname"), is_source("\\udcff"), is_source("")
    (True, False, False, False)
    """
    return 0 < len(text) <= MAX_SOURCE_CHARACTERS and text.isprintable()


@dataclass(frozen=True, slots=True, order=True)
class Installation:
    """One client: `<base>/<user_id>/<installation_id>`, both ids positive integers."""

    user_id: int
    installation_id: int
    path: str

    @property
    def labels(self) -> dict[str, int]:
        """Return the ids as values of a log line."""
        return {"user": self.user_id, "installation": self.installation_id}


@dataclass(slots=True, eq=False)
class Report:
    """A decoded report file; never changed, but not frozen: that takes four times as long to make.

    source: canonical text of the address it came from; first, last: its smallest and largest epoch
    second; observations: its S and L rows, shape (n,), n >= 1, in the order of the file.
    """

    name: str
    user_id: int
    installation_id: int
    source: str
    first: int
    last: int
    observations: Observations

    @property
    def count(self) -> int:
        """Count its observations, of either kind, duplicates included."""
        return len(self.observations)
