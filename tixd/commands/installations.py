"""`tixd installations`: how each installation is: last report, last result, what waits, and why.

Reads the history, which the tixd here writes, or where there is none the reports folder. Rules:
nothing is changed or asked of tixd, so it works whether tixd runs or not.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click
import orjson

from tixd import errors
from tixd.commands import Invocation, ask_roles
from tixd.commands.installation_folders import walked
from tixd.commands.output import as_seconds, format_option, print_csv, print_rows
from tixd.config.loader import ProcessingConfig
from tixd.directory import why_no_base
from tixd.display import iso_time
from tixd.history import lists, store
from tixd.history.installation_words import Words
from tixd.history.installations import InstallationState, facts, recorded
from tixd.history.results import silent_seconds

#: Rows of a table on a terminal; what is beyond them is counted.
MAX_ROWS = 500

#: Where a service of this name keeps its state (Filesystem Hierarchy Standard 3.0, section 5.8).
SYSTEM_STATE_FOLDER = "/var/lib/tixd"

#: Columns of CSV that hold times.
_TIMES = frozenset(
    {"seen_at", "newest", "result_at", "timestamp", "posted_at", "next_try", "set_aside_at"}
)

#: Columns of the table.
_HEADINGS = (
    "installation",
    "last\nreport",
    "last\nresult",
    "reports",
    "kept",
    "set\naside",
    "state",
)

_Key = Callable[[InstallationState], Any]

#: What --sort can name: those first that need attention.
SORTS: Mapping[str, _Key] = MappingProxyType(
    {
        "installation": lambda found: (found.user, found.installation),
        "report": lambda found: found.newest or 0,
        "result": lambda found: found.result_at or found.timestamp or 0,
        "reports": lambda found: -(found.reports or 0),
        "kept": lambda found: -(found.kept or 0),
        "set-aside": lambda found: -found.set_aside,
    }
)


def as_ids(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int]:
    """Read USER or USER/INSTALLATION; 0 stands for what is not named."""
    if value is None:
        return 0, 0
    user, slash, installation = value.partition("/")
    numbers = [user, installation] if slash else [user]
    if not all(text.isascii() and text.isdigit() and 0 < int(text) < 10**18 for text in numbers):
        raise click.BadParameter(
            f"{value!r} is not a user such as 7, or an installation such as 7/1"
        )
    return int(user), int(installation or 0)


@dataclass(frozen=True, slots=True)
class Source:
    """Where states come from: the history, or None, and the reports folder; period_seconds."""

    history: store.Connection | None
    base: str
    period_seconds: float

    def latest(self, now: float) -> int:
        """Return when any installation was visited last; 0: not known."""
        return lists.latest(self.history, now) if self.history else 0

    def states(self, user: int, installation: int) -> list[InstallationState]:
        """Return the states; raises NotDone where the reports cannot be listed."""
        if self.history:
            return recorded(self.history, user, installation)
        try:
            return list(walked(self.base, user, installation))
        except errors.VolumeError as error:
            reason = f"reports folder {why_no_base(self.base) or error}"
            raise errors.NotDone(f"there is no history, and {reason}") from error


@contextlib.contextmanager
def source(invocation: Invocation) -> Iterator[Source]:
    """Open the history of the tixd here, if there is one."""
    loaded = invocation.load_for_asking()
    settings = loaded.settings
    path = history_file(invocation, loaded)
    with store.reading(path) if path else contextlib.nullcontext() as history:
        known = facts(history) if history else {}
        base = settings.reports_base_path
        if loaded.sources["reports_base_path"] == "default":
            base = known.get("reports_base_path", base)
        default_seconds = settings.processing_period_minutes * 60.0
        yield Source(history, base, float(known.get("period_seconds", default_seconds)))


def history_file(invocation: Invocation, loaded: ProcessingConfig) -> str:
    """Return the file of the history: as set, else of the tixd that runs, else where one lies."""
    setting, folder = loaded.settings.history, loaded.environment.state_folder
    if setting:
        return store.path_of(setting, "")
    with contextlib.suppress(errors.OperatorError):
        views = [role["history"] for role in ask_roles(invocation) if role["role"] != "collector"]
        if views := [view for view in views if view]:
            return str(views[0]["file"])
    folders = filter(None, (folder, loaded.settings.schedule_dir, SYSTEM_STATE_FOLDER))
    paths = [store.path_of("", each) for each in folders]
    return next(filter(_is_there, paths), "")


def _is_there(path: str) -> bool:
    return store.size_bytes(path) > 0


@click.command()
@click.argument("ids", metavar="[USER[/INSTALLATION]]", required=False, callback=as_ids)
@click.option(
    "--silent",
    metavar="DURATION",
    callback=as_seconds,
    help="only those without a result for so long, as 30m; or report, if they never had one",
)
@click.option(
    "--sort",
    type=click.Choice(["state", *SORTS]),
    default="state",
    show_default=True,
    help="state: first those that need attention",
)
@format_option("a table to read, one JSON object a line for each installation, or CSV", "csv")
@click.pass_obj
def command(
    invocation: Invocation, ids: tuple[int, int], *, silent: float | None, sort: str, form: str
) -> None:
    """Show how each installation is: of everybody, of a USER, or one.

    The last report is the newest that lay there, the last result the last that was made of
    reports, whether it was posted or is kept. An installation is SILENT after half an hour without
    a result, or three periods where that is longer; GONE if its folder no longer exists. Set
    aside are reports that cannot be used. `tixd why` tells more of one.

    \b
    Examples: who has stopped; everybody, for a spreadsheet
      tixd installations --silent 30m
      tixd installations --format csv > installations.csv
    """
    now = time.time()
    with source(invocation) as found:
        states = found.states(*ids)
        words = Words(now, silent or silent_seconds(found.period_seconds), found.latest(now))
    if ids != (0, 0) and not states:
        raise errors.NotDone(f"no installation {_shown(*ids)} is known here")
    if silent is not None:
        states = [s for s in states if now - (words.last_result(s) or s.newest or 0) > silent]
    states.sort(key=words.urgency if sort == "state" else SORTS[sort])
    _print(states, words, form)


def _shown(user: int, installation: int) -> str:
    return f"{user}/{installation}" if installation else f"of user {user}"


def _print(states: Sequence[InstallationState], words: Words, form: str) -> None:
    if form == "json":
        for state in states:
            row = {**state._asdict(), "state": words.of(state)}
            sys.stdout.write(f"{orjson.dumps(row).decode()}\n")
    elif form == "csv":
        names = [*InstallationState._fields, "state"]
        print_csv(names, ([*_csv_cells(state), words.of(state)] for state in states))
    elif states:
        shown = states[:MAX_ROWS] if sys.stdout.isatty() else states
        print_rows(_HEADINGS, [_cells(state, words) for state in shown])
        _summarise(states, words)
    else:
        print("no installation")


def _csv_cells(state: InstallationState) -> Iterator[str | int | None]:
    for name, value in zip(InstallationState._fields, state, strict=True):
        yield (iso_time(value) if value else None) if name in _TIMES else value


def _cells(state: InstallationState, words: Words) -> tuple[str, ...]:
    return (
        f"{state.user}/{state.installation}",
        words.ago(state.newest),
        words.ago(words.last_result(state)),
        _count(state.reports),
        _count(state.kept),
        _count(state.set_aside),
        words.of(state),
    )


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}" if value else ""


def _summarise(states: Sequence[InstallationState], words: Words) -> None:
    silent = sum(words.is_silent(state) for state in states)
    kept = sum(state.kept or 0 for state in states)
    cut = sys.stdout.isatty() and len(states) > MAX_ROWS
    more = f"; the first {MAX_ROWS:,} are shown" if cut else ""
    print(f"\ninstallations: {len(states):,}, silent: {silent:,}, results kept: {kept:,}{more}")
