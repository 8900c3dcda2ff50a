"""A role as it tells about itself, made up."""

from __future__ import annotations

from typing import Any

from tixd.runtime.status import CycleView, Snapshot, VolumeView, WorkerView


def snapshot(**changes: Any) -> Snapshot:
    """A standalone role that is ready at the epoch second 1000; `changes` replace members."""
    members: dict[str, Any] = {
        "version": "1.2.3",
        "role": "standalone",
        "pid": 77,
        "state": "running",
        "moment": 1000.0,
        "started": 400.0,
        "period_seconds": 600.0,
        "workers": (
            WorkerView(78, True, "12345/67890", "post", 2.0),
            WorkerView(79, False, "", "", 0.5),
        ),
        "volume": VolumeView(answered=995.0, free_bytes=7 * 2**30),
        "cycle": CycleView(1, 600.0, 0.25, None, 1200.0),
        "counts": {"windows_posted": 3, "jobs_done": 5},
    }
    return Snapshot(**{**members, **changes})
