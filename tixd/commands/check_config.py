"""`tixd check-config`: every setting, where its value comes from, and what is wrong.

Exit code 0, or 2 with every problem; with --connect also what the role needs is tried for real, and
the exit code is 1 where something of that is wrong. Rules: no secret is shown, only whether it is
set.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from tixd import bounded, errors
from tixd.commands import CollectorInvocation, Invocation, output
from tixd.config import environment
from tixd.config.collector_settings import CollectorSettings
from tixd.config.fields import Secret
from tixd.config.loader import CollectorConfig, ProcessingConfig
from tixd.config.settings import Settings
from tixd.page.access import is_closed
from tixd.runtime import startup

if TYPE_CHECKING:
    from tixd.diagnostics.runner import CheckResult

#: How long it may take to find the owner of the reports.
WHO_SECONDS = 2.0

#: Characters of the table's frame and of the room between its columns.
TABLE_FRAME = 13

#: What the columns of the table are.
_HEAD = ("setting", "tixd.toml", "value", "source")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as the table shows it."""

    environment: str
    key: str
    value: Any
    unit: str
    source: str


@click.command()
@output.format_option("a table to read, or one JSON object")
@click.option("--connect", is_flag=True, help="also try what the role needs, 15 s at most")
@click.pass_obj
def command(invocation: Invocation | CollectorInvocation, *, form: str, connect: bool) -> None:
    """Show every setting with its source, and say whether each one is allowed.

    With --connect first try the folders, tix-api, RabbitMQ and everything else that the role needs,
    and then show only the settings that are not as by default. A running tixd is not disturbed. Run
    it as the user that tixd runs as. Run by root, it becomes the user that tixd would become, and
    gives that user tixd's own folders, as tixd would.

    Exit code 0: all is fine; 2: a setting is wrong; 1: something that was tried does not work.
    Secrets are not shown.

    \b
    Examples: the settings of the service; those of the collector, and a try
      tixd -c /etc/tixd/tixd.toml check-config
      tixd --role collector -c gracc.toml check-config --connect
    """
    try:
        loaded = invocation.load()
    except errors.ConfigError as error:
        if form == "json":
            problems = str(error).splitlines()
            print(json.dumps({"fine": False, "problems": problems}, indent=2))
            sys.exit(error.exit_code)
        raise
    results = _connect(loaded) if connect else []
    if form == "json":
        print(json.dumps(_as_object(loaded, results, connect=connect), indent=2))
    else:
        _show_results(results)
        _show(loaded, results, only_set=connect)
    sys.exit(0 if all(each.fine for each in results) else 1)


def _connect(loaded: ProcessingConfig | CollectorConfig) -> list[CheckResult]:
    """Try what the role needs, as the user that the service would be."""
    from tixd.diagnostics import runner  # noqa: PLC0415 - imports most of tixd

    by_root = os.geteuid() == 0
    # Looking whose the reports are is a try of its own, because their volume may hang.
    [who] = runner.run_checks([runner.user(partial(_user, loaded))], WHO_SECONDS)
    if who.fine:
        loaded = startup.become_service(loaded)
    return [who, *runner.run_checks(runner.required_checks(loaded, by_root=by_root))]


def _user(loaded: ProcessingConfig | CollectorConfig) -> str:
    """Say who tries, and why."""
    become = startup.identity(loaded)
    if become is None:
        return f"tried as {environment.user(os.geteuid())}, who started this"
    reason = f": {become.why}" if become.why else ""
    return f"tried as {become}, which tixd becomes when root starts it{reason}"


def _rows(loaded: ProcessingConfig | CollectorConfig) -> list[Row]:
    found = []
    for field in fields(loaded.settings):
        name, value = field.name, getattr(loaded.settings, field.name)
        shown = str(value) or None if isinstance(value, Secret) else value
        facts, source = field.metadata, loaded.sources[name]
        unit = facts.get("unit") or ("seconds" if facts.get("shape") == "duration" else "")
        found.append(Row(facts["env"], facts["key"], shown, unit, source))
    return found


def posting(settings: Settings) -> str:
    """Say where results go, in a sentence; a port is named even where it is the usual one."""
    if settings.role == "dispatcher":
        return "a dispatcher posts nothing: workers do"
    if reason := settings.not_posting_reason:
        return f"does not post: {reason}; results stay in failed-results"
    proxied = ", through a proxy" if settings.api_proxy else ""
    return f"posts to {settings.api_base_url} as user {settings.api_user}{proxied}"


