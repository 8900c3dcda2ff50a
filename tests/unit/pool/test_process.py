"""What the parent of worker processes leaves to them."""

from __future__ import annotations

import subprocess
import sys


def test_the_parent_of_workers_loads_no_numbers_and_tixd_once_no_server():
    program = "import tixd.commands.once, tixd.pool.pool, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "tixd.pool.process" in loaded, done.stderr
    unwanted = {"numpy", "pywt", "urllib3", "aiohttp", "pika", "tixd.pool.worker_main"}
    assert loaded & unwanted == set()
