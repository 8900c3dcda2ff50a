"""A worker process that fails outside a job leaves an event in the log, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from tixd.pool import worker_main
from tixd.config.settings import Settings
worker_main.main("nowhere://", b"worker-1", Settings(log_format="json", log_file=sys.argv[1]), None)
"""


def test_a_worker_that_fails_outside_a_job_says_so_in_the_log_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", PROGRAM, str(log)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    events = {line["event"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert "sockets.py:" in events["worker_failed"]["at"]
