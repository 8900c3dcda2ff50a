"""What the rest of tixd knows of a report and of the installation that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from tixd.analysis.observations import Observations


@dataclass(frozen=True, slots=True, order=True)
class Installation:
    """One client: `<base>/<user_id>/<installation_id>`, both ids positive integers."""

    user_id: int
    installation_id: int
    path: str

    @property
    def labels(self) -> dict[str, int]:
        """The ids as values of a log line."""
        return {"user": self.user_id, "installation": self.installation_id}


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A decoded report file.

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
        """How many observations it holds, of either kind, duplicates included."""
        return len(self.observations)
