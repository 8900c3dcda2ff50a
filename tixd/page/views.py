"""What a page is asked and what it answers, before it becomes HTML, JSON or CSV.

Rules: a view has raw values: numbers, texts, epoch seconds; names of numbers say their unit, as
wait_seconds and free_bytes, and those of times end in _at. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode

from tixd.runtime.status import Snapshot

if TYPE_CHECKING:
    from tixd.history.store import Connection

#: What a cell shows. number: with `digits` decimals; seconds: a duration; time: to the second, in
#: UTC; ago: how long ago that was.
Kind = Literal["text", "number", "seconds", "time", "ago"]

#: How a word is shown beside saying what it says.
Tone = Literal["good", "warn", "bad", "quiet"]

#: What the path of a page ends in where another form of it than HTML is asked for.
FORMS = (".json", ".csv")

#: Longest text that is searched for.
MAX_SEARCH_CHARACTERS = 100

#: Most parameters of a query that are looked at.
MAX_PARAMETERS = 50

#: Largest number of a page of a list.
MAX_PAGE = 1_000_000

_PAGE = re.compile("[1-9][0-9]{0,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    name: in JSON and CSV; title: its heading; tones: of words.
    """

    name: str
    title: str
    kind: Kind = "text"
    digits: int = 0
    tones: Mapping[str, Tone] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether its cells are set right."""
        return self.kind not in ("text", "time")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values, one for each column; None: not known. empty: what to do without rows."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    empty: str

    def members(self) -> list[dict[str, Any]]:
        """Return each row as a mapping by the names of its columns."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Pager:
    """Which page of a long list is shown, of how many, and how long the list is."""

    number: int
    pages: int
    total: int


@dataclass(frozen=True, slots=True)
class View:
    """A page's answer.

    template: what makes HTML of it; data: for the template and, as it is, for JSON; table: the
    page's table, for all three; figures: SVG by name, shown: what else the template alone has;
    status: of HTTP.
    """

    template: str
    title: str
    data: Mapping[str, Any]
    table: Table | None = None
    pager: Pager | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Query:
    """What a page is asked; every value is checked, a wrong one has become the default.

    moment: epoch seconds; parameters: of the path; choices: the word of each choice that the page
    offers; search: a text, "" for all; number: the page of a list, from 1; no_history: why there is
    no history to read, in words.
    """

    path: str
    moment: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    search: str = ""
    number: int = 1
    no_history: str = ""

    @property
    def sort(self) -> str:
        """The order that is asked for."""
        return self.choices.get("sort", "")

    def address(self, *, form: str = "", **changes: Any) -> str:
        """Return the page's own address with these changes; a new order begins at page 1.

        form: ".json", ".csv"; changes: words of choices, search, number.

        >>> query = Query("/as", 0.0, {}, {"sort": "name"}, "1/", 3)
        >>> query.address(number=4), query.address(form=".csv", sort="usage")
        ('/as?search=1%2F&sort=name&page=4', '/as.csv?search=1%2F&sort=usage')
        """
        number = changes.pop("number", self.number if not changes else 1)
        asked = {"search": self.search, **self.choices, **changes}
        if number > 1:
            asked["page"] = number
        text = urlencode({name: value for name, value in asked.items() if value})
        return f"{self.path}{form}{'?' if text else ''}{text}"


#: A page: what is asked, the role at this moment, its history (None: no_history says why).
Show = Callable[[Query, Snapshot, "Connection | None"], View]


@dataclass(frozen=True, slots=True)
class Page:
    """A page. path: with names in braces, {name:int} for numbers; name: in the menu, "" if absent.

    choices: parameters of the query that are one of several words, the first being the default.
    """

    path: str
    roles: frozenset[str]
    show: Show
    name: str = ""
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters in a path, decoded; None: it is none of this page's.

        path: as the request has it, percent-encoded.
        """
        wanted, given = self.path.split("/"), path.split("/")
        if len(wanted) != len(given):
            return None
        found: dict[str, str] = {}
        for name, segment in zip(wanted, given, strict=True):
            if not name.startswith("{"):
                if name != segment:
                    return None
            elif not _fits(name, segment):
                return None
            else:
                found[name.strip("{}").partition(":")[0]] = decoded(segment)
        return found

    def query(self, path: str, parameters: Mapping[str, str], text: str, moment: float) -> Query:
        """Return what is asked of it in the query of a URL, as far as that makes sense."""
        given = _given(text)
        words = {
            name: given[name] if given.get(name) in allowed else allowed[0]
            for name, allowed in self.choices.items()
        }
        search = "".join(filter(str.isprintable, given.get("search", ""))).strip()
        number = given.get("page", "")
        return Query(
            path,
            moment,
            parameters,
            words,
            search[:MAX_SEARCH_CHARACTERS],
            min(int(number), MAX_PAGE) if _PAGE.fullmatch(number) else 1,
        )


def _given(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, errors="replace", max_num_fields=MAX_PARAMETERS)
    except ValueError:  # too many
        return {}
    return dict(reversed(pairs))


def _fits(name: str, segment: str) -> bool:
    is_number = segment.isascii() and segment.isdigit() and len(segment) <= 18
    return is_number if name.endswith(":int}") else bool(segment)


def decoded(segment: str) -> str:
    """Decode a segment of a path; what is no UTF-8 becomes the replacement character."""
    return unquote(segment, errors="replace")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a page: path and query as they came, the ETag that is known, and the role."""

    path: str
    query: str
    known: str
    now: Snapshot


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, ready to be sent."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
