"""Worker processes of a service that do not come further than the start of Python, until let go."""

from __future__ import annotations

from pathlib import Path

#: What Python runs first; multiprocessing says on the command line that it is a worker.
_FIRST = """
import os, sys, time
while "--multiprocessing-fork" in sys.orig_argv and os.path.exists({hold!r}):
    time.sleep(0.01)
"""


class HeldStart:
    """`variables`: those that a service must have for it."""

    def __init__(self, folder: Path) -> None:
        self._hold = folder / "hold-workers"
        self._hold.touch()
        (folder / "first").mkdir()
        (folder / "first" / "sitecustomize.py").write_text(_FIRST.format(hold=str(self._hold)))
        self.variables = {"PYTHONPATH": str(folder / "first")}

    def let_go(self) -> None:
        """Let them start, those to come too."""
        self._hold.unlink()
