"""Make the answer of a page: HTML by templates, JSON, CSV; the only user of jinja2 in a role.

Rules: loaded and run only in the page's thread; every value is escaped; static files are those of
the package, by their names.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

import jinja2
import orjson

from tixd import display, errors
from tixd.history import store
from tixd.page import pages
from tixd.page.views import Answer, Asked, Column, Page, Query, View
from tixd.runtime.status import Snapshot, age, duration, headline

#: How long the statements of a page may take, seconds.
QUERY_SECONDS = 4.0

#: Longest name of a page in the name of a file, characters.
MAX_FILE_NAME = 60

#: Where static files are.
STATIC = "/static/"

#: Types of static files, by their endings.
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

#: Forms of a page other than HTML, and their types.
_FORMS = {".json": "application/json", ".csv": "text/csv; charset=utf-8"}

_HTML = "text/html; charset=utf-8"


def answer(asked: Asked) -> Answer:
    """Answer a request that may look."""
    if asked.path.startswith(STATIC):
        return _static(asked.path.removeprefix(STATIC), asked.known)
    path, form = _split(asked.path)
    now = asked.now
    found = pages.find(now.role, path)
    if found is None:
        return Answer(404, _html(_missing(now), Query(path, now.moment), now), _HTML)
    page, parameters = found
    query = page.query(path, parameters, asked.query, now.moment)
    query, view = _view(page, query, now)
    if form == ".json":
        return Answer(view.status, _json(view), _FORMS[form])
    if form == ".csv":
        return _csv(view, query)
    return Answer(view.status, _html(view, query, now), _HTML)


def _split(path: str) -> tuple[str, str]:
    """Part a path and its form."""
    for form in _FORMS:
        if path.endswith(form):
            return path.removesuffix(form), form
    return path, ""


def _view(page: Page, query: Query, now: Snapshot) -> tuple[Query, View]:
    """Let the page read the history; where that fails, say why."""
    why = _why_no_history(now)
    if not why and now.history:
        try:
            with store.reading_briefly(now.history.file, QUERY_SECONDS) as history:
                return query, page.show(query, now, history)
        except errors.NotDone as error:
            why = error.detail
    query = replace(query, no_history=why)
    return query, page.show(query, now, None)


def _why_no_history(now: Snapshot) -> str:
    """Say why this role has no history, and where one is; "" where it has one."""
    if now.history:
        return ""
    if now.role == "worker":
        return "a worker keeps none: look at the page of the dispatcher that leads"
    if now.state == "standing by":
        leader = now.leader or "another process"
        return f"this process stands by: look at the page of {leader}, which leads"
    if now.state == "starting":
        return "tixd is starting"
    setting = "historyFile" if now.role == "collector" else "TIX_HISTORY"
    return f"it is off: set {setting} to a file"


def _missing(now: Snapshot) -> View:
    here = [page.path for page in pages.of_role(now.role) if page.name]
    return View("missing.html", "No such page", {"here": here}, status=404)


# --- forms ---------------------------------------------------------------------------------------


def _json(view: View) -> bytes:
    """Return the page's data, and the rows of its table under `rows`."""
    rows = {"rows": view.table.members()} if view.table else {}
    return orjson.dumps({**view.data, **rows}, option=orjson.OPT_NON_STR_KEYS) + b"\n"


def _csv(view: View, query: Query) -> Answer:
    if view.table is None:
        return Answer(404, b"this page has no table, and so no CSV\n")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.name for column in view.table.columns])
    for row in view.table.rows:
        writer.writerow([display.csv_cell(cell) for cell in row])
    headers = {"Content-Disposition": f'attachment; filename="{file_name(query)}"'}
    body = text.getvalue().encode(errors="replace")
    return Answer(view.status, body, _FORMS[".csv"], headers)


def file_name(query: Query) -> str:
    """Return what a table is called where it is saved: by its page and the minute, in UTC.

    >>> file_name(Query("/installations/7/1", 0.0)), file_name(Query("/x/%22%0d", 0.0))
    ('tixd-installations-7-1-19700101T0000Z.csv', 'tixd-x-22-0d-19700101T0000Z.csv')
    """
    words = "-".join(re.findall("[A-Za-z0-9]+", query.path))[:MAX_FILE_NAME]
    minute = re.sub("[-:]", "", display.iso_time(query.moment))[:13]
    return f"{'-'.join(filter(None, ('tixd', words, minute)))}Z.csv"


def _html(view: View, query: Query, now: Snapshot) -> bytes:
    template = _environment().get_template(view.template)
    text = template.render(
        view=view,
        data=view.data,
        table=view.table,
        query=query,
        now=now,
        menu=[page for page in pages.of_role(now.role) if page.name],
        headline=headline(now),
        host=os.uname().nodename,
    )
    return text.encode(errors="replace")


@functools.cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FunctionLoader(_template),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(
        cell=cell,
        moment=display.moment,
        iso=display.iso_time,
        duration=duration,
        age=age,
    )
    return found


def _template(name: str) -> str | None:
    found = resources.files("tixd.page") / "templates" / name
    return found.read_text(encoding="utf-8") if found.is_file() else None


# --- cells ---------------------------------------------------------------------------------------


def cell(value: Any, column: Column, moment: float) -> str:
    """Return a value as its column shows it, without the unit; "-" where it is not known.

    >>> cell(1234.5, Column("n", "N", kind="number", digits=1), 0.0)
    '1,234.5'
    >>> cell(None, Column("n", "N"), 0.0)
    '-'
    """
    if value is None or value == "":
        return "-"
    if column.kind == "number":
        return f"{value:z,.{column.digits}f}"
    if column.kind == "seconds":
        return in_seconds(value)
    if column.kind == "time":
        return display.moment(value).removesuffix(" UTC")
    if column.kind == "ago":
        return f"{duration(moment - value)} ago"
    return str(value)


def in_seconds(seconds: float) -> str:
    """Return a duration; one of under ten seconds with its parts.

    >>> in_seconds(0.0213), in_seconds(4.26), in_seconds(61)
    ('21 ms', '4.3 s', '1 min 1 s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


# --- static files --------------------------------------------------------------------------------


@functools.cache
def _static_files() -> Mapping[str, tuple[bytes, str]]:
    """Return the content and the ETag of each static file, by its name."""
    folder = resources.files("tixd.page") / "static"
    contents = {found.name: found.read_bytes() for found in folder.iterdir()}
    return {
        name: (content, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
        for name, content in contents.items()
        if name.rpartition(".")[2] in _TYPES
    }


def _static(name: str, known: str) -> Answer:
    if name not in _static_files():
        return Answer(404, b"there is no such file\n")
    content, tag = _static_files()[name]
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    kind = _TYPES[name.rpartition(".")[2]]
    if tag in known:
        return Answer(304, b"", kind, headers)
    return Answer(200, content, kind, headers)
