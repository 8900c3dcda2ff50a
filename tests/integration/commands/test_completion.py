"""Completion as bash, zsh and fish do it themselves, with the scripts of `tixd completion`."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import debian
from tests.support.program import until
from tixd import cli

#: Calls the function that the script gives to bash, which says so where a path is wanted.
BASH = """
source <(tixd completion bash)
compopt() { echo "$@"; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(complete -p tixd | grep -o '_[a-z_]*')" tixd
printf '%s\\n' "${COMPREPLY[@]}"
"""

#: What zsh runs first. Control-T writes down what the line has become.
ZSH = """
autoload -U compinit; compinit -D -u; source =(tixd completion zsh)
show() { print -r -- "$BUFFER" >>shown }; zle -N show; bindkey '^T' show
zle-line-init() { print >>shown }; zle -N zle-line-init
"""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, object]:
    """How a shell is started: in a folder of its own, with this tixd in its PATH."""
    (tmp_path / "gracc.toml").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{debian.PLACES}"
    kept = {name: text for name, text in os.environ.items() if not name.startswith("TIX_")}
    environment = {
        **kept,
        "PATH": path,
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "TERM": "dumb",
    }
    return {"cwd": tmp_path, "env": environment}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: ours and the program's."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def said(shell, *command: str) -> list[str]:
    """The lines that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **shell)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("", [*cli.COMMANDS]),
        ("--role ", ["standalone", "dispatcher", "worker", "collector"]),
        ("--role collector -pp", ["-pprof"]),
        ("--role collector ", ["check-config", "health", "probes", "status"]),
        ("-l d", ["DEBUG"]),
        ("-l ./d", ["-o default"]),
        ("-c ", ["-o default"]),
        ("-s ", ["-o dirnames"]),
        ("analyze --format ", ["table", "json", "csv"]),
        ("failed ", ["list", "retry"]),
        ("sample tixd.s", ["tixd.service"]),
        ("manual set", ["settings"]),
        ("completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes_commands_options_and_values(shell, line, completions):
    words = f"tixd {line}".split(" ")
    found = said(shell, debian.program("bash", "bash"), "--norc", "-c", BASH, "_", *words)
    assert sorted(found) == sorted(completions)


@pytest.mark.long
def test_fish_completes_with_the_whole_of_what_each_word_means(shell):
    lines = ("tixd --role w", "tixd -c gr", "tixd -pp", "tixd failed re", "tixd check")
    asked = "; ".join(f"complete -C '{line}'" for line in lines)
    fish = debian.program("fish", "fish")
    found = said(shell, fish, "-N", "-c", f"tixd completion fish | source; {asked}")
    assert [word.split("\t")[0] for word in found] == [
        *("worker", "gracc.toml", "-pprof", "retry", "check-config")
    ]
    assert found[-1] == f"check-config\t{cli.COMMANDS['check-config']}"


@pytest.mark.long
def test_zsh_completes_at_a_terminal(shell, tmp_path, terminal):
    whole = ["tixd check-config", "tixd --role worker", "tixd -pprof", "tixd -c gracc.toml"]
    (tmp_path / ".zshrc").write_text(ZSH)
    (shown := tmp_path / "shown").touch()
    command = (debian.program("zsh", "zsh"), "-o", "noglobalrcs", "-i")
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal[1])
    with (
        subprocess.Popen(command, start_new_session=True, **streams, **shell) as running,
        contextlib.ExitStack() as at_the_end,
    ):
        at_the_end.callback(running.kill)
        until(shown.read_text)
        for number, line in enumerate(("check", "--role w", "-pp", "-c gr"), 2):
            os.write(terminal[0], f"tixd {line}\t\x14\x15".encode())
            until(lambda number=number: shown.read_text().count("\n") == number)
    assert [line.strip() for line in shown.read_text().splitlines()] == ["", *whole]


def test_a_list_of_commands_imports_none_of_them(shell):
    program = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules))\n"
        "from tixd.__main__ import main; main()"
    )
    words = {"COMP_WORDS": "tixd", "COMP_CWORD": "1", "_TIXD_COMPLETE": "bash_complete"}
    shell["env"] |= words
    found = said(shell, sys.executable, "-c", program)
    assert "plain,check-config" in found
    modules = set(found[-1].split())
    assert "tixd.cli" in modules
    assert not modules & {"pydantic", "numpy", "rich", "zmq", "tixd.commands", "tixd.config.loader"}
