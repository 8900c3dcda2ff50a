"""The calls of tixd that README and manual show, and whether its command line knows their words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import click

from tixd import cli

#: Fenced blocks of commands: no language is named.
_BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")

#: What may stand before the program: variables, docker with its options.
_VARIABLE = re.compile(r"[A-Z_]+=")

#: Images, and the words of tixd that their containers begin with.
_PROGRAMS = {"tixd": (), ".venv/bin/tixd": (), "tixd-collector": ("--role", "collector")}

#: A placeholder: FILE, LEVEL, HOST:PORT, user's own words in capitals.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z:.]*")


def shown_commands(text: str) -> set[tuple[str, ...]]:
    """The words behind `tixd` in every command of a page; alternatives are commands each."""
    blocks = _BLOCK.findall(text)
    spans = _SPAN.findall(_BLOCK.sub("", text).replace("\\|", "|"))
    lines = [*itertools.chain.from_iterable(block.splitlines() for block in blocks), *spans]
    parts = (part for line in lines for part in re.split(r"; | > | && ", line))
    return {words for part in parts for words in _calls(part)}


def _calls(line: str) -> Iterator[tuple[str, ...]]:
    """The words behind the program, once for each choice that the line offers."""
    call = re.split(r"\s{2,}|\s#", line.strip(), maxsplit=1)[0]
    words = re.sub(r"[\[\]]", "", call).replace("...", "").split()
    while words and _VARIABLE.match(words[0]):
        del words[0]
    is_docker = words[:2] in (["docker", "exec"], ["docker", "run"])
    programs = [n for n, word in enumerate(words) if word in _PROGRAMS and (n == 0 or is_docker)]
    if programs:
        last = programs[-1]
        choices = [word.split("|") for word in (*_PROGRAMS[words[last]], *words[last + 1 :])]
        yield from itertools.product(*choices)


def unknown_words(words: Sequence[str]) -> str:
    """What tixd's command line does not know of these words; "" if it knows them all.

    An option at the end may be named without its value.
    """
    try:
        _parse(cli.tixd, list(words))
    except click.BadOptionUsage as error:
        is_named = words[-1].startswith("--") and "requires an argument" in error.message
        return "" if is_named else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    return ""


def _parse(command: click.Command, words: list[str]) -> None:
    """Parse the words as a call does, without looking at files or doing anything."""
    context = click.Context(command, info_name="tixd")
    values, rest, _ = command.make_parser(context).parse_args(words)
    for option in command.params:
        _check(option, values.get(option.name or ""), context)
    if isinstance(command, click.Group) and rest:
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"no command {rest[0]}")
        _parse(found, rest[1:])
    elif rest:
        raise click.UsageError(f"too many words: {rest}")


def _check(option: click.Parameter, value: object, context: click.Context) -> None:
    """A value out of a list is one of the list; a page of the manual is one that there is."""
    given = value if isinstance(value, list | tuple) else [value]
    for text in given:
        if isinstance(text, str) and not _PLACEHOLDER.fullmatch(text):
            if isinstance(option.type, click.Choice):
                option.type.convert(text, option, context)
            elif option.name == "name" and option.callback:
                option.callback(context, option, text)
