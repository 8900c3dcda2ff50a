"""Progress bars of the commands: on a terminal only, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(what: str, *, share: bool = False) -> Iterator[Callable[[int, int], object]]:
    """A bar on a terminal, nothing elsewhere; yields what is to be told how much is done, of what.

    share: show per cent instead of the two numbers.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import console, progress  # noqa: PLC0415 - slow to import, needed on a terminal only

    columns = (
        progress.TextColumn(what, markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn() if share else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True)) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
