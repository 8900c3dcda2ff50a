"""How many messages a job takes between parent and worker: a guard of speed without a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.pools import in_loop, ready, window
from tixd.config.settings import Settings
from tixd.pool.pool import Pool
from tixd.pool.sockets import PoolSocket

#: Messages of a job, however many windows it does: the job to the worker, its result from it.
MESSAGES = {"send": 1, "receive": 1}


def counting(counts: Counter[str], name: str) -> Callable[..., Any]:
    """A method of PoolSocket that counts the calls that moved a message."""
    original = getattr(PoolSocket, name)

    def method(*args: Any) -> Any:
        moved = original(*args)
        counts[name] += bool(moved)
        return moved

    return method


@in_loop
async def test_a_job_takes_no_more_messages_than_it_did(tmp_path, monkeypatch):
    counts: Counter[str] = Counter()
    settings = Settings(reports_base_path=str(tmp_path), workers=1)
    for name in ("send", "receive"):
        monkeypatch.setattr(PoolSocket, name, counting(counts, name))
    async with Pool(settings) as pool:
        await ready(pool)
        counts.clear()
        for user, windows in enumerate((1, 3), start=1):
            result = await pool.submit(window(tmp_path, user, windows))
            assert result.counts["windows_stored"] == windows
            assert counts == MESSAGES
            counts.clear()
