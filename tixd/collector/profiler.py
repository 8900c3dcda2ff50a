"""Show what runs in the collector, to find faults: /debug/pprof/.

Rules: only where `-pprof` asks for it; a profile is sampled by a timer of CPU time in this process,
one at a time, and costs nothing while none is taken; its folded stacks ("a;b;c 12") are for
speedscope and flamegraph.pl.
"""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import time
from collections import Counter
from types import FrameType

from aiohttp import web

from tixd.runtime.http_server import Listener, Routes, bind_address, plain_text, serve

#: What to do where another process has the address.
_WHEN_TAKEN = ": -pprof must name one that no other process has"

#: How often a profile looks where the program is, seconds of CPU time.
SAMPLE_SECONDS = 0.005

#: How long a profile takes where the request does not say.
DEFAULT_SECONDS = 30

#: Longest profile.
MAX_SECONDS = 300

#: How many different stacks a profile keeps.
MAX_STACKS = 5000

#: What stands for all further stacks.
OTHER_STACKS = "(others)"

#: How often a profile looks whether its client is still there, seconds.
CLIENT_CHECK_SECONDS = 0.5

#: Where all of it is.
ROOT = "/debug/pprof/"

_INDEX = """<!DOCTYPE html><title>tixd</title><ul>
<li><a href="cmdline">cmdline</a>: how this process was started
<li><a href="profile?seconds=30">profile</a>: where CPU time goes, as folded stacks
<li><a href="goroutine">goroutine</a>: stacks of everything that runs
</ul>
"""


class Profiler:
    """Counts stacks while a profile is taken."""

    def __init__(self) -> None:
        self._stacks: Counter[str] = Counter()
        self._busy = False

    async def profile(self, request: web.BaseRequest) -> web.Response:
        """Answer with the folded stacks of the next `seconds`; 429 while another is taken."""
        wanted = request.query.get("seconds", str(DEFAULT_SECONDS))
        if not (wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= MAX_SECONDS):
            return plain_text(f"seconds must be a number from 1 to {MAX_SECONDS}\n", 400)
        if self._busy:
            return plain_text("another profile is being taken\n", 429)
        self._busy = True
        self._stacks = Counter()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
        try:
            await _wait_for_end(request, int(wanted))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._busy = False
        lines = (f"{stack} {count}\n" for stack, count in self._stacks.most_common())
        return plain_text("".join(lines))

    def _sample(self, _: int, frame: FrameType | None) -> None:
        names = []
        while frame:
            code = frame.f_code
            names.append(f"{code.co_qualname} ({code.co_filename}:{code.co_firstlineno})")
            frame = frame.f_back
        stack = ";".join(reversed(names))
        is_known = stack in self._stacks or len(self._stacks) < MAX_STACKS
        self._stacks[stack if is_known else OTHER_STACKS] += 1


async def _wait_for_end(request: web.BaseRequest, seconds: float) -> None:
    """Wait this long, or until the client disconnects."""
    end = time.monotonic() + seconds
    while request.transport and (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, CLIENT_CHECK_SECONDS))


async def _index(_: web.BaseRequest) -> web.Response:
    return web.Response(text=_INDEX, content_type="text/html", charset="utf-8")


async def _command_line(_: web.BaseRequest) -> web.Response:
    return plain_text("\0".join(sys.orig_argv))


async def _task_stacks(_: web.BaseRequest) -> web.Response:
    shown = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        task.print_stack(file=shown)
        shown.write("\n")
    return plain_text(shown.getvalue())


def routes() -> Routes:
    """Return the handlers by method and path."""
    return {
        f"GET {ROOT}": _index,
        f"GET {ROOT}cmdline": _command_line,
        f"GET {ROOT}profile": Profiler().profile,
        f"GET {ROOT}goroutine": _task_stacks,
    }


async def listen(address: str) -> Listener:
    """Answer on an address of its own (host:port); raises CannotStart."""
    return await serve(await bind_address(address, when_taken=_WHEN_TAKEN), routes())
