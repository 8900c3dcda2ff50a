"""The journal among the real programs: what cannot be written or deleted, what 0.1.0 has left.

What must then be seen: a window is posted once however often its installation is looked at, the log
says what to do, and once that is done tixd goes on by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.killed_worker import Workers
from tests.support.ledger import Ledger, journal, reports_left, set_back_pauses
from tests.support.program import Ended, once, until
from tests.support.service import SHORT, service
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.volumes import without_privilege

START = 1_700_000_000

#: Somebody who is neither tixd nor root.
ANOTHER_USER = 12345

#: Names of the 28 reports of an installation, two windows.
NAMES = [f"tix-report-{START + 60 * i}.json" for i in range(28)]


def flag(path: Path, change: str) -> None:
    """Make a file or folder immutable (+i), or no longer (-i)."""
    done = subprocess.run(["chattr", change, str(path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"not run: no immutable files here ({done.stderr.strip()})")


def thawed(*paths: Path) -> None:
    """Let a frozen installation, and what is named of it, be changed again; a cycle looks at it."""
    for path in paths:
        flag(path, "-i")
    made.lively(paths[0])


def hand_over(*paths: Path) -> None:
    """Give files to another user; a folder of theirs gets the sticky bit."""
    if os.geteuid() != 0:
        pytest.skip("not run: not root, who alone may give files away")
    for path in paths:
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
        path.chmod(0o1777 if path.is_dir() else 0o600)


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that takes everything until told otherwise."""
    with StandInApi() as server:
        yield server


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """An installation with two windows; whatever a test has done to it, it can be removed."""
    folder = made.installation(tmp_path / "base", START, 28)
    yield folder
    for path in (folder, *folder.glob(".tixd.*")):
        subprocess.run(["chattr", "-i", str(path)], capture_output=True, check=False)


def cycle(folder: Path, api: StandInApi) -> Ended:
    """A cycle of a tixd that is bound by the permissions of files."""
    return once(folder.parents[1], api.port, before=without_privilege())


# --- what makes the journal unwritable -----------------------------------------------------------


def in_a_sticky_folder(lock: Path) -> None:
    lock.touch()
    hand_over(lock, lock.parent)


def immutable(lock: Path) -> None:
    lock.touch()
    flag(lock, "+i")


def read_only(lock: Path) -> None:
    lock.touch(0o400)


@dataclass(frozen=True, slots=True)
class Case:
    """How the file becomes unwritable and writable again, and what the log says of it."""

    spoil: Callable[[Path], object]
    mend: Callable[[Path], object]
    words: tuple[str, ...]


UNWRITABLE = {
    "another user's in a sticky folder": Case(
        in_a_sticky_folder, Path.unlink, (f"owned by uid {ANOTHER_USER}", "chown", "delete it")
    ),
    "immutable": Case(immutable, lambda lock: flag(lock, "-i"), ("chattr -i",)),
    "a folder in its place": Case(Path.mkdir, Path.rmdir, ("remove it",)),
    "a link in its place": Case(lambda lock: lock.symlink_to("x"), Path.unlink, ("remove it",)),
    "read-only": Case(read_only, lambda lock: lock.chmod(0o600), ("mode 0400", "chown")),
}


@pytest.mark.parametrize("name", few(UNWRITABLE, "immutable", "a link in its place"))
def test_nothing_is_posted_where_the_journal_cannot_be_written(folder, api, name):
    case, ledger, lock = UNWRITABLE[name], Ledger(folder.parents[1], api), folder / ".tixd.lock"
    case.spoil(lock)
    for _ in range(2):
        ended = cycle(folder, api)
        assert (api.posts, ended.counts) == ([], {"jobs_failed": 1})
        (told,) = ended.events("installation_skipped")
        assert all(words in told["reason"] for words in (".tixd.lock", *case.words))
    case.mend(lock)
    assert cycle(folder, api).counts["windows_posted"] == 2
    ledger.settled()
    assert ledger.duplicates == 0


def test_a_journal_that_fails_after_its_proof_costs_no_second_post(folder, api):
    ledger, lock = Ledger(folder.parents[1], api), folder / ".tixd.lock"
    api.answer(lambda *_: flag(lock, "+i") or Behaviour())
    for _ in range(2):
        ended = cycle(folder, api)
        assert "chattr -i" in ended.events("installation_skipped")[0]["reason"]
        assert (len(api.posts), reports_left(folder)) == (1, NAMES[9:])
    flag(lock, "-i")
    api.answer(Behaviour())
    cycle(folder, api)
    ledger.settled()
    assert ledger.duplicates == 0


