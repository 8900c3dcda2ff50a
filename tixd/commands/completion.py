"""`tixd completion SHELL`: a script that lets a shell complete commands, options and values.

Rules: the script calls `tixd` for each completion, so it need not be made again with a new version;
a comment in it says where to put it.
"""

from __future__ import annotations

from types import MappingProxyType

import click
from click.shell_completion import get_completion_class

#: Shells, and where each one looks for such a script: for everybody, and for one user.
PLACES = MappingProxyType(
    {
        "bash": (
            "/usr/share/bash-completion/completions/tixd",
            "~/.local/share/bash-completion/completions/tixd",
        ),
        "zsh": ("/usr/local/share/zsh/site-functions/_tixd", "a folder of $fpath, as _tixd"),
        "fish": ("/etc/fish/completions/tixd.fish", "~/.config/fish/completions/tixd.fish"),
    }
)

#: The variable that tells the program to answer a shell, as click names it after the program.
VARIABLE = "_TIXD_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice([*PLACES]), metavar="bash|zsh|fish")
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and their values.

    \b
    Example: for everybody who uses bash
      tixd completion bash > /usr/share/bash-completion/completions/tixd
    """
    script = get_completion_class(shell)(context.find_root().command, {}, "tixd", VARIABLE)  # type: ignore[misc]
    everybody, one = PLACES[shell]
    # fish would cut the help of a word at its first comma.
    text = script.source().replace('string split "," ', 'string split --max 1 "," ')
    # zsh looks at the first line alone to see what a file completes: the comment stands below.
    print(text)
    print(f"# Where to put this: {everybody}\n# or, for one user: {one}; then open a new shell.")
