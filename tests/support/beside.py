"""Run pytest beside an installation of tixd that the tests must neither see nor touch.

As root: `python -m tests.support.beside FOLDER ARGUMENTS...`, with arguments of pytest. Network,
/run, /tmp and /etc are private, below FOLDER, so a tixd of the machine itself is not in the way.
There run `tixd` and `tixd --role collector` with default folders and ports. Then a tixd.toml is
written and variables are set that stop the start of any tixd that reads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import made
from tests.support.program import ROOT, until
from tixd import errors
from tixd.config import environment
from tixd.runtime import control

START = 1_700_000_000

#: In namespaces of its own: private folders below $1, in which a checkout below /tmp is seen too,
#: then the rest of the words.
_APART = """
ip link set lo up
mkdir -p "$1/etc" "$1/work" "$1/run" "$1/tmp"
chmod 1777 "$1/tmp"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc
case $PWD in /run/*|/tmp/*) mkdir -p "$1$PWD"; mount --bind . "$1$PWD" ;; esac
mount --rbind "$1/run" /run
mount --rbind "$1/tmp" /tmp
cd "$PWD"
shift
exec "$@"
"""

#: What stands before a command that is to run apart from the machine; the folder comes next.
APART = ("unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", _APART, "sh")

#: Settings of the two that run: no broker is needed, and there is one cycle alone.
_SETTINGS = {
    "TIX_PROCESSING_PERIOD": "60000",
    "GRACC_AMQP_ENABLE": "false",
    "GRACC_FILE_PATH": "/run/records",
}

#: Variables that stop the start of a tixd that reads them, or lead it to the one that runs.
_TRAPS = {
    "CELERY_BEAT_SCHEDULE_DIR": "/tmp/celerybeat-schedule.d",
    "GRACC_TIMEOUT": "never",
    "PROCESSOR_TYPE": "NOBODY",
    "TIX_HTTP_ADDRESS": "localhost:8889",
    "TIX_REPORTS_BASE_PATH": "/tmp/reports",
    "TIX_WORKERS": "many",
    "XDG_RUNTIME_DIR": "/tmp/tixd-0",
}


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Both roles, idle, with one window analysed."""
    made.installation(Path("/tmp/reports"), START)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open("/run/log", "ab"))
        for role in ([], ["--role", "collector"]):
            command = [sys.executable, "-m", "tixd", *role]
            process = subprocess.Popen(command, cwd=ROOT, env=kept | _SETTINGS, stderr=log)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        until(lambda: len(states()) == 2 and all(map(_idle, states())))
        yield


def _idle(state: dict[str, Any]) -> bool:
    """Whether a role runs, has done what there is to do, and has nothing left to say."""
    if state["state"] != "running" or state["role"] == "collector":
        return bool(state["state"] == "running")
    done = state["counts"].get("windows_stored") and not state["open"]
    log = Path("/run/log").read_text()
    return (
        done and "cycle_scanned" in log and log.count("posting_disabled") == len(state["workers"])
    )


def states() -> list[dict[str, Any]]:
    """What each role says of itself."""
    try:
        own = environment.read({}, uid=os.geteuid())
        return control.ask_all(own, "", "GET /status", 10.0)
    except errors.NotRunning:
        return []


def seen() -> dict[str, Any]:
    """What somebody who has touched the two would have changed."""
    with urllib.request.urlopen("http://localhost:8888/stats") as answer:
        stats = json.load(answer)
    folders = ("reports", "celerybeat-schedule.d", f"tixd-{os.geteuid()}")
    found = (path for name in folders for path in sorted(Path("/tmp", name).rglob("*")))
    paths = [path for path in found if not path.name.startswith("history.sqlite")]  # it writes
    return {
        "counts": {str(state["pid"]): state.get("counts") for state in states()},
        "files": {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths},
        "log": Path("/run/log").read_text(),
        "requests": stats["Requests"],
    }


def main() -> None:
    """Run the tests; exit code 0 if they have passed and left the installation as it was."""
    with installed():
        Path("/etc/tixd").mkdir()
        Path("/etc/tixd/tixd.toml").write_text("trap = true\n")
        before = seen()
        command = [sys.executable, "-m", "pytest", "-q", *sys.argv[2:]]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | _TRAPS).returncode
        after = seen()
    changed = [key for key in before if before[key] != after[key]]
    for key in changed:
        sys.stdout.write(f"touched: {key}: {before[key]} is now {after[key]}\n")
    sys.exit(code or bool(changed))


if __name__ == "__main__":
    if os.environ.get("TIXD_APART") != "1":
        words = [*APART, os.path.abspath(sys.argv[1]), sys.executable, "-m", "tests.support.beside"]
        environ = os.environ | {"TIXD_APART": "1"}
        sys.exit(subprocess.run([*words, *sys.argv[1:]], cwd=ROOT, env=environ).returncode)
    main()
