"""Case 19: a worker is killed at points spread over everything it does, and another one goes on.

Each time anew: the same installation, SIGKILL at one line of the run, then a run to the end. What
must then be seen: every state file readable, nothing lost, the windows in the order of a run
without a kill, at most one post repeated, the noise of each window known once, the same reports
left, no temporary file.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.support import made
from tests.support.killed_worker import Workers
from tests.support.ledger import (
    Ledger,
    journal,
    kept,
    reports_left,
    set_back_pauses,
    temporary_files,
)
from tests.support.results import result
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.results.payload import failed_report

START = 1_700_000_000

#: Phases of a job that must each be hit often.
PHASES = ("read", "analyse", "post", "journal", "delete")

#: Where a result is safe and the journal is about to say so, and where reports are being deleted.
COMMIT, UNLINK = "Journal._make_count", "Folder.unlink"


@dataclass(slots=True)
class Scene:
    """An installation as it was before any run, a tix-api, and how a run without a kill ends."""

    original: Path
    api: StandInApi
    workers: Workers
    trace: list[tuple[str, str]] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    kept: list[tuple[int, int, int]] = field(default_factory=list)
    spreads: tuple[float, ...] = ()

    def fresh(self, name: str) -> Path:
        """A copy of the installation; the files are links, as none is ever written in place."""
        base = self.original.with_name(name)
        shutil.copytree(self.original, base, copy_function=os.link)
        self.api.posts.clear()
        self.api.answer(half_hearted)
        return base

    def attempted(self) -> list[int]:
        """Timestamps in the order in which they were first seen at the tix-api, taken or not."""
        return list(dict.fromkeys(post.body["timestamp"] for post in self.api.posts))


def half_hearted(user: int, installation: int, body: dict) -> Behaviour:
    """A tix-api that takes most results, but of every seven one each is refused, and put off."""
    status = {0: 503, 1: 404}.get(body["timestamp"] // 60 % 7, 200)
    return Behaviour(status)


def lay_out(base: Path) -> None:
    """Four windows, a gap, two windows, another source, one window; and what earlier runs left."""
    made.installation(base, START, 46)
    after_gap = START + 46 * 60 + 400
    made.installation(base, after_gap, 28)
    for i in range(19):
        second = after_gap + (28 + i) * 60
        content = made.minute(second, userId=1, installationId=2, source="198.51.100.9:1")
        (base / f"1/2/tix-report-{second}.json").write_bytes(content)
    bad = base / f"1/2/tix-report-{START + 315}.json"
    bad.write_bytes(b'{"from": ')
    os.utime(bad, (START, START))
    stored = base / "1/2/failed-results"
    stored.mkdir()
    for timestamp in (START - 4000, START - 3000, START - 2000):
        name = f"failed-report-{timestamp}.json"
        (stored / name).write_bytes(failed_report(result(timestamp)))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The installation, and a run without a kill, traced."""
    original = tmp_path_factory.mktemp("killed") / "original"
    lay_out(original)
    with StandInApi() as api:
        scene = Scene(original, api, Workers.start())
        base, trace = scene.fresh("whole"), original.with_name("trace.json")
        assert scene.workers.run(base, api.port, trace=str(trace))[0] == 0
        scene.trace = json.loads(trace.read_text())
        scene.sequence, scene.kept = scene.attempted(), kept(base)
        scene.left = reports_left(base / "1/2")
        scene.spreads = journal(base / "1/2").spreads
        yield scene
        scene.workers.end()


def spread(trace: list[tuple[str, str]], each: int) -> list[int]:
    """`each` lines of each phase, evenly from its first to its last."""
    points = []
    for phase in (*PHASES, "start", "repost"):
        lines = [number for number, (said, _) in enumerate(trace, 1) if said == phase]
        offset = Random(phase).random()
        points += [lines[int((i + offset) * len(lines) / each)] for i in range(each)]
    return points


def lines_in(trace: list[tuple[str, str]], phase: str, function: str) -> list[int]:
    """Every line of a function that was run in that phase."""
    return [n for n, (said, where) in enumerate(trace, 1) if (said, where) == (phase, function)]


