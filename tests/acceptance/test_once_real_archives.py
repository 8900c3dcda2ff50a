"""`tixd once` over windows that the original has read, posting to a real server.

The expected values are the original's. Tolerance: all equal, Hurst within 1e-6 relative; usage is
limited to 0..1 in a post.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import recordings
from tests.support.ledger import Ledger, reports_left, temporary_files
from tests.support.program import Ended, once
from tests.support.stand_in_api import Post, StandInApi

#: The result that is expected, by user and installation.
Results = dict[tuple[int, int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Run:
    """Two cycles over the windows: reports of each folder before and after, posts, summaries."""

    expected: Results
    before: dict[Path, list[str]]
    after: dict[Path, list[str]]
    posts: list[Post]
    first: Ended
    second: Ended
    base: Path


def lay_out(base: Path, experiments: tuple[str, ...]) -> Results:
    """Make a user of each experiment and an installation of each of its windows."""
    results: Results = {}
    for user, experiment in enumerate(experiments, 1):
        for line in recordings.expected(experiment):
            number = int(line["window"].removeprefix("i"))
            recordings.lay_out(experiment, line["window"], base / str(user) / str(number))
            results[user, number] = line
    return results


@pytest.fixture(
    scope="module", params=[(recordings.OWN,), recordings.RECORDED], ids=["own", "recorded"]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The two cycles."""
    base = tmp_path_factory.mktemp("real")
    results = lay_out(base, request.param)
    before = {folder: reports_left(folder) for folder in sorted(base.glob("*/*"))}
    with StandInApi(user="tix", password="secret") as api:
        ledger = Ledger(base, api)
        first = once(base, api.port, TIX_WORKERS="2")
        ledger.settled()
        after = {folder: reports_left(folder) for folder in before}
        second = once(base, api.port)
        assert ledger.duplicates == 0
        return Run(results, before, after, list(api.posts), first, second, base)


def body_expected(line: dict) -> dict:
    """The post that an expected result means."""
    result = line["result"]
    body = {"timestamp": result["timestamp"], "version": "1.0.0", "ip": line["ip"]}
    for way, name in (("up", "Up"), ("down", "Down")):
        values = result[f"{way}stream"]
        body[f"{way}Usage"] = min(1.0, max(0.0, values["usage"]))
        body[f"{way}Quality"] = values["quality"]
        body[f"hurst{name}Rs"] = pytest.approx(values["hurst"]["rs"], rel=1e-6)
        body[f"hurst{name}Wavelet"] = pytest.approx(values["hurst"]["wavelet"], rel=1e-6)
    return body


def test_every_window_is_posted_as_the_original_computes_it(run):
    posted = {(post.user, post.installation): post.body for post in run.posts}
    assert len(run.posts) == len(run.expected) in (13, 61)
    assert posted.keys() == run.expected.keys()
    for key, line in run.expected.items():
        assert posted[key] == body_expected(line), key


def test_the_newer_half_of_each_window_is_kept(run):
    assert len(run.before) == len(run.expected)
    for folder, names in run.before.items():
        line = run.expected[int(folder.parent.name), int(folder.name)]
        taken = line.get("reports", len(names))
        assert run.after[folder] == names[max(1, taken // 2) :], folder


def test_a_second_cycle_over_the_same_reports_posts_nothing_new(run):
    assert run.second.code == 0
    assert (run.second.installations, run.second.counts) == (len(run.expected), {})
    assert {folder: reports_left(folder) for folder in run.before} == run.after
    assert temporary_files(run.base) == []


def test_the_summary_counts_what_was_posted_and_deleted(run):
    gone = sum(len(names) - len(run.after[folder]) for folder, names in run.before.items())
    assert run.first.code == 0
    assert run.first.installations == len(run.expected)
    assert run.first.counts == {"windows_posted": len(run.expected), "reports_deleted": gone}
