"""Look up the origin (AS) of an address, at each post, in the table as its file is then.

A replaced file is used from the next look-up on. A table that is missing, damaged or without AS
numbers is one warning, and no address has an AS until it is replaced: nothing is raised. Without a
table its library is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tixd import errors, logs
from tixd.asn.origin import UNKNOWN, Origin

if TYPE_CHECKING:
    from tixd.asn.table import Table


class OriginLookup:
    """The table at a path, "" for none; reopened whenever the file has changed."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._table: Table | None = None
        self._logged_reason = ""

    def lookup(self, text: str) -> Origin | None:
        """Return the origin of the address in `text`; None where no table is set.

        UNKNOWN where the address has none, or the table cannot be used.
        """
        if not self._path:
            return None
        try:
            return self._current().origin(text)
        except errors.BadTable as error:
            self._warn(error.detail)
            return UNKNOWN

    def built(self) -> int | None:
        """Return when the table was built, epoch seconds; 0: unusable; None: none is set."""
        if not self._path:
            return None
        try:
            return self._current().facts.built
        except errors.BadTable as error:
            self._warn(error.detail)
            return 0

    def close(self) -> None:
        """Close the table until the next look-up."""
        if self._table:
            self._table.close()
            self._table = None

    def _current(self) -> Table:
        """Open the table as the file is now; raises BadTable.

        The file is checked each time: reading pages of a truncated one would kill the process.
        """
        from tixd.asn import table  # noqa: PLC0415 - takes 15 ms at the start, and is seldom needed

        if self._table and self._table.is_current():
            return self._table
        self.close()
        self._table = table.Table(self._path)
        self._logged_reason = ""
        facts = self._table.facts
        logs.info("asn_table_read", file=self._path, kind=facts.kind, built=facts.built)
        return self._table

    def _warn(self, reason: str) -> None:
        if reason != self._logged_reason:
            self._logged_reason = reason
            logs.warning("asn_table_unusable", reason=reason)
