"""The command line: options that every command shares, and commands imported when called.

Exit codes: 0 done, 1 unexpected, 2 configuration or usage, 3 cannot start. Rules: an operator's
error is one line on standard error and no traceback; `--help`, the list of commands and completions
import no command and read no settings, so that they answer at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import traceback
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

import click
from click.shell_completion import CompletionItem

from tixd import __version__, bounded, errors
from tixd.config.settings import Settings
from tixd.runtime import signal_masks

if TYPE_CHECKING:
    from tixd.commands import Invocation

#: Commands, and what the list of commands says of each; `check-config` is `command` in the module
#: tixd.commands.check_config.
COMMANDS = MappingProxyType(
    {
        "once": "Process every installation in the reports folder once",
        "analyze": "Analyse report folders without changing them",
        "explain": "Say what a word in the results means",
        "simulate": "Make reports of lines whose usage is known",
        "probes": "Show what each probe sent to the collectors here",
        "installations": "Show how each installation is, and which are silent",
        "why": "Say why an installation has no results, or which it has",
        "status": "Show what the tixd that runs here does",
        "health": "Say whether the tixd that runs here can work",
        "failed": "List or retry results that could not be posted",
        "asn": "Build or query the table of autonomous systems (AS)",
        "sample": "Print files for systemd, Prometheus and others",
        "manual": "Show a page of the manual",
        "completion": "Print a shell completion script",
        "check-config": "Show every setting, its source, and what is wrong",
    }
)

#: The role with settings and options of its own, and the commands that it has.
COLLECTOR = "collector"
COLLECTOR_COMMANDS = ("check-config", "health", "probes", "status")

#: Words of -l that are a level: Python's and Celery's.
LEVELS = frozenset({"DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"})

#: Words of the collector's -l that are a level.
COLLECTOR_LEVELS = LEVELS | {"PANIC"}

#: Longest line about an error; a path may have 4096 characters, and more stands beside it.
MAX_CHARACTERS = 5000

#: The usual file of Celery's -s; recognised as a file even where it does not exist.
CELERY_SCHEDULE_FILE = "celerybeat-schedule"

_HELP = MappingProxyType({field.name: field.metadata["help"] for field in fields(Settings)})


class LazyGroup(click.Group):
    """The commands, each imported when it is called and not before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(commands={name: click.Command(name) for name in COMMANDS}, **options)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None where there is none of that name."""
        if super().get_command(ctx, cmd_name) is None:
            return None
        module = importlib.import_module(f"tixd.commands.{cmd_name.replace('-', '_')}")
        return cast(click.Command, module.command)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; on a terminal what is wrong with its words breaks between words."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            from tixd.commands import output  # noqa: PLC0415 - --help needs no output

            label = "Error: "
            words = self._misplaced(error) or error.format_message()
            text = "\n".join(output.fold([label + words], indent=2))
            raise click.UsageError(text.removeprefix(label), error.ctx) from error

    def _misplaced(self, error: click.UsageError) -> str | None:
        """Say where an option belongs that stands behind the command; None for other mistakes."""
        if not isinstance(error, click.NoSuchOption) or not error.ctx:
            return None
        given, command = error.option_name, error.ctx.command_path.partition(" ")[2]
        for option in (name for parameter in self.params for name in parameter.opts):
            # Of -pprof click tells the first letter alone.
            if given == option or (given == option[:2] and not option.startswith("--")):
                return f"{option} stands before the command: tixd {option} ... {command}"
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in _names(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete commands and options without importing a command."""
        names = [name for name in _names(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def _names(context: click.Context) -> list[str]:
    """List the commands that the role has."""
    is_collector = context.params.get("role") == COLLECTOR
    return list(COLLECTOR_COMMANDS) if is_collector else sorted(COMMANDS)


def complete_role(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete a role."""
    return _beginning(incomplete, *get_args(get_type_hints(Settings)["role"]), COLLECTOR)


def complete_log(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete levels and streams; let the shell complete a file where it is none of these."""
    file = CompletionItem(incomplete, type="file")
    return _beginning(incomplete, *sorted(LEVELS), "stderr", "stdout") or [file]


def complete_folder(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell complete a folder."""
    return [CompletionItem(incomplete, type="dir")]


def _beginning(incomplete: str, *words: str) -> list[CompletionItem[str]]:
    """Return the words that begin like this, in any letter case."""
    return [CompletionItem(w) for w in words if w.lower().startswith(incomplete.lower())]


def _without_number(_: click.Context, __: click.Parameter, role: str | None) -> str | None:
    """Take collector-2, which the instance tixd@collector-2 gives as its role, as collector."""
    return role and re.sub(r"-[0-9]+$", "", role)


def _after_equals(_: click.Context, option: click.Parameter, value: Any) -> Any:
    """Take -c=FILE and -l=FILE as -c FILE and -l FILE, as gracc-collector did."""
    if isinstance(value, tuple):
        return tuple(word.removeprefix("=") for word in value)
    bare = value and value.removeprefix("=")
    return Path(bare) if bare and option.name == "file" else bare


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="tixd %(version)s")
@click.option(
    "--role",
    metavar="ROLE",
    shell_complete=complete_role,
    callback=_without_number,
    help="standalone, dispatcher, worker or collector, also with a number, as collector-1; "
    + _HELP["role"],
)
@click.option(
    "-c",
    "--c",
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(readable=False),
    callback=_after_equals,
    help="tixd.toml; else /etc/tixd/tixd.toml; for the collector also gracc-collector's file",
)
@click.option(
    "-s",
    "--schedule-dir",
    metavar="DIR",
    shell_complete=complete_folder,
    help=_HELP["schedule_dir"] + ", or a file in it",
)
@click.option(
    "-l",
    "--l",
    "--log",
    "log",
    metavar="LEVEL|stderr|stdout|FILE",
    multiple=True,
    shell_complete=complete_log,
    callback=_after_equals,
    help="level or destination of the log; may be given twice, once for each",
)
@click.option(
    "-pprof",
    "--pprof",
    metavar="on|HOST:PORT",
    help="collector: what runs, under /debug/pprof/, here or on an address of its own",
)
@click.pass_context
def tixd(
    context: click.Context,
    role: str | None,
    file: Path | None,
    schedule_dir: str | None,
    log: tuple[str, ...],
    pprof: str | None,
) -> None:
    """Turn TiX packet timing reports into line usage, quality and Hurst results, and post them.

    Without a command tixd is the service: it runs in the foreground until a signal ends it.

    Settings come from these options, the environment and tixd.toml; `tixd check-config` shows
    them all. The options below stand before the command. New to TiX: `tixd manual start`. What a
    word in the results means: `tixd explain`. `tixd manual` has everything else.

    \b
    Examples: the service; the collector; one cycle, with the log at level DEBUG
      TIX_REPORTS_BASE_PATH=/srv/reports tixd
      tixd --role collector -c gracc.toml
      TIX_REPORTS_BASE_PATH=/srv/reports tixd -l DEBUG once
    """
    from tixd.commands import Invocation  # noqa: PLC0415 - --help needs no settings

    if context.invoked_subcommand is not None:
        signal_masks.is_command()
    if role == COLLECTOR:
        _collect(context, file, log, schedule_dir, pprof or "")
        return
    if pprof is not None:
        raise click.UsageError("-pprof is for --role collector")
    options = _log_options(log, LEVELS)
    if role is not None:
        options["role"] = role
    if schedule_dir is not None:
        options["schedule_dir"] = _schedule_folder(schedule_dir)
    if "log_level" in options:
        logging.getLogger("tixd").setLevel(options["log_level"].upper())
    context.obj = Invocation(options, file)
    if context.invoked_subcommand is None:
        _run_service(context.obj)


def _run_service(invocation: Invocation) -> None:
    """Run the role that the settings name, until a signal ends it."""
    from tixd import roles  # noqa: PLC0415 - --help needs no service

    roles.live(invocation.start(schedules=True), invocation.load)


def _collect(
    context: click.Context,
    file: Path | None,
    log: tuple[str, ...],
    schedule_dir: str | None,
    pprof: str,
) -> None:
    """Run the collector, or leave its settings to one of its commands."""
    from tixd.commands import CollectorInvocation  # noqa: PLC0415 - --help needs no settings

    if context.invoked_subcommand not in (None, *COLLECTOR_COMMANDS):
        raise click.UsageError(f"--role collector has no command {context.invoked_subcommand}")
    if schedule_dir is not None:
        raise click.UsageError("-s is not for --role collector, which has no schedule")
    context.obj = CollectorInvocation(_log_options(log, COLLECTOR_LEVELS), file)
    profiler_address = _profiler_address(pprof)
    if context.invoked_subcommand is None:
        from tixd.roles import collector  # noqa: PLC0415 - only this role pays for it

        collector.run(context.obj.start(), context.obj.load, profiler_address)


def _profiler_address(text: str) -> str:
    """Return where -pprof wants its pages: "", "on", or host:port, of all hosts without a host."""
    from tixd.config import values  # noqa: PLC0415 - --help needs no settings

    try:
        return text if text in ("", "on") else values.host_and_port(text, "on", host_needed=False)
    except ValueError as error:
        raise click.UsageError(f"-pprof {values.quoted(text)}: {error}") from None


def _schedule_folder(path: str) -> str:
    """Return the folder that -s names; Celery's -s names a file, which need not exist yet."""
    if os.path.isfile(path) or os.path.basename(path) == CELERY_SCHEDULE_FILE:
        return os.path.dirname(path) or "."
    return path


def _log_options(words: tuple[str, ...], levels: frozenset[str]) -> dict[str, str]:
    """Return the settings that -l means, each at most once; the collector's may be any file."""
    options: dict[str, str] = {}
    for word in words:
        name = "log_level" if word.upper() in levels else "log_file"
        is_plain = word not in ("stdout", "stderr") and not set(word) & set("./")
        if name == "log_file" and is_plain and levels is LEVELS:
            raise click.UsageError(
                f"-l {word}: not a level (DEBUG, INFO, WARNING, ERROR or CRITICAL); for a file of "
                f"that name write ./{word}"
            )
        if name in options:
            what = "level" if name == "log_level" else "destination"
            raise click.UsageError(f"-l names two {what}s: {options[name]} and {word}")
        options[name] = word
    return options


def run() -> None:
    """Run the command line and end the process."""
    sys.excepthook = _report_unexpected
    try:
        tixd(prog_name="tixd")
    except errors.OperatorError as error:
        from tixd.commands import output  # noqa: PLC0415 - --help needs no output

        what = "cannot start: " if isinstance(error, errors.CannotStart) else ""
        for line in str(error).splitlines():
            shown = bounded.text(line, MAX_CHARACTERS)
            output.print_note(f"{_priority()}tixd: {what}{shown}")
        sys.exit(error.exit_code)


def _priority() -> str:
    """Return what tells journald, where it reads standard error, that the operator must act."""
    from tixd import logs  # noqa: PLC0415 - --help needs no log
    from tixd.config import environment  # noqa: PLC0415 - --help needs no log

    stream = environment.read(os.environ, uid=os.geteuid()).journal_stream
    return logs.MUST_ACT if logs.form_for("auto", "stderr", stream) == "journald" else ""


def _report_unexpected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print one line about an unexpected error; Python ends with exit code 1 after it."""
    if logging.getLogger("tixd").getEffectiveLevel() <= logging.DEBUG:
        traceback.print_exception(kind, error, trace)
    what = str(error) if isinstance(error, errors.TixdError) else bounded.error(error)
    line = " ".join(bounded.text(what, MAX_CHARACTERS).split())
    click.echo(f"tixd: {line} (-l DEBUG shows where)", err=True)
