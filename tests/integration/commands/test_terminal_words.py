"""Help and complaints in a terminal of 80 columns: no line breaks within a word."""

import importlib
from collections.abc import Iterator

import click
import pytest

from tests.support.terminal import screen
from tixd.cli import COMMANDS, tixd

COLUMNS = 80


def commands() -> Iterator[tuple[str, click.Command]]:
    yield "tixd", tixd
    for name in COMMANDS:
        command = importlib.import_module(f"tixd.commands.{name.replace('-', '_')}").command
        yield name, command
        for sub in getattr(command, "commands", {}).values():
            yield f"{name} {sub.name}", sub


@pytest.mark.parametrize("command", [pytest.param(found, id=name) for name, found in commands()])
def test_no_line_of_help_is_wider_than_a_terminal(command):
    context = click.Context(command, terminal_width=COLUMNS, max_content_width=COLUMNS)
    assert [line for line in command.get_help(context).splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize(
    ("words", "code", "remedy"),
    [
        pytest.param(["-c", "old.cfg"], 2, "add --role collector", id="file of another program"),
        pytest.param(["installations", "--silent", "soon"], 2, "30m, 2h or 1h30m", id="duration"),
        pytest.param(["explain", "nonsense"], 2, "The words are Window,", id="no such word"),
        pytest.param(["health"], 1, "or as root", id="nothing runs"),
    ],
)
def test_a_complaint_breaks_between_words(tmp_path, words, code, remedy):
    (tmp_path / "old.cfg").write_text('address = "localhost"\nport = "8080"\n[AMQP]\nhost = "mq"\n')
    seen = screen(*words, columns=COLUMNS, cwd=tmp_path, environment={"TMPDIR": str(tmp_path)})
    assert (seen.code, seen.faults) == (code, [])
    assert remedy in " ".join(seen.text.split())