def test_what_can_be_neither_written_nor_deleted_is_posted_once_by_a_process(folder, api, tmp_path):
    ledger, both = Ledger(folder.parents[1], api), (folder, folder / ".tixd.lock")
    api.answer(lambda *_: [flag(path, "+i") for path in both] and Behaviour())
    with service(folder.parents[1], tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
        until(lambda: daemon.told()["counts"].get("jobs_failed", 0) >= 2)
        assert (len(api.posts), reports_left(folder)) == (1, NAMES)
        thawed(folder)
        api.answer(Behaviour())
        until(lambda: daemon.told()["counts"].get("jobs_failed", 0) >= 4)
        assert len(api.posts) == 1
        thawed(folder, folder / ".tixd.lock")
        until(lambda: len(api.posts) == 2)
        until(lambda: reports_left(folder) == NAMES[18:])
        assert len(daemon.log("installation_skipped")) == 1, "one line an hour"
    ledger.settled()
    assert ledger.duplicates == 0


# --- what cannot be deleted ----------------------------------------------------------------------


def test_reports_that_cannot_be_deleted_are_posted_once_and_hold_up_no_others(folder, api):
    ledger = Ledger(folder.parents[1], api)
    hand_over(folder, *(folder / name for name in NAMES[:5]))
    for path in folder.glob("*.json"):
        path.chmod(0o644)
    first, second = cycle(folder, api), cycle(folder, api)
    assert (first.counts["windows_posted"], first.counts["reports_deleted"]) == (2, 13)
    assert second.counts == {"reports_not_deleted": 5}
    (told,) = second.events("report_not_deleted")
    assert "Operation not permitted" in told["reason"]
    assert journal(folder).names == tuple(NAMES[:5])
    os.chown(folder, 0, 0)
    assert cycle(folder, api).counts == {"reports_deleted": 5}
    ledger.settled()
    assert ledger.duplicates == 0


def test_a_kept_result_that_cannot_be_removed_is_posted_once(folder, api):
    ledger = Ledger(folder.parents[1], api)
    api.answer(Behaviour(500))
    cycle(folder, api)
    waiting = folder / "failed-results"
    hand_over(waiting, *waiting.iterdir())
    for path in waiting.iterdir():
        path.chmod(0o644)
    api.answer(Behaviour())
    set_back_pauses(folder.parents[1])
    assert cycle(folder, api).counts == {"results_reposted": 2}
    (told,) = cycle(folder, api).events("result_not_removed")
    assert told["file"].startswith("failed-report-")
    os.chown(waiting, 0, 0)
    cycle(folder, api)
    ledger.settled()
    assert ledger.duplicates == 0


def test_folders_in_the_places_of_temporary_files_hold_up_nothing(folder, api):
    ledger = Ledger(folder.parents[1], api)
    (folder / ".tixd.x.tmp").mkdir()
    (folder / ".tixd.json.tmp").mkdir()
    last = START + 19 * 60 - 1
    (folder / f"failed-results/failed-report-{last}.json.tmp").mkdir(parents=True)
    api.answer(Behaviour(500))
    assert cycle(folder, api).counts["windows_stored"] == 2
    api.answer(Behaviour())
    set_back_pauses(folder.parents[1])
    ended = cycle(folder, api)
    assert ended.counts == {"results_reposted": 2}
    assert {line["file"] for line in ended.events("file_ignored")} == {
        ".tixd.x.tmp",
        ".tixd.json.tmp",
    }
    ledger.balance()
    assert len(api.accepted) == 2


# --- beside tix-time-processor and tixd 0.1.0 ----------------------------------------------------


def of_ours(folder: Path) -> list[str]:
    """What the tix-time-processor would take for a report, and is none."""
    return [name for name in os.listdir(folder) if name.endswith(".json") and name not in NAMES]


def test_at_no_time_does_a_name_of_ours_end_in_json(folder, api):
    seen: list[str] = []
    (folder / NAMES[3]).write_bytes(b"{")
    os.utime(folder / NAMES[3], (START, START))

    def answer(*_: object) -> Behaviour:
        seen.extend(of_ours(folder))
        return Behaviour(500 if len(api.posts) < 2 else 200)

    api.answer(answer)
    for _ in range(3):
        cycle(folder, api)
        set_back_pauses(folder.parents[1])
        seen += of_ours(folder)
    assert len(api.posts) >= 3
    assert seen == []


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """The program that forks workers."""
    workers = Workers.start()
    yield workers
    workers.end()


def left_by_a_former_version(base: Path) -> Path:
    """An installation in which 0.1.0 was killed after the post of its first window."""
    folder = made.installation(base, START, 28)
    entry = (
        f'{{"format":1,"window":{START},"timestamp":{START + 19 * 60 - 1},'
        f'"delete":{json.dumps(NAMES[:9])},"failures":0,"not_before":0.0,"refusals":[]}}'
    )
    (folder / ".tixd.lock").touch()
    (folder / ".tixd.json").write_text(entry)
    (folder / ".tixd.json.tmp").write_text(entry[:50])
    (folder / NAMES[0]).unlink()
    return folder


def points(trace: Path) -> list[int]:
    """Lines of the take-over, evenly from its first to its last, the deletions in it included."""
    events = enumerate(json.loads(trace.read_text()), 1)
    names = ("finish_deletions", "_old", "_save_or_remember", "_make_count", "write_now")
    names += ("delete", "unlink")
    lines = [n for n, (said, name) in events if said == "start" and name.endswith(names)]
    return sorted({*lines[:: max(1, len(lines) // 25)], *lines[-3:]})


def test_what_a_former_version_has_left_is_finished_once_whatever_kills_it(tmp_path, api, workers):
    original, trace = tmp_path / "original", tmp_path / "trace.json"
    left_by_a_former_version(original)
    shutil.copytree(original, tmp_path / "whole")
    assert workers.run(tmp_path / "whole", api.port, trace=str(trace))[0] == 0
    for kill_at in points(trace):
        base = tmp_path / f"killed-{kill_at}"
        shutil.copytree(original, base)
        api.posts.clear()
        assert workers.run(base, api.port, kill_at=kill_at)[0] == -9
        assert workers.run(base, api.port)[0] == 0
        assert [post.body["timestamp"] for post in api.posts] == [START + 28 * 60 - 1]
        assert (reports_left(base / "1/2"), of_ours(base / "1/2")) == (NAMES[18:], [])
        (base / "1/2" / NAMES[2]).write_bytes(made.minute(START + 120))
        assert workers.run(base, api.port)[0] == 0
        assert NAMES[2] in reports_left(base / "1/2"), "a report restored by hand is a new one"
