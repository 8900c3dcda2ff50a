"""Single bad installations beside good ones: they hold up nobody, and are told by name.

40 installations. Two are unknown to the tix-api, which never answers their posts, and one has a
kept result over which it fails (500), because it finds no AS for an IPv6 source.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.debian import program
from tests.support.ledger import at_api, kept, set_back_pauses
from tests.support.program import ROOT, TIXD, Ended, once, until
from tests.support.promql import ring
from tests.support.results import result
from tests.support.service import SHORT, Service, service
from tests.support.stand_in_api import StandInApi
from tixd.directory import Folder
from tixd.results.failed_results import FailedResults

START = 1_700_000_000

#: Users of the scene, each with one installation, 2, of one window.
USERS = range(1, 41)

#: Those that the tix-api does not know: neighbours, which one worker may visit in a row.
UNKNOWN = (1, 2)

#: The one whose oldest kept result meets an error, and the timestamps of all that it keeps.
FAILING, BAD, GOOD = 3, 1_600_000_000, (1_600_000_600, 1_600_001_200, 1_600_001_800)

#: Quick deadlines: an unknown installation costs one of them.
QUICK = {"TIX_API_READ_SECONDS": "3", "TIX_WORKERS": "2"}

#: Lines of /metrics once the posts of the three have been counted.
COUNTED = ('tixd_posts_total{outcome="unanswered"} 2.0', 'tixd_posts_total{outcome="failed"} 1.0')


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The scene."""
    for user in USERS:
        made.installation(tmp_path / "base", START, 19, user=user)
    folder = tmp_path / "base" / str(FAILING) / "2"
    with Folder(str(folder)) as opened, FailedResults(opened) as failed_results:
        failed_results.add(result(BAD, ip="2001:db8::1"))
        for timestamp in GOOD:
            failed_results.add(result(timestamp))
    made.lively(folder)
    return tmp_path / "base"


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api as the real one, whose database lacks two installations."""
    with StandInApi(user="tix", password="secret") as server:
        server.unknown = {(user, 2) for user in UNKNOWN}
        yield server


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's own tool."""
    return program("promtool", "prometheus")


def posted_windows(api: StandInApi) -> set[int]:
    """Users of whom a fresh window is at the tix-api."""
    return {user for user, _, timestamp in at_api(api) if timestamp >= START}


def posted_of_failing(api: StandInApi) -> set[int]:
    """Timestamps of the kept results of the failing installation that are at the tix-api."""
    return {at for user, _, at in at_api(api) if user == FAILING and at < START}


def named(lines: list[dict]) -> set[tuple[str, int]]:
    """Events of single installations in the log, with the users that they name."""
    events = ("result_unanswered", "result_failed")
    return {(line["event"], line["user"]) for line in lines if line["event"] in events}


def all_named(lines: list[dict]) -> None:
    """The log names the three, and nothing general."""
    assert named(lines) == {
        *(("result_unanswered", user) for user in UNKNOWN),
        ("result_failed", FAILING),
    }
    assert [line for line in lines if line["event"] == "api_unreachable"] == []


def all_good_ones_posted(api: StandInApi, base: Path) -> None:
    """All but the two unknown ones and the one bad result."""
    assert posted_windows(api) == set(USERS) - set(UNKNOWN)
    assert posted_of_failing(api) == set(GOOD)
    assert len(at_api(api)) == len(set(at_api(api))), "nothing is posted twice"
    assert {(user, at) for user, _, at in kept(base) if user == FAILING} == {(FAILING, BAD)}
    assert {user for user, _, _ in kept(base)} == {*UNKNOWN, FAILING}


def test_once_posts_all_good_results_in_its_first_cycle(base, api):
    ended: Ended = once(base, api.port, **QUICK)
    assert ended.code == 0
    all_named(ended.log)
    all_good_ones_posted(api, base)


