"""The command line of the soak: a process for each role, one table and one JSON file at the end."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soaking import plan, tables
from soaking.output import say

#: Every role that can be soaked.
ROLES = ("standalone", "hosts", "collector")

ROOT = Path(__file__).parents[2]


def main(words: Sequence[str]) -> int:
    """Run what the words ask for; the exit code."""
    if words[:1] == ["fuzz"]:
        from soaking import fuzz

        return fuzz.main(words[1:])
    options = _options(words)
    if not _roles(options):
        sys.stderr.write(
            f"scripts/soak: no fault of these roles has {options.fault!r} in its name: see --list\n"
        )
        return 2
    if options.list:
        return _print_plans(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end all that was started
    if options.role == "all":
        return _all(options)
    return _one(options)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=10.0, help="10 by default")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="which faults, and when")
    parser.add_argument("--role", choices=(*ROLES, "all"), default="all")
    parser.add_argument("--fault", help="only faults whose name has this text")
    parser.add_argument("--list", action="store_true", help="print the faults of the seed and end")
    parser.add_argument("--json", type=Path, default=None, help="where the figures go")
    return parser.parse_args(words)


def _roles(options: argparse.Namespace) -> list[str]:
    """Return the selected roles that have a matching fault."""
    asked = ROLES if options.role == "all" else (options.role,)
    return [role for role in asked if any(_plans(options, role))]


def _plans(options: argparse.Namespace, role: str) -> Sequence[Sequence[plan.Planned]]:
    from soaking.kinds import FAULTS

    wanted = [fault for fault in FAULTS if (options.fault or "") in fault.name]
    return plan.planned(wanted, role, options.seed, options.minutes)


def _print_plans(options: argparse.Namespace) -> int:
    for role in _roles(options):
        for half, faults in enumerate(_plans(options, role), 1):
            for one in faults:
                sys.stdout.write(f"{role}  {half}.{one.number}  {one.fault.name}\n")
    return 0


def _all(options: argparse.Namespace) -> int:
    """Each role in a process of its own, at the same time."""
    roles = _roles(options)
    say(f"seed {options.seed}, {options.minutes:g} minutes of each role at once")
    with tempfile.TemporaryDirectory(prefix="tixd-soak-") as folder:
        running = {role: _start(options, role, Path(folder)) for role in roles}
        try:
            codes = {role: process.wait() for role, process in running.items()}
        finally:
            for process in running.values():
                process.terminate()
        reports = [
            json.loads(Path(folder, f"{role}.json").read_text())
            for role in roles
            if Path(folder, f"{role}.json").exists()
        ]
        for role in roles:
            shutil.copy(Path(folder, f"{role}.log"), Path(tempfile.gettempdir()))
    ended = [f"{role}: exit code {code}" for role, code in codes.items() if code not in (0, 1)]
    return _tell(options, reports, ended)


def _start(options: argparse.Namespace, role: str, folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "scripts/soak.py", str(options.minutes), "--role", role]
    words += ["--seed", str(options.seed), "--json", str(folder / f"{role}.json")]
    words += ["--fault", options.fault] if options.fault else []
    log = folder / f"{role}.log"
    say(f"{role}: its faults as they come are in {log}")
    with log.open("wb") as out:
        return subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)


def _one(options: argparse.Namespace) -> int:
    """Soak one role in this process."""
    from soaking.collecting_records import collector
    from soaking.looker import Looker
    from soaking.processing import hosts, standalone
    from soaking.watch import Watch
    from soaking.world import Report, counts_by_fault, run

    worlds: dict[str, Any] = {"standalone": standalone, "hosts": hosts, "collector": collector}
    began = time.strftime("%Y-%m-%d %H:%M")
    report = Report(options.role, options.seed, options.minutes, began)
    say(f"{options.role}: seed {options.seed}, {options.minutes:g} minutes")
    with _folder(report) as folder, worlds[options.role](report, folder) as world:
        watch, looker = Watch(world.pids), Looker(world.addresses)
        watch.start()
        looker.start()
        run(world, _plans(options, options.role), options.minutes)
        looker.stop()
        watch.stop()
        world.finish()
        report.problems += looker.problems()
        if orphans := world.orphans():
            report.problems.append(f"worker processes outlive their parents: {orphans}")
        report.figures["load"] = round(statistics.median(world.loads or [0.0]), 1)
        report.figures["pages"] = {str(status): n for status, n in looker.statuses.items()}
        report.growths = watch.growths()
    told = report.as_json() | {
        "faults": counts_by_fault(report.done),
        "events": dict(sorted(world.events.items())),
        "broken": report.broken(),
    }
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))
        return 1 if told["broken"] else 0
    return _tell(options, [told], [])


@contextlib.contextmanager
def _folder(report: Any) -> Any:
    """A folder with a short name, which stays where a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["TMPDIR"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop("TMPDIR")
        if not report.broken():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs and state are kept in {folder}")


def _tell(options: argparse.Namespace, reports: list[dict[str, Any]], ended: list[str]) -> int:
    """Print the table and write the file; the exit code."""
    file = options.json or Path(tempfile.gettempdir()) / f"tixd-soak-{options.seed}.json"
    file.write_text(json.dumps(reports, indent=1))
    for line in tables.lines(reports):
        say(line)
    broken = [f"{r['role']}: {problem}" for r in reports for problem in r["broken"]] + ended
    for problem in broken:
        say(f"BROKEN  {problem}")
    say(f"figures: {file}")
    again = f"scripts/soak {options.minutes:g} --seed {options.seed}"
    again += f" --role {options.role}" if options.role != "all" else ""
    again += f" --fault {options.fault!r}" if options.fault else ""
    say(f"the same faults again: {again}")
    return 1 if broken or not reports else 0
