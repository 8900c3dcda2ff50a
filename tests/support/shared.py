"""Data that lies beside the project and is never part of it: recorded by others, for tests only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]

#: Data of the project's own, which every clone has.
OWN_DATA = _ROOT / "tests" / "data"


def shared_data(name: str) -> Path:
    """The file or folder `name` of the shared data; where there is none, the test is skipped.

    It is looked for in $TIXD_SHARED/data, or in shared/data beside the project.
    """
    return _shared(f"data/{name}")


def shared_case(name: str) -> Path:
    """The input `name` of the shared cases; where there is none, the test is skipped."""
    return _shared(f"cases/{name}")


def _shared(name: str) -> Path:
    path = Path(os.environ.get("TIXD_SHARED") or _ROOT.parent / "shared") / name
    if not path.exists():
        pytest.skip(f"no shared data at {path}: set TIXD_SHARED to the folder that holds data/")
    return path