def kill_and_go_on(scene: Scene, kill_at: int) -> tuple[str, int]:
    """Kill a worker there and look at everything; returns its phase and the duplicates."""
    base = scene.fresh(f"killed-{kill_at}")
    ledger = Ledger(base, scene.api)
    ended, phase = scene.workers.run(base, scene.api.port, kill_at=kill_at)
    assert ended == -9, "the fault did not act"
    state_is_readable(base)
    ledger.balance()
    go_on_to_the_same_end(scene, base)
    ledger.balance()
    drain(scene, base)
    ledger.settled()
    duplicates = ledger.duplicates
    shutil.rmtree(base)
    return phase, duplicates


def state_is_readable(base: Path) -> None:
    """Right after a kill: journal and kept results are whole, or not there."""
    journal(base / "1/2")
    kept(base)


def go_on_to_the_same_end(scene: Scene, base: Path) -> None:
    """Another worker: the same windows in the same order, the same results kept, reports left."""
    assert scene.workers.run(base, scene.api.port)[0] == 0
    assert scene.attempted() == scene.sequence
    assert kept(base) == scene.kept
    assert journal(base / "1/2").spreads == scene.spreads
    assert reports_left(base / "1/2") == scene.left
    assert temporary_files(base) == []


def drain(scene: Scene, base: Path) -> None:
    """The tix-api takes everything now, and the pauses have passed."""
    scene.api.answer(Behaviour())
    set_back_pauses(base)
    assert scene.workers.run(base, scene.api.port)[0] == 0


def kill_at_each(scene: Scene, points: list[int]) -> tuple[Counter[str], Counter[int]]:
    """Kill at each point; returns how often in each phase, and how often how many duplicates."""
    outcomes = [kill_and_go_on(scene, point) for point in sorted(set(points))]
    hit = Counter(phase for phase, _ in outcomes)
    repeated = Counter(duplicates for _, duplicates in outcomes)
    ledger = f"killed {len(outcomes)} times: {dict(hit)}; duplicates {dict(repeated)}; lost 0"
    sys.stdout.write(ledger + "\n")
    return hit, repeated


def test_the_run_without_a_kill_meets_everything_that_can_happen(scene):
    assert len(scene.sequence) == 10, "three kept results and seven windows"
    assert len(scene.kept) == 3, "one put off, two refused"
    assert len(scene.spreads) == 7, "the noise of each window"
    assert {phase for phase, _ in scene.trace} >= {*PHASES, "repost"}


def test_a_kill_anywhere_loses_nothing_and_keeps_the_sequence(scene):
    hit, repeated = kill_at_each(scene, spread(scene.trace, each=9))
    assert hit.total() >= 60
    assert min(hit[phase] for phase in PHASES) >= 8
    assert max(repeated) <= 1


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_kill_at_200_points_loses_nothing_and_keeps_the_sequence(scene):
    deleting = lines_in(scene.trace, "delete", UNLINK)
    hit, repeated = kill_at_each(scene, spread(scene.trace, each=30) + deleting[::10])
    assert hit.total() >= 200
    assert min(hit[phase] for phase in PHASES) >= 20
    assert max(repeated) <= 1


def test_a_kill_between_the_answer_and_the_journal_repeats_exactly_this_post(scene):
    accepted = sum(half_hearted(1, 2, {"timestamp": t}).status == 200 for t in scene.sequence[3:])
    lines = lines_in(scene.trace, "journal", COMMIT)
    _, repeated = kill_at_each(scene, lines[:: len(lines) // 9])  # the first line of each call
    assert repeated == {0: 9 - accepted, 1: accepted}, "nine journals: seven windows, two discards"


def test_a_kill_between_the_journal_and_a_deletion_repeats_nothing(scene):
    lines = lines_in(scene.trace, "delete", UNLINK)
    _, repeated = kill_at_each(scene, lines[:: max(1, len(lines) // 15)])
    assert set(repeated) == {0}
