"""`tixd manual [PAGE]`: the manual, which is shipped with the program.

On a terminal a page is rendered and shown through a pager, as git does it; elsewhere its Markdown
is printed, without the comments that mark what is made from the code.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import resources
from typing import ClassVar

import click
from click.shell_completion import CompletionItem

from tixd.commands import output
from tixd.config import values

#: Every page, in the order in which most readers need them.
PAGES = (
    "start",
    "glossary",
    "analyze",
    "moving-from-tix-time-processor",
    "moving-from-gracc-collector",
    "packages",
    "systemd",
    "docker",
    "settings",
    "collector",
    "many-hosts",
    "usage-estimators",
    "as-table",
    "page",
    "monitoring",
    "history",
    "troubleshooting",
    "signals-and-exit-codes",
    "measured",
    "cases",
    "security",
    "architecture",
    "releasing",
    "changes",
)

#: Options of less where the user has set none: stop after one screen, keep colours.
LESS_OPTIONS = "-FRX"

#: Columns that rich leaves between two columns of a table, and around them.
GAP_COLUMNS = 3

#: Columns of a rendered page; longer lines are hard to read.
WIDEST_COLUMNS = 120


#: A line that marks the begin or end of a table made from the code.
_COMMENT = re.compile(r"^<!-- .* -->\n", re.MULTILINE)

#: A picture: its words, and its file.
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")


def page_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the page that was asked for, also by its file's name; an unknown one is refused."""
    if value is None:
        return None
    name = value.removesuffix(".md")
    if name in PAGES:
        return name
    near = values.did_you_mean(name, PAGES) or "."
    pages = ", ".join(PAGES)
    raise click.BadParameter(f"no page {values.quoted(value)}{near} The pages are {pages}.")


def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a page."""
    return [CompletionItem(name) for name in PAGES if name.startswith(incomplete)]


@click.command()
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
        output.print_entries((page, first_sentence(text(page))) for page in PAGES)
    elif sys.stdout.isatty():
        _show(text(name))
    else:
        print(without_comments(text(name)), end="")


def without_comments(page: str) -> str:
    """Return the page without its lines that are comments.

    >>> without_comments("One.\\n\\n<!-- sure -->\\n| a |\\n<!-- /sure -->\\n")
    'One.\\n\\n| a |\\n'
    """
    return _COMMENT.sub("", page)


def text(name: str) -> str:
    """Return the Markdown of a page."""
    return (resources.files("tixd") / "manual" / f"{name}.md").read_text(encoding="utf-8")


def first_sentence(page: str) -> str:
    """Return the first sentence below a page's title."""
    paragraph = page.split("\n\n")[1].replace("\n", " ")
    return re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]


def fitted(page: str, columns: int) -> str:
    """Write tables as lists where their longest words need more columns than there are.

    A picture is told of by its words and its file: there is no room for it in a terminal.
    """
    page = _PICTURE.sub(r"(Picture: \1, \2.)", page)
    parts = re.split(r"((?:^\|.*\n)+)", page, flags=re.MULTILINE)
    return "".join(_as_list(part, columns) if part.startswith("|") else part for part in parts)


def _as_list(table: str, columns: int) -> str:
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    widths = [
        max(len(word) for cell in cells for word in cell.split() or [""])
        for cells in zip(head, *rows, strict=True)
    ]
    if sum(widths) + GAP_COLUMNS * len(widths) <= columns:
        return table
    items: list[str] = []
    for first, *others in rows:
        items.append(f"- {first}")
        named = zip(head[1:], others, strict=True)
        items += [f"  - {name}: {cell}".replace("- : ", "- ") for name, cell in named if cell]
    return "\n".join(items).replace("\\|", "|") + "\n"


def rendered(page: str) -> str:
    """Return the page as the terminal shows it; no word of it is cut."""
    from rich import console, markdown, table  # noqa: PLC0415 - a page that is piped needs no rich

    class Folding(markdown.TableElement):
        def __rich_console__(
            self, console: console.Console, options: console.ConsoleOptions
        ) -> console.RenderResult:
            for part in super().__rich_console__(console, options):
                for column in part.columns if isinstance(part, table.Table) else ():
                    column.overflow = "fold"
                yield part

    class Page(markdown.Markdown):
        elements: ClassVar[dict[str, type[markdown.MarkdownElement]]] = {
            **markdown.Markdown.elements,
            "table_open": Folding,
        }

    terminal = console.Console(force_terminal=True)
    width = min(terminal.width, WIDEST_COLUMNS)
    with terminal.capture() as capture:
        terminal.print(Page(fitted(page, width), hyperlinks=False), width=width)
    return capture.get()


def _show(page: str) -> None:
    os.environ.setdefault("LESS", LESS_OPTIONS)
    click.echo_via_pager(rendered(page), color=True)
