"""What bundles end in: who is warned about how often, and whether any is taken now."""

from __future__ import annotations

from typing import Any

from tests.support.log_events import heard
from tixd.collector.outcomes import MAX_WARNED, Outcome, Outcomes
from tixd.runtime.status import BundlesView

HOUR = 3600.0


def warned(*ended: tuple[float, Outcome]) -> list[tuple[str, dict[str, Any]]]:
    """The warnings about these, in order: event and values."""
    outcomes = Outcomes()
    with heard() as log:
        for now, outcome in ended:
            outcomes.add(outcome, now=now)
    assert {level for level, _ in log.events} <= {"warning"}
    return [(record.getMessage(), record.values) for record in log.records]


def outcome(code: int, sender: str = "a", **values: Any) -> Outcome:
    """How a request of this sender ended."""
    return Outcome(sender, "192.0.2.1", code, "" if code == 200 else "why", **values)


def test_a_bundle_that_was_not_taken_is_a_warning_with_sender_code_and_reason():
    codes = (200, 400, 413, 415, 408, 503)
    found = warned(*((0.0, outcome(code, f"probe{code}")) for code in codes))
    refused, repeated = ["bundle_refused"] * 3, ["bundle_not_taken"] * 2
    assert [event for event, _ in found] == [*refused, *repeated]
    expected = {"sender": "probe400", "address": "192.0.2.1", "code": 400, "reason": "why"}
    assert found[0][1] == expected


def test_a_sender_is_warned_about_once_an_hour_with_a_count_of_the_others():
    repeated = [(minute * 60.0, outcome(400)) for minute in range(61)]
    other = (5.0, outcome(400, "b"))
    found = warned(*repeated, other, (HOUR + 61, outcome(503)))
    assert [(event, values["sender"], values.get("held_back")) for event, values in found] == [
        ("bundle_refused", "a", None),
        ("bundle_refused", "a", 59),
        ("bundle_refused", "b", None),
        ("bundle_not_taken", "a", None),
    ]


def test_senders_without_a_name_are_told_apart_by_their_address():
    ended = [Outcome("", address, 413, "too large") for address in ("1.1.1.1", "2.2.2.2")]
    assert len(warned(*((0.0, one) for one in ended * 2))) == 2


def test_names_made_up_by_a_sender_do_not_fill_the_log():
    many = [(float(n), outcome(400, f"name{n}")) for n in range(10 * MAX_WARNED)]
    found = warned(*many, (HOUR + 1, outcome(400, "another")))
    assert len(found) == MAX_WARNED + 1
    assert found[-1][1]["held_back"] == 9 * MAX_WARNED


def view(*ended: Outcome) -> BundlesView:
    """What status says once these have ended, one a second."""
    outcomes = Outcomes()
    for number, one in enumerate(ended):
        outcomes.add(one, now=float(number))
    return outcomes.view()


def test_a_bundle_that_is_taken_ends_a_row_of_those_that_were_not():
    assert view() == BundlesView()
    assert view(outcome(200), outcome(503), outcome(503)) == BundlesView(0.0, 2, 1.0, 503, "why")
    assert view(outcome(503), outcome(200)) == BundlesView(1.0)


def test_neither_a_ping_nor_what_is_no_bundle_is_in_a_row():
    ping, gone = outcome(200, is_ping=True), outcome(0)
    assert view(outcome(503), ping, gone, outcome(400, "")) == BundlesView(None, 1, 0.0, 503, "why")


def test_a_fault_here_counts_more_than_one_at_a_sender():
    assert view(outcome(400), outcome(503), outcome(400)).code == 503


def test_one_bundle_among_others_that_was_not_taken_is_no_headline():
    assert BundlesView(5.0, 2, 6.0, 400, "bad").trouble(10.0) == ""
    assert BundlesView(5.0, 3, 6.0, 400, "bad.").trouble(10.0) == (
        "NO BUNDLE TAKEN for under 1 min, the last 3 failed: 400, bad"
    )
    assert BundlesView(None, 1, 6.0, 400, "bad").trouble(10.0)
