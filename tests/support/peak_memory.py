"""Run a program and log, as a JSON line, how much memory the largest of its processes took.

`python -m tests.support.peak_memory PROGRAM ARGUMENT...`; a process of its own, because what is
started from a test begins with the test's own peak.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

if __name__ == "__main__":
    code = subprocess.run(sys.argv[1:]).returncode
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    sys.stderr.write(json.dumps({"event": "peak_memory", "kib": peak_kib}) + "\n")
    sys.exit(code)
