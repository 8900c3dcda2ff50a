"""Make the manual pages tixd.1 and tixd-PAGE.7 of the command line and of tixd/manual.

`python man_pages.py FOLDER` writes Markdown as go-md2man reads it: FOLDER/tixd.1.md and so on.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import click

from tixd import __version__, cli
from tixd.commands import manual

#: No table fits: man shows wide ones badly, so each is written as a list.
NO_COLUMNS = 0


def head(name: str, section: int, what: str) -> str:
    """Return the title and the line that apropos looks in."""
    return f'% {name} {section} "" "tixd {__version__}"\n\n# NAME\n{name} - {what}\n\n'


def program() -> str:
    """Return tixd.1: synopsis, options, commands, and the pages of the manual."""
    context = click.Context(cli.tixd, info_name="tixd")
    about, *more = inspect.cleandoc(cli.tixd.help or "").split("\n\n")
    records = [parameter.get_help_record(context) for parameter in cli.tixd.get_params(context)]
    options = [f"**{record[0]}**\n: {record[1]}\n" for record in records if record]
    text = head("tixd", 1, "TiX time processor and GRACC collector")
    text += "# SYNOPSIS\n**tixd** [OPTIONS] [COMMAND [ARGS]...]\n\n# DESCRIPTION\n" + about
    text += "\n\n" + "\n\n".join(part for part in more if "\b" not in part)
    text += "\n\n# OPTIONS\n" + "\n".join(options) + "\n# COMMANDS\nEach says more at --help.\n\n"
    text += "\n".join(f"**{name}**\n: {what}\n" for name, what in cli.COMMANDS.items())
    text += "\n# SEE ALSO\n"
    for name in manual.PAGES:
        text += f"**tixd-{name}**(7)\n: {manual.first_sentence(manual.text(name))}\n\n"
    return text


def page(name: str) -> str:
    """Return a page of the manual as tixd-NAME.7."""
    title, _, rest = manual.fitted(manual.text(name), NO_COLUMNS).partition("\n\n")
    rest = re.sub(r"^(#+) ", lambda found: found[1][1:] + " ", rest, flags=re.MULTILINE)
    link = r"\[[^\]]+\]\((?:\.\./)*(?:tixd/manual/)?([\w-]+)\.md[^)]*\)"
    rest = re.sub(link, r"**tixd-\1**(7)", rest)
    rest = re.sub(r"<!-- .*? -->\n", "", rest)
    title = title.removeprefix("# ")
    return head(f"tixd-{name}", 7, title[0].lower() + title[1:]) + "# DESCRIPTION\n" + rest


def main(folder: Path) -> None:
    """Write every page."""
    (folder / "tixd.1.md").write_text(program())
    for name in manual.PAGES:
        (folder / f"tixd-{name}.7.md").write_text(page(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
