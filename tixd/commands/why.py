"""`tixd why USER/INSTALLATION`: how one installation is and why, with its last events.

Reads its folder, and the history beside it. Rules: nothing is locked, made or changed, and nothing
is asked of tixd; what may not be read is said, and the rest is shown.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
import orjson

from tixd import bounded, errors
from tixd.commands import Invocation
from tixd.commands.installation_folders import bad_reports, installation_path, look, reason_of
from tixd.commands.installations import Source, as_ids, source
from tixd.commands.output import format_option, print_text, terminal_columns, wrapped
from tixd.config.environment import user as user_words
from tixd.directory import Folder, why_no_base
from tixd.display import moment
from tixd.history.installation_words import Words
from tixd.history.installations import InstallationState, events
from tixd.history.results import silent_seconds
from tixd.reports import archive
from tixd.reports.spool import opened
from tixd.reports.window import MIN_OBSERVATIONS, next_step

#: At most this many results are listed.
MAX_RESULTS = 10

#: At most this many bad reports are named.
MAX_BAD_NAMED = 5

#: What the folder knows better than the history.
_OF_THE_FOLDER = (
    *("reports", "newest", "kept", "next_try", "reason", "rejected"),
    *("set_aside", "set_aside_at", "set_aside_reason"),
)

#: With more reports than this, none is read to count observations: a window is certain.
MAX_READ = 200


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in words; epoch seconds."""

    at: float
    words: str


@click.command()
@click.argument("ids", metavar="USER/INSTALLATION", callback=as_ids)
@format_option("a paragraph to read, or one JSON object")
@click.pass_obj
def command(invocation: Invocation, ids: tuple[int, int], form: str) -> None:
    """Say how an installation is and why: what lies there, what waits for what, its last events.

    \b
    Example: why are there no results of installation 1 of user 7?
      tixd why 7/1
    """
    user, installation = ids
    if not (user and installation):
        raise click.BadParameter("name both, as 7/1", param_hint="USER/INSTALLATION")
    with source(invocation) as found:
        state, paragraph, happened = _look(found, user, installation, time.time())
    if form == "json":
        told = [{"at": int(event.at), "words": event.words} for event in happened]
        why = f"{state}; {paragraph}"
        row = {"user": user, "installation": installation, "why": why, "events": told}
        sys.stdout.write(f"{orjson.dumps(row).decode()}\n")
        return
    columns = terminal_columns()
    print_text(f"installation {user}/{installation}: {state}", columns)
    for line in wrapped(paragraph, columns):
        print(line)
    if happened:
        print("\nlast events, the newest first:")
    for event in happened:
        print_text(f"{moment(event.at)}  {event.words}", columns)


def _look(
    found: Source, user: int, installation: int, now: float
) -> tuple[str, str, Sequence[Event]]:
    """Return the state in a line, what else there is to say, and the last events, newest first."""
    states = found.states(user, installation) if found.history else []
    known = states[0] if states else None
    words = Words(now, silent_seconds(found.period_seconds), found.latest(now))
    path = installation_path(found.base, user, installation)
    happened: list[Event] = []
    away = ""
    try:
        with opened(found.base, user, installation) as folder:
            there = look(folder, user, installation)
            sentences = [_reports(there, path), _bad(there)]
            happened += _set_aside(folder)
    except errors.VolumeError as error:
        if known is None and (problem := why_no_base(found.base)):
            raise errors.NotDone(f"reports folder {problem}") from error
        if known is None and isinstance(error, errors.NotFound):
            raise errors.NotDone(
                f"no installation {user}/{installation} is in {found.base}"
            ) from error
        away = _not_read(found.base, path, error)
        there, sentences = None, []
    state = _merged(known, there) or InstallationState(user, installation)
    sentences += [_last(state, words), _kept(state)]
    if found.history:
        happened += map(_result, events(found.history, user, installation, MAX_RESULTS))
    happened.sort(key=lambda event: -event.at)
    told = words.of(state)
    headline = f"{away}; known before: {told}" if away else told
    return headline, "; ".join(filter(None, sentences)) + ".", happened


def _merged(
    known: InstallationState | None, there: InstallationState | None
) -> InstallationState | None:
    """Return what the folder says now, and of the rest what the history knows."""
    if known is None or there is None:
        return known or there
    return known._replace(**{name: getattr(there, name) for name in _OF_THE_FOLDER})


# --- the paragraph -------------------------------------------------------------------------------


def _reports(state: InstallationState, path: str) -> str:
    """Say how many reports lie there, and what a window lacks."""
    count = state.reports or 0
    if not count:
        return "no report lies there: the client sends none, or the condenser writes none"
    lie = f"{count:,} report{'s lie' if count > 1 else ' lies'} there"
    if count > MAX_READ:
        return f"{lie}, enough for windows: they wait for a job"
    found = next(archive.installations(path), None)
    reports = found.reports() if found else []
    observations = sum(report.count for report in reports)
    if next_step(reports):
        return f"{lie}, enough for a window: it waits for the next job"
    if observations >= MIN_OBSERVATIONS:
        parted = "they come from several sources, or with long gaps"
        return f"{lie} with {observations} observations, yet make no window: {parted}"
    need = f"a window takes {MIN_OBSERVATIONS} observations, about 18 min of them"
    return f"{lie}; {need}; they have {observations}"


def _bad(state: InstallationState) -> str:
    """Say how many reports were set aside."""
    if not state.set_aside:
        return ""
    return (
        f"{state.set_aside:,} {'were' if state.set_aside > 1 else 'was'} set aside in bad-reports"
    )


def _last(state: InstallationState, words: Words) -> str:
    """Say when there was a result last."""
    if state.result_at:
        return f"last result {words.ago(state.result_at)} ago"
    if state.timestamp:
        return f"the last window ended {words.ago(state.timestamp)} ago"
    return "no result is known"


def _kept(state: InstallationState) -> str:
    """Say that nothing is kept, else the headline says it; and what was rejected."""
    parts = [] if state.kept else ["nothing is kept"]
    if state.rejected:
        retry = f"tixd failed retry {state.user}/{state.installation}"
        parts.append(f"{state.rejected:,} rejected: correct the cause, then {retry}")
    return "; ".join(parts)


def _not_read(base: str, path: str, error: errors.VolumeError) -> str:
    """Say why the folder is not looked at."""
    if isinstance(error, errors.NotFound):
        if not os.path.isdir(base):
            return f"the reports folder {base} is gone: mount or restore it"
        return f"the folder {path} is not there"
    if isinstance(error, errors.NotPermitted):
        who = user_words(os.geteuid())
        return f"{who} may not read {path}: ask as root, or as tixd's user"
    return f"the folder cannot be read: {error.detail}"


# --- the events ----------------------------------------------------------------------------------


def _set_aside(folder: Folder) -> Iterator[Event]:
    for bad in bad_reports(folder)[:MAX_BAD_NAMED]:
        why = reason_of(folder, bad.name) or "no reason stands beside it"
        yield Event(bad.at, f"set aside: {bounded.printable(bad.name)}: {why}")


def _result(row: Any) -> Event:
    """Return an event of a row of the view `results`."""
    usage = f"usage {_share(row['up_usage'])} up, {_share(row['down_usage'])} down"
    why = f": {row['words']}" if row["words"] else ""
    until = moment(row["timestamp"])
    return Event(row["at"], f"{row['outcome']}: result until {until}, {usage}{why}")


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
