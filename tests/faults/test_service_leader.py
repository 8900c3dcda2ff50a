"""Cases 4, 5 and 7: the parent is killed or stopped; a second one stands by and takes over."""

from __future__ import annotations

from tests.support import made
from tests.support.ledger import Ledger, at_api
from tests.support.program import until
from tests.support.service import SHORT, gone, service
from tests.support.stand_in_api import Behaviour, StandInApi

START = 1_700_000_000

#: An answer that takes about half a second.
SLOW = Behaviour(fault="trickle", trickle_seconds=0.005)


def test_a_parent_killed_in_mid_job_is_replaced_at_once_and_loses_nothing(tmp_path):
    base = tmp_path / "base"
    for user in range(1, 5):
        made.installation(base, START, 28, user=user)
    with StandInApi() as api:
        ledger = Ledger(base, api)
        api.answer(SLOW)
        with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as killed:
            until(lambda: api.posts)
            workers = killed.workers()
            killed.kill()
            killed.wait()
            with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as next_one:
                assert not next_one.log("standing_by"), "the lock was free"
                until(lambda: all(map(gone, workers)))
                until(lambda: set(at_api(api)) == ledger.expected)
                assert next_one.ends()[0] == 0
                assert next_one.leftovers() == []
        ledger.settled()
        assert ledger.duplicates <= 1