def test_the_next_cycle_does_not_wait_for_the_unknown_ones_again(base, api):
    once(base, api.port, **QUICK)
    before = len(api.posts)
    once(base, api.port, **QUICK)
    assert [post.user for post in api.posts[before:]] == [FAILING], "the bad one, once more"
    api.unknown.clear()
    set_back_pauses(base)
    once(base, api.port, **QUICK)
    assert posted_windows(api) == set(USERS)


def failed_list(running: Service) -> dict[int, dict]:
    """What `tixd failed list` says, by user."""
    command = [*TIXD, "failed", "list", "--format", "json"]
    done = subprocess.run(
        command, cwd=ROOT, env=running.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {row["user"]: row for row in map(json.loads, done.stdout.splitlines())}


def metrics_of_an_idle_service(folder: Path, api: StandInApi) -> str:
    """What /metrics shows before any post."""
    (folder / "base").mkdir(parents=True)
    with service(folder / "base", folder, api.port) as running:
        until(lambda: running.get("/metrics")[1])
        return running.get("/metrics")[1]


def test_the_service_posts_them_names_three_and_rings_for_them_alone(promtool, tmp_path, base, api):
    before = metrics_of_an_idle_service(tmp_path / "idle", api)
    with service(base, tmp_path, api.port, **QUICK) as running:
        until(lambda: len(named(running.log())) == 3 and posted_windows(api) >= {*USERS[2:]})
        until(lambda: set(failed_list(running)) == {*UNKNOWN, FAILING})
        until(lambda: {*COUNTED} <= {*running.get("/metrics")[1].splitlines()})
        found, after = failed_list(running), running.get("/metrics")[1]
        all_named(running.log())
        assert running.told()["api"]["kept_since"] is None, "nothing general is told"
    all_good_ones_posted(api, base)
    assert {user: row["reason"] for user, row in found.items()} == {
        **dict.fromkeys(UNKNOWN, "no answer in time"),
        FAILING: "HTTP 500 Internal Server Error",
    }
    assert all(found[user]["paused_until"] for user in UNKNOWN)
    assert ring(promtool, tmp_path, before, after) == {"TixdResultUnanswered", "TixdResultFailed"}


def keep_one_bad(base: Path) -> Path:
    """One installation with nothing but the bad result; its failed-results."""
    folder = base / str(FAILING) / "2"
    folder.mkdir(parents=True)
    with Folder(str(folder)) as opened, FailedResults(opened) as failed_results:
        failed_results.add(result(BAD, ip="2001:db8::1"))
    made.lively(folder)
    return folder / "failed-results"


class Others:
    """Installations that come one after the other, each whole, once the one before is posted."""

    def __init__(self, base: Path, api: StandInApi) -> None:
        self._base, self._api, self._count = base, api, 0

    def come(self) -> None:
        """Add one where it is time, and let pauses pass."""
        if len([post for post in self._api.accepted if post.user != FAILING]) == self._count:
            self._count += 1
            user = 100 + self._count
            made.installation(self._base / "made", START, 19, user=user)
            (self._base / "made" / str(user)).rename(self._base / str(user))
            set_back_pauses(self._base)


def test_a_result_that_meets_an_error_in_three_cycles_is_rejected_with_the_apis_words(
    tmp_path, api
):
    base = tmp_path / "base"
    failed, others = keep_one_bad(base), Others(base, api)
    rejected = failed / "rejected" / f"failed-report-{BAD}.json"
    options = {"TIX_WORKERS": "1", "TIX_PROCESSING_PERIOD": SHORT}
    with service(base, tmp_path, api.port, **options) as running:
        until(lambda: others.come() or rejected.exists())
        assert failed_list(running)[FAILING]["rejected"] == 1
    tries = [post.status for post in api.posts if post.user == FAILING]
    assert len(tries) >= 3
    assert set(tries) == {500}
    said = rejected.with_name(f"{rejected.name}.reason").read_text()
    assert said == 'HTTP 500 Internal Server Error\n{"error": "no AS of this address"}\n'
    assert len(running.log("result_failed")) == 1, "once an hour"
