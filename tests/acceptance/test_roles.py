"""Dispatcher and worker as operators run them, over a real RabbitMQ."""

from __future__ import annotations

from tests.support import made
from tests.support.direct import Direct, Message
from tests.support.ledger import Ledger
from tests.support.program import until
from tests.support.site import Fleet, fleet, is_ready
from tests.support.stand_in_api import StandInApi

START = 1_700_000_000


def test_a_dispatcher_and_a_worker_post_every_window_once(tmp_path, broker):
    base = tmp_path / "reports"
    with StandInApi() as api:
        for user in range(1, 6):
            made.installation(base, START, 28, user=user)
        ledger = Ledger(base, api)
        with fleet(base, tmp_path, api.port, broker) as (dispatcher, worker):
            until(lambda: len(api.accepted) == len(ledger.expected))
            assert dispatcher.ends()[0] == 0
            assert worker.ends()[0] == 0
            assert dispatcher.leftovers() == worker.leftovers() == []
        ledger.settled()
    assert ledger.duplicates == 0


def test_a_dispatcher_that_sees_no_reports_has_a_worker_look_for_them(tmp_path, broker):
    base, elsewhere = tmp_path / "reports", str(tmp_path / "not-mounted")
    with StandInApi() as api:
        made.installation(base, START)
        starting = Fleet(base, tmp_path, api.port, broker.port)
        with (
            starting.worker(TIX_SENDER_BASE_PATH=elsewhere) as worker,
            starting.dispatcher(TIX_REPORTS_BASE_PATH=elsewhere) as dispatcher,
        ):
            until(lambda: api.accepted)
            until(lambda: is_ready(dispatcher))
            until(lambda: worker.log("fanned_out"))
            until(lambda: dispatcher.told()["counts"].get("messages_for_users"))


def bodies(found: list[Message]) -> list[bytes]:
    """Theirs."""
    return [message.body for message in found]


def test_what_is_no_job_lies_in_the_dead_queue_with_its_reason(tmp_path, broker):
    with StandInApi() as api:
        (tmp_path / "reports").mkdir()
        with fleet(tmp_path / "reports", tmp_path, api.port, broker) as (_, worker):
            direct = Direct(broker.port)
            direct.publish("celery", b"{", content_type="application/json", headers={"a": 1})
            # What an earlier test's dispatcher still sent lies there too: its base is another one.
            until(lambda: worker.log("message_dead_lettered"))
            found: list[Message] = []
            until(lambda: found.extend(direct.drain("tixd.dead")) or b"{" in bodies(found))
            [dead] = [message for message in found if message.body == b"{"]
    assert dead.properties.headers == {"a": 1, "tixd-reason": "the body is not valid JSON"}


def test_status_tells_how_the_broker_is(tmp_path, broker):
    with StandInApi() as api:
        (tmp_path / "reports").mkdir()
        with fleet(tmp_path / "reports", tmp_path, api.port, broker) as (dispatcher, worker):
            for role in (dispatcher, worker):
                status = role.told()
                assert status["not_ready"] == []
                assert 0 < status["moment"] - status["broker"]["confirmed"] < 30
                assert status["broker"]["reason"] == ""
