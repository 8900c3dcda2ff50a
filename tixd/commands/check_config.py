"""`tixd check-config`: every setting, where its value comes from, and what is wrong.

In: the options before the command, environment and tixd.toml. Out: a table or one JSON object;
exit code 0, or 2 with every problem. Rules: no secret is shown, only whether it is set.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from typing import Any

import click

from tixd import config, errors
from tixd.collector.configuration import CollectorConfig
from tixd.commands import CollectorInvocation, Invocation, format_option
from tixd.declared import Secret
from tixd.settings import Settings

#: A terminal narrower than this many columns has no room for the key in tixd.toml as well.
WIDE_COLUMNS = 110


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as the table shows it."""

    environment: str
    key: str
    value: Any
    source: str


@click.command(short_help="Show every setting, its source, and what is wrong")
@format_option("a table to read, or one JSON object")
@click.pass_obj
def command(invocation: Invocation | CollectorInvocation, form: str) -> None:
    """Show every setting with its source, and say whether each one is allowed.

    Ends with exit code 0 where all is fine and 2 where it is not. Secrets are not shown.

    \b
    Examples: what would the service, what would the collector run with?
      tixd -c /etc/tixd/tixd.toml check-config
      tixd --role collector -c gracc.toml check-config
    """
    try:
        loaded = invocation.load()
    except errors.ConfigError as error:
        if form == "json":
            problems = str(error).splitlines()
            print(json.dumps({"fine": False, "problems": problems}, indent=2))
            sys.exit(error.exit_code)
        raise
    if form == "json":
        print(json.dumps(_as_object(loaded), indent=2))
    else:
        _show(loaded)


def _rows(loaded: config.Config | CollectorConfig) -> list[Row]:
    found = []
    for field in fields(loaded.settings):
        name, value = field.name, getattr(loaded.settings, field.name)
        shown = str(value) or None if isinstance(value, Secret) else value
        facts, source = field.metadata, loaded.sources[name]
        found.append(Row(facts["env"], facts["key"], shown, source))
    return found


def posting(settings: Settings) -> str:
    """Where results go, in a sentence; a port is named even where it is the usual one."""
    if not settings.posts:
        missing = "TIX_API_PASSWORD" if settings.api_user else "TIX_API_USER"
        return f"does not post: {missing} is not set; results stay in failed-results"
    proxied = ", through a proxy" if settings.api_proxy else ""
    return f"posts to {settings.api_base_url} as user {settings.api_user}{proxied}"


def _as_object(loaded: config.Config | CollectorConfig) -> dict[str, object]:
    settings = {
        row.key: {"value": row.value, "source": row.source, "environment": row.environment}
        for row in _rows(loaded)
    }
    return {
        "fine": True,
        "settings": settings,
        "warnings": loaded.warnings,
        **({"posting": posting(loaded.settings)} if isinstance(loaded, config.Config) else {}),
    }


def _show(loaded: config.Config | CollectorConfig) -> None:
    rows: list[tuple[str, ...]] = [("setting", "tixd.toml", "value", "source")]
    rows += [(row.environment, row.key, _words(row.value), row.source) for row in _rows(loaded)]
    if sys.stdout.isatty():
        _show_on_terminal(rows)
    else:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            print("  ".join(map(str.ljust, cells, widths)).rstrip())
    print()
    for text in loaded.warnings:
        print(f"warning: {text}")
    if isinstance(loaded, config.Config):
        print(posting(loaded.settings))
    print("configuration: fine")


def _show_on_terminal(rows: list[tuple[str, ...]]) -> None:
    from rich import box, console, table, text  # noqa: PLC0415 - slow to import, seldom needed

    terminal = console.Console()
    if terminal.width < WIDE_COLUMNS:
        rows = [(cells[0], *cells[2:]) for cells in rows]
    shown = table.Table(box=box.SIMPLE_HEAD)
    for head in rows[0]:
        shown.add_column(head, overflow="fold", no_wrap=head in ("setting", "tixd.toml"))
    for cells in rows[1:]:
        style = "dim" if cells[-1] == "default" else "bold"
        shown.add_row(*map(text.Text, cells), style=style)
    terminal.print(shown)


def _words(value: object) -> str:
    if value in (None, ""):
        return "not set"
    return json.dumps(value) if isinstance(value, bool) else str(value)
