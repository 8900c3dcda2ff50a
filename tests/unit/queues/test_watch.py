"""A queue counts as unattended from its first message without a consumer until one comes."""

from __future__ import annotations

from typing import Any

from tests.support.log_events import heard
from tixd.amqp.messages import Declared
from tixd.queues.watch import QueueWatch


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def watched(*seen: tuple[float, int, int]) -> Any:
    """The view after these sights: second, messages, consumers."""
    clock = Clock()
    watch = QueueWatch(None, 60.0, clock)  # type: ignore[arg-type]
    for second, messages, consumers in seen:
        clock.now = second
        watch.note(Declared("celery", messages, consumers))
    return watch.view


def test_a_queue_without_messages_lacks_nobody():
    assert watched((0, 0, 0), (500, 0, 0)).unattended_since is None
    assert watched((0, 5, 1), (500, 900, 1)).unattended_since is None


def test_the_time_counts_from_the_first_message_even_where_that_one_has_expired():
    view = watched((1, 0, 0), (5, 2, 0), (70, 0, 0), (80, 3, 0))
    assert (view.messages, view.consumers, view.unattended_since) == (3, 0, 5)


def test_a_consumer_ends_it():
    assert watched((5, 2, 0), (9, 2, 1)).unattended_since is None
    assert watched((5, 2, 0), (9, 2, 1), (10, 1, 0)).unattended_since == 10


def test_it_is_logged_once_after_a_period_and_once_when_somebody_comes():
    sights = [(0.0, 2, 0), (60.0, 2, 0), (61.0, 2, 0), (200.0, 2, 0), (300.0, 2, 1), (301.0, 0, 1)]
    with heard() as log:
        watched(*sights)
    assert log.events == [("error", "nobody_works"), ("info", "worker_found")]