def page(settings: Settings | CollectorSettings) -> list[str]:
    """Say where the page is and who may look there, a sentence for each address."""
    if isinstance(settings, Settings):
        addresses = [settings.http_address_used]
    else:
        addresses = [f"{settings.address}:{settings.port}", settings.admin_address]
    return [_at(address, settings) for address in addresses if address not in ("", "off")]


def _at(address: str, settings: Settings | CollectorSettings) -> str:
    if is_closed(address, settings.page_token):
        metrics = "" if settings.metrics_open else ", as is /metrics without TIX_METRICS_OPEN"
        closed = f"the page is closed at {address}, but for this host{metrics}"
        return f"{closed}: set TIX_PAGE_TOKEN to look from elsewhere"
    who = "those who give TIX_PAGE_TOKEN as password" if settings.page_token else "this host alone"
    return f"the page is at http://{address}/, for {who}"


def _as_object(
    loaded: ProcessingConfig | CollectorConfig, results: list[CheckResult], *, connect: bool
) -> dict[str, object]:
    settings = {
        row.key: {
            "value": row.value,
            "unit": row.unit,
            "source": row.source,
            "environment": row.environment,
        }
        for row in _rows(loaded)
    }
    return {
        "fine": all(each.fine for each in results),
        "settings": settings,
        "warnings": loaded.warnings,
        **({"posting": posting(loaded.settings)} if isinstance(loaded.settings, Settings) else {}),
        "page": page(loaded.settings),
        **({"connect": [asdict(each) for each in results]} if connect else {}),
    }


def _show(
    loaded: ProcessingConfig | CollectorConfig, results: list[CheckResult], *, only_set: bool
) -> None:
    rows: list[tuple[str, ...]] = [
        (row.environment, row.key, _words(row.value, row.unit), bounded.text(row.source))
        for row in _rows(loaded)
        if not (only_set and row.source == "default")
    ]
    if rows:
        _show_settings(rows)
        print()
    texts = [f"warning: {text}" for text in loaded.warnings]
    if isinstance(loaded.settings, Settings):
        texts.append(posting(loaded.settings))
    texts += page(loaded.settings)
    texts.append(f"configuration: {_verdict(results)}")
    if only_set:
        texts.append("all other settings are as by default: tixd check-config shows them")
    print(*output.fold(texts), sep="\n")


def _verdict(results: list[CheckResult]) -> str:
    """Say whether the settings are allowed, and whether what was tried works with them."""
    wrong = sum(not each.fine for each in results)
    if not wrong:
        return "fine"
    are = "is" if wrong == 1 else "are"
    return f"allowed, but {wrong} of {len(results)} checks {are} WRONG, see above"


def _show_settings(rows: list[tuple[str, ...]]) -> None:
    """Print the settings: a table where there is room, else a line or two for each."""
    columns = output.terminal_columns()
    needed = TABLE_FRAME + sum(max(map(len, column)) for column in zip(_HEAD, *rows, strict=True))
    if columns < needed:
        lines = (f"{name} = {value}  ({source})" for name, _, value, source in rows)
        print(*output.fold(lines, columns), sep="\n")
    elif sys.stdout.isatty():
        _show_on_terminal([_HEAD, *rows])
    else:
        output.print_columns([_HEAD, *rows])


def _show_results(results: list[CheckResult]) -> None:
    """Print what was tried: what each thing is, and whether it is fine."""
    if not results:
        return
    verdicts = {True: "fine", False: "WRONG"}
    width = max(len(each.what) for each in results) + 2
    for each in results:
        line = f"{each.what:{width}}{verdicts[each.fine]}: {each.text}"
        print(*output.fold([line], indent=width), sep="\n")
    print()


def _show_on_terminal(rows: list[tuple[str, ...]]) -> None:
    from rich import box, console, table, text  # noqa: PLC0415 - slow to import, seldom needed

    terminal = console.Console()
    shown = table.Table(box=box.SIMPLE_HEAD)
    for head in rows[0]:
        shown.add_column(head, no_wrap=True)
    for cells in rows[1:]:
        style = "dim" if cells[-1] == "default" else "bold"
        shown.add_row(*map(text.Text, cells), style=style)
    terminal.print(shown)


def _words(value: object, unit: str) -> str:
    if value in (None, ""):
        return "not set"
    text = json.dumps(value) if isinstance(value, bool) else bounded.text(str(value))
    return f"{text} {unit}" if unit else text
