"""The group of commands: each imported when it is called, and what a shell completes before it.

In: names of commands, what stands on the line so far. Out: commands, completions. Rules: neither a
list of commands nor a completion imports one that is not called; nothing here reads settings.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast, get_args, get_type_hints

import click
from click.shell_completion import CompletionItem

from tixd.config.processing import Settings

#: The role that is no processing role, and has settings and options of its own.
COLLECTOR = "collector"

#: Words of -l that are a level: Python's and Celery's.
LEVELS = frozenset({"DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"})


class LazyGroup(click.Group):
    """Commands by name, each imported when it is called and not before.

    catalogue: where each one is, and what the list of commands says of it.
    """

    def __init__(self, *, catalogue: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(commands={name: click.Command(name) for name in catalogue}, **options)
        self._catalogue = catalogue

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None where there is none of that name."""
        if super().get_command(ctx, cmd_name) is None:
            return None
        module, _, attribute = self._catalogue[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._catalogue[name][1]) for name in self._names(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Commands and options that begin like this, without importing a command."""
        found = [
            CompletionItem(name, help=self._catalogue[name][1])
            for name in self._names(ctx)
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _names(self, ctx: click.Context) -> list[str]:
        """The commands that can stand after what stands there."""
        names = self.list_commands(ctx)
        return ["check-config"] if ctx.params.get("role") == COLLECTOR else names


def complete_role(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The roles that begin like this."""
    return _beginning(incomplete, *get_args(get_type_hints(Settings)["role"]), COLLECTOR)


def complete_log(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Levels, streams, or a file where the word is none of these."""
    return _beginning(incomplete, *sorted(LEVELS), "stderr", "stdout") or _path(incomplete, "file")


def complete_file(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """A file."""
    return _path(incomplete, "file")


def complete_folder(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """A folder."""
    return _path(incomplete, "dir")


def _beginning(incomplete: str, *words: str) -> list[CompletionItem[str]]:
    """The words that begin like this, in whatever case."""
    return [CompletionItem(w) for w in words if w.lower().startswith(incomplete.lower())]


def _path(incomplete: str, kind: str) -> list[CompletionItem[str]]:
    """The shell completes a path by itself when it is told to."""
    return [CompletionItem(incomplete, type=kind)]
