"""Case 19 with posts in flight: a worker is killed while 16 installations wait for the tix-api.

Each time anew: SIGKILL at one line of the run, then a run to the end. What must then be seen:
nothing lost, the windows of each installation in the order of a run without a kill, and at most one
post of each installation repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.support import made
from tests.support.killed_worker import Workers
from tests.support.ledger import Ledger, journal, kept, set_back_pauses, temporary_files
from tests.support.results import result
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.results.payload import failed_report

START = 1_700_000_000
USERS = [*range(1, 17)]


@dataclass(slots=True)
class Scene:
    """Installations as they were before any run, a tix-api, and what a run without a kill does."""

    original: Path
    api: StandInApi
    workers: Workers
    lines: int = 0
    sequence: dict[int, list[int]] | None = None

    def run(self, base: Path, kill_at: int = 0, trace: str = "") -> int:
        """Let a worker do what there is to do; returns its exit code."""
        return self.workers.run(base, self.api.port, kill_at, trace, users=USERS)[0]

    def fresh(self, name: str) -> Path:
        """A copy of the installations; the files are links, as none is ever written in place."""
        base = self.original.with_name(name)
        shutil.copytree(self.original, base, copy_function=os.link)
        self.api.posts.clear()
        self.api.answer(moody)
        return base

    def attempted(self) -> dict[int, list[int]]:
        """Timestamps of each user in the order in which they were first seen at the tix-api."""
        seen: dict[int, list[int]] = {user: [] for user in USERS}
        for post in self.api.posts:
            if post.body["timestamp"] not in seen[post.user]:
                seen[post.user].append(post.body["timestamp"])
        return seen


def moody(user: int, installation: int, body: dict) -> Behaviour:
    """A tix-api that takes most results, but puts off one of every seven."""
    return Behaviour(200 if (body["timestamp"] // 60 + user) % 7 else 429)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The installations, and a run without a kill, traced."""
    original = tmp_path_factory.mktemp("in_flight") / "original"
    for user in USERS:
        made.installation(original, START + user, 28, user=user)
        if user % 4 == 0:
            stored = original / f"{user}/2/failed-results"
            stored.mkdir()
            name = f"failed-report-{START - 4000}.json"
            (stored / name).write_bytes(failed_report(result(START - 4000)))
    with StandInApi() as api:
        scene = Scene(original, api, Workers.start())
        base, trace = scene.fresh("whole"), original.with_name("trace.json")
        assert scene.run(base, trace=str(trace)) == 0
        scene.lines, scene.sequence = len(json.loads(trace.read_text())), scene.attempted()
        yield scene
        scene.workers.end()


def kill_and_go_on(scene: Scene, kill_at: int) -> int:
    """Kill a worker there and look at everything; returns how many posts were repeated."""
    base = scene.fresh(f"killed-{kill_at}")
    ledger = Ledger(base, scene.api)
    assert scene.run(base, kill_at) == -9, "the fault did not act"
    for user in USERS:
        journal(base / f"{user}/2")  # is whole, or not there
    kept(base)
    ledger.balance()
    assert scene.run(base) == 0
    assert scene.attempted() == scene.sequence
    assert temporary_files(base) == []
    ledger.balance()
    scene.api.answer(Behaviour())
    set_back_pauses(base)
    assert scene.run(base) == 0
    ledger.settled()
    repeated = Counter((p.user, p.body["timestamp"]) for p in scene.api.accepted)
    shutil.rmtree(base)
    assert all(times <= 2 for times in repeated.values())
    users = Counter(user for (user, _), times in repeated.items() if times > 1)
    assert all(posts == 1 for posts in users.values()), "one post of an installation"
    return ledger.duplicates


def kill_at_points(scene: Scene, count: int) -> None:
    """Kill at points spread over the whole run."""
    draw = Random(count)
    part = scene.lines * 0.98 / count
    repeated = Counter(
        kill_and_go_on(scene, int((i + draw.random()) * part) + 1) for i in range(count)
    )
    sys.stdout.write(f"killed {count} times with 16 in flight: repeated {repeated}; lost 0\n")
    assert max(repeated) > 1, "several posts were in flight"


def test_a_kill_with_sixteen_posts_in_flight_loses_nothing_and_repeats_these_at_most(scene):
    kill_at_points(scene, 8)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_kill_at_250_points_with_sixteen_posts_in_flight(scene):
    kill_at_points(scene, 250)
