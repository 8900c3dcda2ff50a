"""The stand-in that answers late answers every post, none too soon, and counts them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3
from benchmarks.stand_in import delayed_stand_in

from tests.support.program import until

#: How late it answers, and how many posts come at once.
DELAY_MS, AT_ONCE = 40, 16


def test_a_delayed_answer_holds_up_no_other_post(tmp_path: Path) -> None:
    with delayed_stand_in(tmp_path, DELAY_MS) as api, ThreadPoolExecutor(AT_ONCE) as threads:
        connections = urllib3.HTTPConnectionPool("127.0.0.1", api.port, maxsize=AT_ONCE)

        def post(number: int) -> float:
            begun = time.monotonic()
            answer = connections.urlopen("POST", "/x", body=bytes(number * 50_000))
            assert answer.status == 200
            return time.monotonic() - begun

        begun = time.monotonic()
        waited = list(threads.map(post, range(3 * AT_ONCE)))
        until(lambda: api.posts()[0] == 3 * AT_ONCE)  # it counts what it has answered
        lasted = time.monotonic() - begun
        seconds = api.posts()[1]
        connections.close()
    assert min(waited) >= DELAY_MS / 1e3
    assert DELAY_MS / 1e3 <= seconds <= lasted < sum(waited), "they overlap"
