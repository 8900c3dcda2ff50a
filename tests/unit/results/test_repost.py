"""Posting kept results again."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.results import ONE, result
from tixd import errors
from tixd.asn.origin import Origin
from tixd.directory import Folder
from tixd.reports.model import Installation
from tixd.results.backoff import Backoff, Refusal
from tixd.results.failed_results import FailedResults
from tixd.results.payload import WindowResult
from tixd.results.posting import Poster, Reposted
from tixd.results.response import Posting, PostOutcome, of_status

NOW = 1_700_000_000.0
UNREACHABLE = PostOutcome("later", "no connection", cause="connect")
SILENT = PostOutcome("later", "no answer in time", cause="silent")


@dataclass
class ClientTwin:
    """ApiClient without a network: answers with a status by timestamp, else 200."""

    answers: dict[int, PostOutcome] = field(default_factory=dict)
    elsewhere: float | None = None
    waits: str | None = None
    posted: list[int] = field(default_factory=list)
    origins: list[Origin | None] = field(default_factory=list)
    after_silence: list[bool] = field(default_factory=list)
    broken: bool = False

    def hold_reason(self, _: Installation) -> str | None:
        return self.waits

    def seems_broken(self) -> bool:
        return self.broken

    def post(
        self,
        _: Installation,
        window: WindowResult,
        _tally: Counter[str],
        *,
        after_silence: bool = False,
    ) -> Posting[PostOutcome]:
        yield from ()
        self.after_silence.append(after_silence)
        self.posted.append(window.summary.timestamp)
        self.origins.append(window.origin)
        return self.answers.get(window.summary.timestamp, of_status(200, None, NOW))

    def accepted_elsewhere(self, _: Installation) -> float | None:
        return self.elsewhere


def returned(steps: Posting[Reposted]) -> Reposted:
    """What steps return that never wait."""
    with pytest.raises(StopIteration) as ended:
        next(steps)
    return ended.value.value


Round = Callable[..., Reposted]

#: How a round goes on if a test does not say otherwise.
ROUND = {"limit": 10, "may_continue": lambda: True}


@pytest.fixture
def kept(tmp_path):
    """Five kept results, of timestamps 1 to 5."""
    with Folder(str(tmp_path)) as folder, FailedResults(folder) as opened:
        for timestamp in range(1, 6):
            opened.add(result(timestamp))
        yield opened


@pytest.fixture
def failed(kept, tmp_path) -> Path:
    """The folder of the kept results."""
    return tmp_path / "failed-results"


@pytest.fixture
def run(kept) -> Round:
    """One round over the outbox, at a moment."""

    def run(client: ClientTwin, backoff: Backoff | None = None, **changes) -> Reposted:
        now = changes.pop("now", NOW)
        round_of = {name: changes.pop(name, value) for name, value in ROUND.items()}
        values = {"jitter": random.Random(1), **changes}
        poster = Poster(ONE, kept, client, clock=lambda: now, **values)
        return returned(poster.repost(backoff or Backoff(), **round_of))

    return run


def refusing(*timestamps: int, status: int = 400, **values) -> ClientTwin:
    """A client whose results of these timestamps are answered with `status`."""
    answer = of_status(status, values.pop("retry_after", None), NOW)
    return ClientTwin(dict.fromkeys(timestamps, answer), **values)


def test_stored_results_go_out_oldest_first_and_leave_the_folder(run, failed):
    client = ClientTwin()
    assert run(client) == Reposted(Backoff(), accepted=5)
    assert client.posted == [1, 2, 3, 4, 5]
    assert os.listdir(failed) == []


def test_a_round_posts_no_more_than_its_limit(run, kept):
    client = ClientTwin()
    assert run(client, limit=2).accepted == 2
    assert client.posted == [1, 2]
    assert len(kept.oldest(10)) == 3


def test_a_round_that_gets_on_and_leaves_results_is_followed_by_another(run, kept):
    assert run(ClientTwin(), limit=2).has_more
    assert not run(refusing(3, 4), limit=2).has_more, "nothing was accepted"
    assert not run(ClientTwin(), limit=3).has_more, "nothing is left"
    assert kept.oldest(10) == []


def test_a_round_ends_when_the_job_must_end(run):
    client = ClientTwin()
    answers = iter([True, True, False])
    done = run(client, may_continue=lambda: next(answers))
    assert (done.accepted, done.stopped, client.posted) == (2, "the job must end", [1, 2])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_failure_of_the_api_itself_ends_the_round_and_starts_a_pause(run, kept, status):
    client = refusing(2, status=status, broken=True)
    done = run(client)
    assert (done.accepted, client.posted, len(kept.oldest(10))) == (1, [1, 2], 4)
    assert done.backoff.failures == 1
    assert NOW < done.backoff.not_before <= NOW + 60
    assert done.stopped.startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_an_error_over_one_result_holds_up_no_other(run, kept, status):
    client = refusing(1, 3, status=status)
    done = run(client)
    assert (client.posted, done.accepted, done.stopped) == ([1, 2, 3, 4, 5], 3, None)
    assert (done.backoff.failures, done.backoff.not_before) == (0, 0.0)
    assert [(r.name, r.count, r.status) for r in done.backoff.refusals] == [
        (f"failed-report-{n}.json", 1, status) for n in (1, 3)
    ]
    assert done.backoff.reason.startswith(f"HTTP {status}")
    assert kept.oldest(10) == ["failed-report-1.json", "failed-report-3.json"]


def test_a_server_that_asks_for_a_pause_gets_it(run):
    done = run(refusing(1, status=503, retry_after="1800"))
    assert (done.backoff.not_before, done.accepted) == (NOW + 1800, 0)


def test_results_behind_many_errors_have_their_turn_first(run, kept):
    backoff = run(refusing(1, 2, 3, status=500), limit=3).backoff
    client = refusing(1, 2, 3, status=500)
    assert run(client, backoff, limit=3, now=NOW + 600).accepted == 2
    assert client.posted == [4, 5, 1]


def test_after_three_errors_with_others_accepted_a_result_is_parked_with_the_apis_words(
    run, failed
):
    backoff, rejected = Backoff(), []
    answer = of_status(500, None, NOW, b'{"error": "no AS\x1b[2J of\n2001:db8::1"}')
    for cycle in range(3):
        now = NOW + 600 * cycle
        done = run(ClientTwin({2: answer}, elsewhere=now - 1), backoff, now=now)
        backoff = done.backoff
        rejected.append((done.rejected, done.refused))
    assert (rejected, backoff) == ([(0, 0), (0, 0), (1, 0)], Backoff())
    assert sorted(os.listdir(failed / "rejected")) == [
        "failed-report-2.json",
        "failed-report-2.json.reason",
    ]
    reason = (failed / "rejected" / "failed-report-2.json.reason").read_text()
    assert reason == 'HTTP 500 Internal Server Error\n{"error": "no AS [2J of 2001:db8::1"}\n'


def test_errors_within_one_cycle_are_one(run):
    backoff = run(refusing(1, status=500, elsewhere=NOW)).backoff
    client = refusing(1, status=500, elsewhere=NOW + 5)
    again = run(client, replace(backoff, unfinished=True), now=NOW + 60)
    assert (client.posted, again.backoff.refusals) == ([], backoff.refusals)


def test_no_answer_ends_the_round_and_says_so_to_the_next_post(run):
    client = ClientTwin({2: SILENT})
    done = run(client)
    assert (done.accepted, done.stopped) == (1, "no answer in time")
    assert (done.backoff.unanswered, client.after_silence) == (True, [False, False])
    client.posted.clear()
    run(client, done.backoff, now=NOW + 60)
    assert (client.posted, client.after_silence[2:]) == ([2], [True])
    assert NOW + 30 <= done.backoff.not_before <= NOW + 60


def test_the_reason_is_that_of_the_last_answer(run):
    silent = run(ClientTwin({1: SILENT})).backoff
    client = refusing(1, 2, 3, 4, 5, status=500)
    error = run(client, silent, now=NOW + 60).backoff
    assert (error.reason, error.unanswered) == ("HTTP 500 Internal Server Error", False)
    assert fresh(of_status(404, None, NOW), backoff=silent).reason == "HTTP 404 Not Found"


def test_an_unreachable_api_ends_the_round_and_starts_a_pause(run):
    done = run(ClientTwin({1: UNREACHABLE}))
    assert (done.backoff.failures, done.stopped) == (1, "no connection")


def test_retry_after_makes_stored_results_wait(run):
    done = run(refusing(1, status=429, retry_after="1800"))
    assert done.backoff.not_before == NOW + 1800


def test_nothing_is_posted_before_the_pause_has_passed(run, kept):
    client, backoff = ClientTwin(), Backoff(failures=3, not_before=NOW + 100)
    assert run(client, backoff).backoff == backoff
    assert client.posted == []
    assert run(client, backoff, now=NOW + 100) == Reposted(Backoff(), accepted=5)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_end_the_round_without_a_pause_of_the_installation(run, status):
    client = refusing(1, status=status)
    after = run(client).backoff
    assert (after.failures, after.not_before, after.reason[:8]) == (0, 0.0, f"HTTP {status}")
    assert client.posted == [1]


def test_while_the_client_would_hold_posts_the_folder_is_not_even_listed(run, monkeypatch):
    def unlisted(*_: object) -> None:
        raise AssertionError("listed")

    monkeypatch.setattr(os, "scandir", unlisted)
    client = ClientTwin(waits="no credentials")
    assert run(client) == Reposted(Backoff(), stopped="no credentials")
    assert client.posted == []


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 413, 422])
def test_a_refused_result_is_counted_and_the_next_ones_have_their_turn(run, kept, status):
    client = refusing(2, status=status)
    done = run(client)
    assert client.posted == [1, 2, 3, 4, 5]
    assert done.backoff.refusals == (Refusal("failed-report-2.json", 1, NOW, status),)
    assert kept.oldest(10) == ["failed-report-2.json"]


def test_after_three_refusals_with_others_accepted_a_result_is_parked(run, kept, failed):
    client, backoff = refusing(2, elsewhere=NOW + 5), Backoff()
    for cycle in range(3):
        assert kept.oldest(1) == ["failed-report-2.json" if cycle else "failed-report-1.json"]
        now = NOW + 600 * cycle
        done = run(replace(client, elsewhere=now - 1), backoff, now=now)
        backoff = done.backoff
    assert (done.rejected, backoff, kept.oldest(10)) == (1, Backoff(), [])
    assert (failed / "rejected" / "failed-report-2.json").is_file()


def test_while_nobody_else_is_accepted_a_refused_result_is_never_parked(run, kept):
    client, backoff = refusing(1, 2, 3, 4, 5, elsewhere=NOW - 1), Backoff()
    for cycle in range(6):
        backoff = run(client, backoff, now=NOW + 600 * cycle).backoff
    assert {refusal.count for refusal in backoff.refusals} == {1}
    assert len(kept.oldest(10)) == 5


def test_refusals_of_results_that_are_gone_do_not_pile_up(run):
    gone = tuple(Refusal(f"failed-report-{n}.json", 1, NOW) for n in range(100, 200))
    assert run(refusing(1), Backoff(refusals=gone)).backoff.refusals == (
        Refusal("failed-report-1.json", 1, NOW, 400),
    )


def test_a_result_that_cannot_be_read_is_parked_at_once(run, failed):
    (failed / "failed-report-1.json").write_bytes(b'{"results": {')
    client = ClientTwin()
    with heard() as log:
        done = run(client)
    assert (done.rejected, done.accepted, client.posted) == (1, 4, [2, 3, 4, 5])
    assert log.events == [("warning", "failed_result_rejected")]
    assert (failed / "rejected" / "failed-report-1.json").read_bytes() == b'{"results": {'
    assert (failed / "rejected" / "failed-report-1.json.reason").read_text()


def test_a_full_disk_leaves_a_damaged_result_and_drains_the_others(run, failed, monkeypatch):
    def full(*_: object) -> None:
        raise errors.DiskFull

    monkeypatch.setattr(FailedResults, "reject", full)
    (failed / "failed-report-3.json").write_bytes(b"{")
    assert run(ClientTwin()).accepted == 4
    assert os.listdir(failed) == ["failed-report-3.json"]


def test_a_given_up_result_that_cannot_be_parked_is_not_posted_again(run, failed, monkeypatch):
    def forbidden(*_: object) -> None:
        raise errors.NotPermitted

    monkeypatch.setattr(FailedResults, "reject", forbidden)
    given_up = Backoff(refusals=(Refusal("failed-report-2.json", 3, NOW, 400),), reason="HTTP 400")
    client = refusing(2, elsewhere=NOW + 1)
    with heard() as log:
        done = run(client, given_up)
    assert (client.posted, done.rejected) == ([1, 3, 4, 5], 0)
    assert os.listdir(failed) == ["failed-report-2.json"]
    assert log.events == [("warning", "failed_result_not_rejected")]


def test_a_result_that_vanished_or_may_not_be_read_is_left(run, failed, monkeypatch):
    def load(self: FailedResults, name: str) -> WindowResult:
        kind = {"1": errors.NotFound, "2": errors.NotPermitted}.get(name[14])
        if kind:
            raise kind(name)
        return result(int(name[14]))

    monkeypatch.setattr(FailedResults, "load", load)
    client = ClientTwin()
    assert run(client).accepted == 3
    assert client.posted == [3, 4, 5]
    assert sorted(os.listdir(failed)) == ["failed-report-1.json", "failed-report-2.json"]


def test_nothing_is_posted_that_could_not_be_removed_afterwards(run, monkeypatch):
    monkeypatch.setattr(FailedResults, "is_writable", lambda _: False)
    client = ClientTwin()
    with heard() as log:
        assert run(client) == Reposted(Backoff())
    assert client.posted == []
    assert log.events == [("warning", "failed_results_unusable")]


def test_a_disk_at_fault_leaves_results_and_does_not_end_the_job(run, monkeypatch):
    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", failing)
    with heard() as log:
        assert run(ClientTwin()) == Reposted(Backoff())
    assert log.events == [("warning", "failed_results_unusable")]


def test_one_result_that_cannot_be_read_holds_up_no_other(run, monkeypatch):
    load = FailedResults.load

    def failing(self: FailedResults, name: str) -> WindowResult:
        if name == "failed-report-2.json":
            raise errors.VolumeFailed(name)
        return load(self, name)

    monkeypatch.setattr(FailedResults, "load", failing)
    with heard() as log:
        assert run(ClientTwin()).accepted == 4
    assert log.events == [("warning", "kept_result_unreadable")]


def fresh(answer: PostOutcome, *, broken: bool = False, backoff: Backoff | None = None) -> Backoff:
    """The Backoff after a fresh result got this answer."""
    client = ClientTwin(broken=broken)
    poster = Poster(ONE, None, client, clock=lambda: NOW, jitter=random.Random(1))
    return poster.after_kept("failed-report-9.json", answer, backoff or Backoff())


def test_only_a_failure_of_a_fresh_result_makes_stored_ones_wait():
    for status in (401, 404):
        after = fresh(of_status(status, None, NOW))
        assert (after.failures, after.not_before, after.refusals) == (0, 0.0, ())
    assert fresh(UNREACHABLE).failures == 1


def test_a_fresh_result_that_met_an_error_has_had_its_first_try_and_pauses_no_other():
    error = of_status(500, None, NOW)
    assert fresh(error).refusals == (Refusal("failed-report-9.json", 1, NOW, 500),)
    assert fresh(error).not_before == 0.0
    assert fresh(error, broken=True).not_before > NOW


def test_any_answer_to_a_fresh_result_ends_a_pause_for_want_of_one():
    silent = fresh(SILENT)
    assert silent.holds_fresh(NOW + 1)
    for status in (404, 500):
        assert not fresh(of_status(status, None, NOW), backoff=silent).unanswered


def test_twenty_cycles_without_an_api_need_few_posts_and_lose_nothing(run, kept):
    client, backoff, pauses = refusing(1, 2, 3, 4, 5, status=500, broken=True), Backoff(), []
    jitter = random.Random(1)
    for cycle in range(20):
        backoff = run(client, backoff, now=NOW + 600 * cycle, jitter=jitter).backoff
        pauses.append(backoff.not_before - (NOW + 600 * cycle))
    assert 5 <= len(client.posted) < 18
    assert max(pauses) > 600
    assert run(ClientTwin(), backoff, now=NOW + 600 * 40).accepted == 5


def test_the_as_of_a_stored_result_is_looked_up_when_it_is_posted(run):
    client, telecom = ClientTwin(), Origin(7303, "Telecom")
    run(client, limit=2, origin_of={"181.165.116.94": telecom}.get)
    assert client.origins == [telecom, telecom]
    run(client, limit=1)
    assert client.origins[2:] == [None]
