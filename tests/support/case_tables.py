"""The tables of the manual's page on cases: what tests and soaks have shown, and what makes more.

`pytest tests/faults --record-cases` notes the outcome of each test in tests/data/cases.json;
`python -m tests.support.case_tables FILE` puts the figures of a soak, which it has written as JSON,
into tests/data/soak.json. `python -m tests.support.manual_tables` makes the tables out of both.
"""

from __future__ import annotations

import ast
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.manual_pages import ROOT

#: What was noted of tests, and of the last long soak.
CASES, SOAK = ROOT / "tests/data/cases.json", ROOT / "tests/data/soak.json"

#: Longest figures of a row, characters.
MAX_FIGURES = 160

sys.path.append(str(ROOT / "scripts"))  # where the soak's package lies


def _cell(text: str) -> str:
    """A text that stands in a cell."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return plain if len(plain) <= MAX_FIGURES else f"{plain[: MAX_FIGURES - 1]}…"


def _table(*rows: tuple[object, ...]) -> str:
    head, *rest = ([_cell(str(cell)) for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stored(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}


def cases() -> Iterator[tuple[str, str]]:
    """Module and name of each test of tests/faults, in their order."""
    for path in sorted((ROOT / "tests/faults").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.name.startswith("test_"):
                yield path.stem, node.name


def case_table() -> str:
    """Every case of tests/faults: what it shows, how many variants passed, figures, date."""
    stored = _stored(CASES)
    rows: list[tuple[object, ...]] = [("case", "test", "passed", "figures", "date")]
    for module, name in cases():
        seen = stored.get(f"{module}::{name}", {})
        words = name.removeprefix("test_").replace("_", " ")
        told = (seen.get("passed", ""), seen.get("figures", ""), seen.get("date", ""))
        rows.append((words, f"`{module}`", *told))
    return _table(*rows)


def kind_table() -> str:
    """Every kind of fault, and what makes new members of it."""
    from soaking.kinds import KINDS, generators

    made = generators()
    rows = ((name, what, ", ".join(made[name][:4])) for name, what in KINDS.items())
    return _table(("kind", "what it is about", "made by"), *rows)


def soak_ledgers() -> str:
    """What came out of the last long soak."""
    rows: list[tuple[object, ...]] = [
        ("role", "ledger", "sent", "lost", "repeated", "without an answer", "held back", "at end")
    ]
    for report in _stored(SOAK) or []:
        for one in report["accounts"]:
            names = ("sent", "lost", "repeated", "unanswered", "held_back", "held_at_end")
            rows.append((report["role"], one["of"], *(one[name] for name in names)))
    return _table(*rows)


def soak_faults() -> str:
    """Every fault of the last long soak, over all roles."""
    rows: list[tuple[object, ...]] = [("role", "fault", "acted", "done", "proof of the last one")]
    for report in _stored(SOAK) or []:
        for name, one in report["faults"].items():
            rows.append((report["role"], name, one["acted"], one["done"], one["proof"]))
    return _table(*rows)


def soak_processes() -> str:
    """Memory, descriptors and threads of the longest life of each process of the last long soak."""
    rows: list[tuple[object, ...]] = [
        ("role", "process", "minutes", "RSS MB", "descriptors", "threads")
    ]
    for report in _stored(SOAK) or []:
        for one in report["processes"]:
            pairs = (f"{a} -> {b}" for a, b in (one["rss_mb"], one["descriptors"], one["threads"]))
            rows.append((report["role"], one["kind"], one["minutes"], *pairs))
    return _table(*rows)


def soak_facts() -> str:
    """When and how the last long soak was run."""
    reports = _stored(SOAK)
    if not reports:
        return "No soak was recorded yet."
    one = reports[0]
    return (
        f"Begun {one['begun']} UTC, {one['minutes']:g} minutes of each role at once, on two cores"
        f" that did other work too: `scripts/soak {one['minutes']:g} --seed {one['seed']}`."
    )


def shortened(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the manual keeps of a soak's figures."""
    kept = []
    for report in reports:
        lives: dict[str, dict[str, Any]] = {}
        for life in report["growths"]:
            lives.setdefault(life["kind"], life)
            lives[life["kind"]] = max(lives[life["kind"]], life, key=lambda one: one["looks"])
        names = ("role", "seed", "minutes", "begun", "accounts", "faults")
        processes = [life | {"minutes": round(life["looks"] / 20)} for life in lives.values()]
        kept.append({name: report[name] for name in names} | {"processes": processes})
    return kept


class Recorder:
    """A plugin of pytest that notes how the tests of tests/faults went."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that has passed, and the last line that it has printed."""
        module, _, name = report.nodeid.rpartition("/")[2].partition(".py::")
        key = f"{module}::{name.partition('[')[0]}"
        if report.when != "call" or "tests/faults/" not in report.nodeid or not report.passed:
            return
        one = self._seen.setdefault(key, {"passed": 0, "figures": ""})
        one["passed"] += 1
        one["date"] = time.strftime("%Y-%m-%d")
        if lines := report.capstdout.strip().splitlines():
            one["figures"] = lines[-1][:MAX_FIGURES]

    def pytest_sessionfinish(self) -> None:
        """Add what was seen to what was noted before."""
        if self._seen:
            noted = dict(sorted((_stored(CASES) | self._seen).items()))
            CASES.write_text(json.dumps(noted, indent=1) + "\n")


if __name__ == "__main__":
    reports = json.loads(Path(sys.argv[1]).read_text())
    SOAK.write_text(json.dumps(shortened(reports), indent=1) + "\n")
