"""README and manual as text, section by section."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

README = ROOT / "README.md"

MANUAL = ROOT / "tixd" / "manual"


def path_of(name: str) -> Path:
    """Where a page of the manual lies, or the README."""
    return README if name == "README" else MANUAL / f"{name}.md"


def page(name: str) -> str:
    """The text of a page of the manual, or of the README."""
    return path_of(name).read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    """The text of a page below a heading, up to the next one."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page(name), re.DOTALL | re.MULTILINE)
    assert found, f"{name} has no section {title}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    heads = [number for number, line in enumerate(lines) if line.startswith("| ---")]
    return [row for n, row in enumerate(cells) if n not in heads and n + 1 not in heads]
