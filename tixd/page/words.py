"""The page `/words`: what the words on the pages mean, out of the manual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tixd import glossary
from tixd.page import grades
from tixd.page.views import Column, Query, Table, View
from tixd.runtime.status import Snapshot

if TYPE_CHECKING:
    from tixd.history.store import Connection

COLUMNS = (
    Column("value", "Value"),
    Column("word", "Word", tones=grades.TONES),
    Column("least", "From", kind="number", digits=2),
    Column("meaning", "Meaning"),
)


def show(_: Query, __: Snapshot, ___: Connection | None) -> View:
    """Show the meaning of each word of the glossary, and the grades."""
    words = [
        {
            "name": title.lower(),
            "title": title,
            "meaning": glossary.plain(glossary.meaning(section)),
        }
        for title, section in glossary.sections().items()
    ]
    rows: list[list[Any]] = [
        [name, grade.word, grade.least, grade.meaning]
        for name, found in (("usage", grades.USAGE), ("quality", grades.QUALITY))
        for grade in found
    ]
    return View("words.html", "Words", {"words": words}, Table(COLUMNS, rows, ""))
