"""Windows with what the original computes for each: simulated ones of our own, and recorded ones.

Our own are in tests/data; those that others have recorded lie beside the project and are never part
of it: a test that asks for them is skipped where they are not. Archives, and the truth that comes
with them, are read by other means than tixd's own reader.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tixd.analysis.observations import OBSERVATION, Observations

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


#: The windows that tixd's simulator has made.
OWN = "own"

#: The archives of the original project.
RECORDED = ("batch-test-report-1b", "batch-test-reports-3b", "batch-test-reports-5b")

#: How many windows have an expected result.
WINDOWS = {OWN: 13, "batch-test-report-1b": 15, "batch-test-reports-3b": 21, RECORDED[2]: 25}

#: Each of them: experiment, and number in `expected`.
CASES = [(name, number) for name, count in WINDOWS.items() for number in range(count)]

#: Records that make a window: 1024 and a minute's.
MIN_RECORDS = 1084

_OWN_FOLDER = Path(__file__).parents[1] / "data" / "own"

_REPORT = re.compile(r"(?:/|one/)?(\d{10}|i\d\d)/(tix-report-\d+\.json)")


@functools.cache
def expected(experiment: str) -> tuple[dict[str, Any], ...]:
    """What the original computes: window (its folder), ip, observations, result."""
    if experiment == OWN:
        lines = (_OWN_FOLDER / "expected.jsonl").read_text().splitlines()
        return tuple({**line, "window": line["line"]} for line in map(json.loads, lines))
    lines = shared_data("tix/golden.jsonl").read_text().splitlines()
    return tuple(line for line in map(json.loads, lines) if line["experiment"] == experiment)


@functools.cache
def reports(experiment: str) -> dict[str, dict[str, bytes]]:
    """The reports of each folder by name, in the order of their names' numbers."""
    found: dict[str, dict[str, bytes]] = {}
    for folder, name, content in sorted(_members(experiment)):
        found.setdefault(folder, {})[name] = content
    return found


def first_window(experiment: str, folder: str) -> Observations:
    """The rows of the folder's first reports that have MIN_RECORDS between them."""
    taken: list[Observations] = []
    for content in reports(experiment)[folder].values():
        message = base64.b64decode(json.loads(content)["message"], validate=True)
        taken.append(np.frombuffer(message, OBSERVATION))
        if sum(map(len, taken)) >= MIN_RECORDS:
            break
    return np.concatenate(taken)


def archive(experiment: str, folder: Path) -> Path:
    """The archive as `tixd analyze` takes it; where it has to be made, below `folder`."""
    if experiment != OWN:
        return shared_data(f"tix/{experiment}.tar.gz")
    path = folder / "own.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for window in reports(OWN):
            lay_out(OWN, window, folder / window)
            packed.add(folder / window, window)
    return path


def lay_out(experiment: str, window: str, folder: Path) -> None:
    """Make a folder of the reports of a window's folder."""
    folder.mkdir(parents=True)
    for name, content in reports(experiment)[window].items():
        (folder / name).write_bytes(content)


def _members(experiment: str) -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each report; all numbers in names have the same length."""
    own = _OWN_FOLDER / "lines.tar.xz"
    with tarfile.open(own if experiment == OWN else archive(experiment, own)) as packed:
        for member in packed:
            if report := _REPORT.fullmatch(member.name):
                file = packed.extractfile(member)
                assert file
                yield report[1], report[2], file.read()


def of_experiment(experiment: str) -> bytes:
    """The content of an archive's description.yml."""
    with tarfile.open(shared_data(f"tix/{experiment}.tar.gz")) as archive:
        member = next(each for each in archive if each.name.endswith("description.yml"))
        return archive.extractfile(member).read()
