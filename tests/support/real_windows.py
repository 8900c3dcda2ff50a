"""The real windows of the shared archives, read by other means than tixd's own reader."""

from __future__ import annotations

import base64
import functools
import json
import re
import tarfile

import numpy as np

from tests.support.shared import shared_data
from tixd.analysis.observations import OBSERVATION, Observations

#: Records that make a window: 1024 and a minute's (processor.md 3).
MIN_RECORDS = 1084

_REPORT = re.compile(r"/?(\d{10})/tix-report-(\d+)\.json")


@functools.cache
def folders(experiment: str) -> dict[str, list[Observations]]:
    """The messages of each 10-digit folder of an archive, in the order of their names' numbers."""
    found: dict[str, list[tuple[int, Observations]]] = {}
    with tarfile.open(shared_data(f"tix/{experiment}.tar.gz")) as archive:
        for member in archive:
            if report := _REPORT.fullmatch(member.name):
                text = archive.extractfile(member).read()
                message = base64.b64decode(json.loads(text)["message"], validate=True)
                rows = np.frombuffer(message, OBSERVATION)
                found.setdefault(report[1], []).append((int(report[2]), rows))
    return {
        name: [rows for _, rows in sorted(reports, key=lambda each: each[0])]
        for name, reports in found.items()
    }


def first_window(experiment: str, folder: str) -> Observations:
    """The rows of the folder's first reports that have MIN_RECORDS between them."""
    taken: list[Observations] = []
    for rows in folders(experiment)[folder]:
        taken.append(rows)
        if sum(map(len, taken)) >= MIN_RECORDS:
            break
    return np.concatenate(taken)
