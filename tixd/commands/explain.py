"""`tixd explain [WORD]`: what a word of the results means: a section of the manual's glossary."""

from __future__ import annotations

import os
import sys

import click
from click.shell_completion import CompletionItem

from tixd.commands import manual, output
from tixd.config import values
from tixd.glossary import meaning, other_words, sections


def find(word: str) -> str:
    """Return the section on a word, its title or another one; an unknown one is refused."""
    if word == os.path.expanduser("~"):
        word = "~"  # a mark, as a shell passes it without quotes
    by_word: dict[str, str] = {}
    for title, section in sections().items():
        for each in (title, *other_words(section)):
            by_word.setdefault(_plain(each), section)
    plain = _plain(word)
    for each in (plain, plain.removeprefix("up_"), plain.removeprefix("down_")):
        if each in by_word:
            return by_word[each]
    near = values.did_you_mean(plain, by_word) or "."
    raise click.BadParameter(
        f"no word {values.quoted(word)}{near} The words are {', '.join(sections())}."
    )


def _plain(word: str) -> str:
    """Return a word as it is looked up: without case or a last dot, and blanks for hyphens."""
    return " ".join(word.casefold().replace("-", " ").split()).removesuffix(".")


def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the title of a section."""
    titles = (title.lower() for title in sections())
    return [CompletionItem(title) for title in titles if title.startswith(incomplete.lower())]


@click.command()
@click.argument("words", required=False, nargs=-1, metavar="[WORD]", shell_complete=complete)
def command(words: tuple[str, ...]) -> None:
    """Say what a word in the results means; without WORD, list the words.

    Headings of tables, their marks, columns of CSV and members of JSON are words too. All are in
    `tixd manual glossary`.

    \b
    Examples: quality; why a Hurst estimate is above 1; what a question mark means
      tixd explain quality
      tixd explain wavelet
      tixd explain "?"
    """
    if words:
        _print(find(" ".join(words)))
        return
    output.print_entries((title.lower(), meaning(part)) for title, part in sections().items())


def _print(section: str) -> None:
    if sys.stdout.isatty():
        click.echo(manual.rendered(section), nl=False)
    else:
        print(manual.without_comments(section), end="")
