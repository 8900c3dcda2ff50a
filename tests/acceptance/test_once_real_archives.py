"""`tixd once` over real recordings, posting to a real server: all that golden.jsonl holds.

Golden values are the original's. Tolerance: all equal, Hurst within 1e-6 relative; usage is limited
to 0..1 in a post.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ledger import Ledger, reports_left, temporary_files
from tests.support.program import Ended, once
from tests.support.shared import shared_data
from tests.support.stand_in_api import Post, StandInApi

ARCHIVES = ("batch-test-report-1b", "batch-test-reports-3b", "batch-test-reports-5b")

_REPORT = re.compile(r"/?(\d{10})/(tix-report-\d+\.json)")


@dataclass(frozen=True, slots=True)
class Run:
    """Two cycles over the recordings: reports of each folder before and after, posts, summaries."""

    before: dict[Path, list[str]]
    after: dict[Path, list[str]]
    posts: list[Post]
    first: Ended
    second: Ended
    base: Path


def lay_out(base: Path) -> dict[Path, list[str]]:
    """Each archive is a user, each of its folders an installation; the names of their reports."""
    for user, archive in enumerate(ARCHIVES, 1):
        with tarfile.open(shared_data(f"tix/{archive}.tar.gz")) as content:
            for member in content:
                if found := _REPORT.fullmatch(member.name):
                    folder = base / str(user) / found[1]
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / found[2]).write_bytes(content.extractfile(member).read())
    return {folder: reports_left(folder) for folder in sorted(base.glob("*/*"))}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The two cycles."""
    base = tmp_path_factory.mktemp("real")
    before = lay_out(base)
    with StandInApi(user="tix", password="secret") as api:
        ledger = Ledger(base, api)
        first = once(base, api.port, TIX_WORKERS="2")
        ledger.settled()
        after = {folder: reports_left(folder) for folder in before}
        second = once(base, api.port)
        assert ledger.duplicates == 0
        return Run(before, after, list(api.posts), first, second, base)


def golden() -> dict[tuple[int, int], dict]:
    """What is due, by user and installation."""
    lines = map(json.loads, shared_data("tix/golden.jsonl").read_text().splitlines())
    return {(ARCHIVES.index(line["experiment"]) + 1, int(line["window"])): line for line in lines}


def body_due(line: dict) -> dict:
    """The post that a golden line means."""
    result = line["result"]
    body = {"timestamp": result["timestamp"], "version": "1.0.0", "ip": line["ip"]}
    for way, name in (("up", "Up"), ("down", "Down")):
        values = result[f"{way}stream"]
        body[f"{way}Usage"] = min(1.0, max(0.0, values["usage"]))
        body[f"{way}Quality"] = values["quality"]
        body[f"hurst{name}Rs"] = pytest.approx(values["hurst"]["rs"], rel=1e-6)
        body[f"hurst{name}Wavelet"] = pytest.approx(values["hurst"]["wavelet"], rel=1e-6)
    return body


def test_every_real_window_is_posted_as_the_original_computes_it(run):
    due = golden()
    assert len(due) == len(run.posts) == 61
    posted = {(post.user, post.installation): post.body for post in run.posts}
    assert posted.keys() == due.keys()
    for key, line in due.items():
        assert posted[key] == body_due(line), key


def test_the_newer_half_of_each_real_window_is_kept(run):
    assert len(run.before) == 61
    for folder, names in run.before.items():
        assert run.after[folder] == names[max(1, len(names) // 2) :], folder


def test_a_second_cycle_over_real_reports_posts_nothing_new(run):
    assert run.second.code == 0
    assert (run.second.installations, run.second.counts) == (61, {})
    assert {folder: reports_left(folder) for folder in run.before} == run.after
    assert temporary_files(run.base) == []


def test_the_summary_counts_what_was_posted_and_deleted(run):
    gone = sum(len(names) - len(run.after[folder]) for folder, names in run.before.items())
    assert run.first.code == 0
    assert run.first.installations == 61
    assert run.first.counts == {"windows_posted": 61, "reports_deleted": gone}
