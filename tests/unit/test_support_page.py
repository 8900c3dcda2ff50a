"""The page of tests/support names each module once, and nothing else."""

from __future__ import annotations

import re

from tests.support.program import ROOT

SUPPORT = ROOT / "tests" / "support"

#: A row: the module, and what it is for.
ROW = re.compile(r"^\| `(\w+)` \| \S.* \|$", re.MULTILINE)


def test_the_page_says_what_every_module_is_for():
    modules = {path.stem for path in SUPPORT.glob("*.py")} - {"__init__"}
    assert sorted(ROW.findall((SUPPORT / "README.md").read_text())) == sorted(modules)
