"""scripts/demo, as a newcomer runs it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.histories import rows
from tests.support.program import until

ROOT = Path(__file__).resolve().parents[2]

#: How long the day of 40 lines may take on a busy machine.
DAY_SECONDS = 900.0


def test_the_demo_posts_what_it_simulated_and_leaves_nothing_behind(tmp_path):
    if not (ROOT / ".venv" / "bin" / "tixd").exists():
        pytest.skip("scripts/setup has not made .venv, and the demo would download it")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], cwd="/", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"([1-4])/1 .*?:\d\d" + r"[^\d-]+([\d.-]+)" * 6, done.stdout)
    assert {user for user, *_ in rows} == {"1", "2", "3", "4"}
    assert "results that could not be posted: 0" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_collectors_demo_shows_what_became_of_a_bundle(tmp_path):
    if not (ROOT / ".venv" / "bin" / "tixd").exists():
        pytest.skip("scripts/setup has not made .venv, and the demo would download it")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "scripts" / "demo", "collector"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 OK\n400 Error processing record: " in done.stdout
    assert '"RecordId": "one"' in done.stdout
    assert '"Records":3,"RecordErrors":1' in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_explained_and_nothing_is_run():
    done = subprocess.run([ROOT / "scripts" / "demo", "--help"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Usage: scripts/demo [--keep]" in done.stderr


@pytest.mark.parametrize("module", ["stand_in_api", "bundles"])
def test_what_the_demos_take_from_the_tests_needs_python_alone(module):
    without_packages = [sys.executable, "-S", "-c", f"import tests.support.{module}"]
    done = subprocess.run(without_packages, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@contextlib.contextmanager
def looking(folder: Path, *words: str, **variables: str) -> Iterator[str]:
    """Run the demo with --look; yields the address of its page, then ends it as Ctrl-C does."""
    if not (ROOT / ".venv" / "bin" / "tixd").exists():
        pytest.skip("scripts/setup has not made .venv, and the demo would download it")
    command = [ROOT / "scripts" / "demo", *words, "--look"]
    temporary, said = folder / "tmp", folder / "said"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), **variables}
    with said.open("wb") as output:
        demo = subprocess.Popen(
            command, cwd="/", env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until(lambda: demo.poll() is not None or "Its page: " in said.read_text(), DAY_SECONDS)
        assert demo.poll() is None, said.read_text()
        yield re.findall(r"Its page: (http://127\.0\.0\.1:\d+/\S*)\n", said.read_text())[0]
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(60) == 0, said.read_text()
    assert list(temporary.iterdir()) == []
    until(lambda: not running(demo.pid))


def running(group: int) -> list[str]:
    """Processes of the group."""
    found = subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True)
    return found.stdout.split()


def results(folder: Path) -> dict[int, int]:
    """How many results of each user the history of the demo has; none before its first commit."""
    query = "SELECT user, count(*) AS count FROM results GROUP BY user"
    histories = folder.glob("tmp/tixd-demo.*/schedule/history.sqlite")
    return {row["user"]: row["count"] for history in histories for row in rows(history, query)}


@pytest.mark.parametrize(
    ("lines", "hours", "least"),
    [(5, 2, 3), pytest.param(40, 24, 110, marks=pytest.mark.long)],
)
def test_the_demo_stays_up_to_be_looked_at_with_results_of_every_line(
    tmp_path, lines, hours, least
):
    size = {"TIXD_DEMO_LINES": str(lines), "TIXD_DEMO_HOURS": str(hours)}
    with looking(tmp_path, **size):
        until(lambda: results(tmp_path).keys() == set(range(1, lines + 1)))  # a commit a second
        until(lambda: min(results(tmp_path).values()) >= least)


def test_the_collectors_demo_stays_up_with_a_day_of_probes_some_of_them_odd(tmp_path):
    with looking(tmp_path, "collector"):
        [history] = tmp_path.glob("tmp/tixd-demo.*/collector.sqlite")
        found = rows(history, "SELECT count(DISTINCT hour) AS hours FROM sender_hours")
        assert found[0]["hours"] >= 24
