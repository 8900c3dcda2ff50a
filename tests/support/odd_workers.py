"""Worker processes that misbehave: each function here can take the place of `worker.main`.

What they do depends on what they are given, so that a test needs no hook in tixd: on the type of a
report ("exit", "segfault", …), or on files in the reports folder (`hold`, `broken`, `once-…`).

As a program (python -m tests.support.odd_workers FUNCTION COMMAND): run this command of tixd with
such workers.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tixd.config.settings import Settings
from tixd.pool.board import Writer

#: What a worker does to itself when it analyses observations of this packet size.
DEEDS = {
    661: lambda: os._exit(1),
    662: lambda: os.kill(os.getpid(), signal.SIGSEGV),
    663: lambda: os.kill(os.getpid(), signal.SIGABRT),
    664: lambda: {}["nothing"],
    665: lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def deeds(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Does to itself what the packet size of the observations says (see DEEDS)."""
    from tixd import installation

    def summarise(observations: Any, *how: Any, **more: Any) -> Any:
        DEEDS.get(int(observations["size"][0]), lambda: None)()
        return ordinary(observations, *how, **more)

    ordinary, installation.summarise = installation.summarise, summarise
    _main(endpoint, identity, settings, board)


def crashes_in_reading(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Crashes when it decodes a report that says CRASH."""
    from tixd.reports import spool

    def decode_many(files: Any) -> Any:
        if any(b"CRASH" in content for _, content in files):
            os.kill(os.getpid(), signal.SIGSEGV)
        return ordinary(files)

    ordinary, spool.decode_many = spool.decode_many, decode_many
    _main(endpoint, identity, settings, board)


def holds(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Analyses nothing while there is a file `hold` in the reports folder.

    `hold-SECOND` and `hold-SIZE` hold up only what begins in that second, or has packets of that
    size.
    """
    from tixd import installation

    def summarise(observations: Any, *how: Any, **more: Any) -> Any:
        first = observations[0]
        _wait(settings, "hold", f"hold-{first['second']}", f"hold-{first['size']}")
        return ordinary(observations, *how, **more)

    ordinary, installation.summarise = installation.summarise, summarise
    _main(endpoint, identity, settings, board)


def lacks_memory(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """May take, once it has loaded everything, 12 MiB of address space more: too little."""
    _limit_memory()
    _main(endpoint, identity, settings, board)


def aborts_without_memory(
    endpoint: str, identity: bytes, settings: Settings, board: Writer
) -> None:
    """The same, and a library in it that ends the process where it gets none."""
    from tixd import installation

    def summarise(*given: Any, **more: Any) -> Any:
        try:
            return ordinary(*given, **more)
        except MemoryError:
            os.abort()

    ordinary, installation.summarise = installation.summarise, summarise
    _limit_memory()
    _main(endpoint, identity, settings, board)


def _limit_memory() -> None:
    from tixd.pool import worker_main

    def serve(*given: Any) -> None:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + 12 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        ordinary(*given)

    ordinary, worker_main._serve = worker_main._serve, serve


def cannot_start(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Ends at once while there is a file `broken` in the reports folder."""
    if os.path.exists(f"{settings.reports_base_path}/broken"):
        raise SystemExit(1)
    _main(endpoint, identity, settings, board)


def stops_once(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """The first of all hangs before it is ready."""
    if _first(settings):
        os.kill(os.getpid(), signal.SIGSTOP)
    _main(endpoint, identity, settings, board)


def garbles_once(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """The first of all answers its first job with bytes that are no message."""
    _odd_once(endpoint, identity, settings, board, b'["phase","dance",null,[],0]')


def out_of_turn_once(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """The first of all answers its first job with a job."""
    _odd_once(endpoint, identity, settings, board, b'["users","/"]')


def garbles(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Answers every job with bytes that are no message."""
    _answer(b"[]")
    _main(endpoint, identity, settings, board)


def says_what_has_no_bytes(
    endpoint: str, identity: bytes, settings: Settings, board: Writer
) -> None:
    """Has a result for every job that cannot be sent."""
    from tixd import jobs
    from tixd.pool import worker_main

    def steps(*_: Any) -> Any:
        yield from ()
        return jobs.JobResult(failure="\udcff")

    worker_main._steps_of = steps
    _main(endpoint, identity, settings, board)


def dies_before_it_begins(
    endpoint: str, identity: bytes, settings: Settings, board: Writer
) -> None:
    """Dies, while there is a file `dying`, when it has got a job and not yet begun it."""
    if os.path.exists(f"{settings.reports_base_path}/dying"):
        board.begin = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    _main(endpoint, identity, settings, board)


def ready_and_gone(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Ends as soon as it is ready."""
    from tixd.jobs import Ready
    from tixd.pool.sockets import WorkerSocket

    parent = WorkerSocket(endpoint, identity, os.pipe()[0])
    parent.send(Ready(os.getpid()))
    parent.close()
    os._exit(7)


def closes_its_files_once(
    endpoint: str, identity: bytes, settings: Settings, board: Writer
) -> None:
    """The first of all closes its files but lives on, as if stuck, while there is `hold`."""
    if _first(settings):
        os.closerange(3, 256)
        _wait(settings, "hold")
        os._exit(0)
    _main(endpoint, identity, settings, board)


def dies_listing(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Crashes at whatever it lists."""
    from tixd.pool import worker_main

    worker_main.list_users = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
    _main(endpoint, identity, settings, board)


def dies_listing_user_2(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Crashes at the folder of one user."""
    from tixd.pool import worker_main

    def list_installations(job: Any, *more: Any) -> Any:
        if 2 in job.user_ids:
            os.kill(os.getpid(), signal.SIGSEGV)
        return ordinary(job, *more)

    ordinary, worker_main.list_installations = worker_main.list_installations, list_installations
    _main(endpoint, identity, settings, board)


def _odd_once(
    endpoint: str, identity: bytes, settings: Settings, board: Writer, frame: bytes
) -> None:
    if _first(settings):
        _answer(frame)
    _main(endpoint, identity, settings, board)


def _answer(frame: bytes) -> None:
    """Answer every job with these bytes."""
    from tixd import jobs
    from tixd.pool import codec, sockets

    sockets.encode = lambda said: frame if isinstance(said, jobs.Done) else codec.encode(said)


def _wait(settings: Settings, *names: str) -> None:
    while any(os.path.exists(f"{settings.reports_base_path}/{name}") for name in names):
        time.sleep(0.002)


def _first(settings: Settings) -> bool:
    """Whether no other worker has come this way before."""
    try:
        Path(settings.reports_base_path, "once").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _main(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    from tixd.pool.worker_main import main

    main(endpoint, identity, settings, board)


def _program(function: str, *command: str) -> None:
    from tixd import __main__ as program
    from tixd.pool import process

    # Processes find the function by its module's name, which is not that of this program.
    process.run_worker = getattr(importlib.import_module(__spec__.name), function)
    sys.argv = ["tixd", *command[command.index("-c") :]]
    program.main()


if __name__ == "__main__":
    _program(*sys.argv[1:])
