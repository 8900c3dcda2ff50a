"""`tixd manual [PAGE]`: the manual, which is shipped with the program.

In: the name of a page. Out: that page, or the list of all. Rules: on a terminal a page is rendered
and shown through a pager, as git does it; elsewhere its Markdown is printed as it is.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import resources

import click
from click.shell_completion import CompletionItem

from tixd.config import values

#: Every page, in the order in which most readers need them.
PAGES = (
    "moving-from-tix-time-processor",
    "moving-from-gracc-collector",
    "systemd",
    "docker",
    "settings",
    "collector",
    "many-hosts",
    "usage-estimators",
    "as-table",
    "monitoring",
    "troubleshooting",
    "signals-and-exit-codes",
    "measured",
    "architecture",
    "releasing",
    "changes",
)

#: Options of less where the user has set none: stop after one screen, keep colours.
LESS_OPTIONS = "-FRX"

#: Columns of a rendered page; longer lines are hard to read.
WIDEST_COLUMNS = 120


def page_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The page that was asked for, also by its file's name; an unknown one ends the command."""
    if value is None:
        return None
    name = value.removesuffix(".md")
    if name in PAGES:
        return name
    near = values.did_you_mean(name, PAGES) or "."
    pages = ", ".join(PAGES)
    raise click.BadParameter(f"no page {values.quoted(value)}{near} The pages are {pages}.")


def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Pages that begin like this."""
    return [CompletionItem(name) for name in PAGES if name.startswith(incomplete)]


@click.command(short_help="Show a page of the manual, or the list of pages")
@click.argument(
    "name", required=False, metavar="[PAGE]", callback=page_name, shell_complete=complete
)
def command(name: str | None) -> None:
    """Show a page of the manual; without PAGE, list all pages.

    \b
    Example: what the lines of the log mean, and what to do
      tixd manual troubleshooting
    """
    if name is None:
        for page in PAGES:
            print(f"{page}\n    {first_sentence(text(page))}")
    elif sys.stdout.isatty():
        _show(text(name))
    else:
        print(text(name), end="")


def text(name: str) -> str:
    """The Markdown of a page."""
    return (resources.files("tixd") / "manual" / f"{name}.md").read_text(encoding="utf-8")


def first_sentence(page: str) -> str:
    """The first sentence below a page's title."""
    paragraph = page.split("\n\n")[1].replace("\n", " ")
    return re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]


def _show(page: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - a page that is piped needs no rich
    from rich.markdown import Markdown  # noqa: PLC0415

    console = Console()
    width = min(console.width, WIDEST_COLUMNS)
    with console.capture() as capture:
        console.print(Markdown(page, hyperlinks=False), width=width)
    os.environ.setdefault("LESS", LESS_OPTIONS)
    click.echo_via_pager(capture.get(), color=True)
