"""Prints the posts of the demo beside the truth of its simulations.

Arguments: the folder that holds `<user>/description.yml` of each simulated user, and the file with
one post a line, as tests/support/stand_in_api.py writes it.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

#: A result speaks of this much time before its timestamp (tixd.reports.window.MEANINGFUL_SECONDS).
MEANINGFUL_SECONDS = 600

PART = re.compile(r"- start: (\d+)\n +speed: (\d+)\n +lapse: (\d+)\n")


def usage(text: str, begin: int, end: int) -> float:
    """Mean usage from `begin` to `end`, by one direction's half of a description.yml."""
    full = int(text.partition("connection_speed: ")[2].partition("\n")[0])
    parts = [map(int, part) for part in PART.findall(text)]
    carried = sum(
        speed * max(0, min(end, start + lapse) - max(begin, start)) for start, speed, lapse in parts
    )
    return carried / full / (end - begin)


def main(made: Path, posts: Path) -> int:
    """Print the table; returns 1 where nothing was posted."""
    table = Table("installation", "until (UTC)")
    for heading in ("down simulated", "down posted", "up simulated", "up posted", "down quality"):
        table.add_column(heading, justify="right")
    lines = [json.loads(line) for line in posts.read_text().splitlines()]
    for post in sorted(lines, key=lambda post: (post["user"], post["body"]["timestamp"])):
        body, end = post["body"], post["body"]["timestamp"]
        truth = (made / str(post["user"]) / "description.yml").read_text()
        down, _, up = truth.partition("upstream_connection_speed")
        table.add_row(
            f"{post['user']}/{post['installation']}",
            datetime.fromtimestamp(end, UTC).strftime("%H:%M:%S"),
            f"{usage(down, end - MEANINGFUL_SECONDS, end):.2f}",
            number(body["downUsage"]),
            f"{usage('connection_speed' + up, end - MEANINGFUL_SECONDS, end):.2f}",
            number(body["upUsage"]),
            number(body["downQuality"]),
        )
    Console(width=100).print(table)
    return 0 if lines else 1


def number(value: float | None) -> str:
    """Two digits, or a dash where the value is undefined."""
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
