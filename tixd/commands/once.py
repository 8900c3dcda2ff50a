"""`tixd once`: one cycle over all installations, then a summary.

In: the reports folder of the settings. Out: results at the tix-api or in failed-results; a summary.
Rules: no leader lock and no cycle state; SIGTERM and Ctrl-C end it after the windows in hand.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

import click

from tixd import logs
from tixd.commands import Invocation
from tixd.commands.bars import bar
from tixd.commands.output import WORDS
from tixd.config.processing import Settings
from tixd.dispatch.cycle import run_cycle
from tixd.dispatch.mounts import check_reports_folder
from tixd.leaving import leave
from tixd.pool.pool import Pool
from tixd.runtime import control, tasks


@click.command(short_help="Process what lies in the reports folder, then end")
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Process every installation in the reports folder once, then end.

    Chooses windows, analyses them, posts the results to the tix-api and deletes what is done with;
    what cannot be posted stays in failed-results and goes out with a later cycle. Ends with exit
    code 0 when the cycle ran, whatever the tix-api said.

    \b
    Example: from a timer, without a daemon
      TIX_REPORTS_BASE_PATH=/srv/reports TIX_API_HOST=api.example.org tixd once
    """
    loaded = invocation.start()
    settings, counts = loaded.settings, Counter[str]()
    check_reports_folder(settings)
    begun = time.monotonic()
    left = asyncio.run(_cycle(settings, control.runtime_folder(loaded.surroundings), counts))
    _show(counts, time.monotonic() - begun)
    if left:
        leave(0)


async def _cycle(settings: Settings, runtime_folder: str, counts: Counter[str]) -> bool:
    """The cycle; a signal ends it early, and the counts say what had been done until then.

    Says whether workers were left behind that could not be ended.
    """
    async with Pool(settings, runtime_folder) as pool:
        stopping: list[asyncio.Future[None]] = []

        def stop() -> None:
            if stopping:
                pool.kill()
            else:
                logs.info("stopping", reason="signal; another one ends it at once")
                stopping.append(tasks.start(pool.stop(settings.stop_seconds), "stop"))

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        with bar("installations") as progress:
            await run_cycle(pool, settings.reports_base_path, counts, progress)
        await (stopping[0] if stopping else pool.stop(settings.stop_seconds))
    return bool(pool.workers)


def _show(counts: Counter[str], seconds: float) -> None:
    print(f"{counts['installations_queued']:>9,}  installations looked at in {seconds:.1f} s")
    for name, words in WORDS.items():
        if counts[name]:
            print(f"{counts[name]:>9,}  {words}")
