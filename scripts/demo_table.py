"""Prints the posts of the demo beside the truth of its simulations.

Usage is posted by both estimators: mode as the tix-time-processor does, and delayed probes.
Arguments: the folder that holds `<user>/description.yml` of each simulated user, and the file with
one post a line, as tests/support/stand_in_api.py writes it.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tixd.analysis.observations import MEANINGFUL_SECONDS
from tixd.simulation.evaluation import expected, read


def main(made: Path, posts: Path) -> int:
    """Print the table; returns 1 where nothing was posted."""
    table = Table("line", "until (UTC)")
    for way in ("down", "up"):
        for heading in ("simulated", "mode", "probes"):
            table.add_column(f"{way} {heading}", justify="right")
    lines = [json.loads(line) for line in posts.read_text().splitlines()]
    for post in sorted(lines, key=lambda post: (post["user"], post["body"]["timestamp"])):
        body, end = post["body"], post["body"]["timestamp"]
        truth = read((made / str(post["user"]) / "description.yml").read_bytes())
        ways = (("downUsage", truth.downstream), ("upUsage", truth.upstream))
        usages = [
            (expected(schedule, end - MEANINGFUL_SECONDS, end), body[way], body[f"{way}Alt"])
            for way, schedule in ways
        ]
        table.add_row(
            f"{post['user']}/{post['installation']}",
            datetime.fromtimestamp(end, UTC).strftime("%H:%M:%S"),
            *(number(usage) for of_way in usages for usage in of_way),
        )
    Console(width=100).print(table)
    return 0 if lines else 1


def number(value: float | None) -> str:
    """Two digits, or a dash where the value is undefined."""
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
