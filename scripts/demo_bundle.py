"""Posts made-up bundles to a collector: `demo_bundle.py PORT ping|good|bad|stats`."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Post, or ask for the counts, and print the answer; fails where nobody answers."""
    sys.path.append(str(ROOT))
    from tests.support.bundles import PING, form, job

    port, what = int(sys.argv[1]), sys.argv[2]
    wrong = f"replication|{job('four').replace('2016-05-27T20:00:00Z', 'yesterday')}|||"
    bodies = {
        "ping": PING,
        "good": form(["one", "two", "three"]),
        "bad": form([], arg1=wrong, bundlesize="1"),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    if what == "stats":
        connection.request("GET", "/stats")
    else:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/gratia-servlets/rmi", bodies[what], kind)
    answer = connection.getresponse()
    sys.stdout.write(f"{answer.status} {answer.read().decode()}\n")


if __name__ == "__main__":
    main()
