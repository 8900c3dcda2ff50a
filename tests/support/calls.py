"""Count the system calls that worker processes of a program make through tixd's modules.

Counted are calls of Python's modules for files, by name: `open`, `read`, `unlink`, `flock`. They
are exact, unlike times and unlike what memory, threads and sockets ask of the kernel. What belongs
to waiting is left out, because chance decides how often it happens: tixd.pool, event descriptors.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.support.program import ROOT, once

#: What Python runs first; multiprocessing says on the command line that it is a worker.
_FIRST = """
import sys
if "--multiprocessing-fork" in sys.orig_argv:
    import json
    from collections import Counter
    from multiprocessing import util

    seen = Counter()

    def note(frame, event, function):
        if event == "c_call" and function.__module__ in ("posix", "fcntl", "_io", "io"):
            file, name = frame.f_code.co_filename, function.__name__
            is_own = file.startswith({tixd!r}) and not file.startswith({pool!r})
            seen[name] += is_own and not name.startswith("eventfd")

    def write():
        with open({counts!r}, "w") as file:
            json.dump(+seen, file)

    util.Finalize(None, write, exitpriority=0)
    sys.setprofile(note)
"""


def calls_of_once(base: Path, state: Path, api_port: int) -> Counter[str]:
    """The calls of the one worker of `tixd once`; state: an empty folder."""
    counts, tixd = state / "counts.json", f"{ROOT}/tixd/"
    program = _FIRST.format(counts=str(counts), tixd=tixd, pool=f"{tixd}pool/")
    (state / "sitecustomize.py").write_text(program)
    ended = once(base, api_port, PYTHONPATH=str(state))
    assert ended.code == 0, ended.text
    return Counter(json.loads(counts.read_text()))
