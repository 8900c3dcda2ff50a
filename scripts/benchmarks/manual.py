"""Tables of the benchmark in tixd/manual/measured.md, between their markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.yardstick import VERDICTS, Row

PAGE = Path(__file__).parents[2] / "tixd" / "manual" / "measured.md"


def table(rows: Sequence[Row], headings: Sequence[str], machine: str) -> str:
    """The machine, then the rows as Markdown; a dash begins those that belong to the one before."""
    lines = [machine, "", _line(["what", *headings]), _line(["---"] * 4)]
    for row in rows:
        what = row.what.replace("  ", "- ", 1) if row.what.startswith("  ") else row.what
        lines.append(_line([what, row.figure, row.ratio, row.target + VERDICTS[row.reached]]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(name: str, content: str, page: Path = PAGE) -> None:
    """Put it into the page in place of what is between the markers of this name."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"\n<!-- /{name} -->")
    if not (begin and end):
        raise ValueError(f"{page.name} has no markers of {name}")
    page.write_text(before + begin + content + end + after, encoding="utf-8")
