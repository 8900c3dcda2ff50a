"""What the settings of the usage estimator change in posts and in kept results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.ledger import journal
from tests.support.made import lay_out, made_reports
from tests.support.program import once
from tests.support.stand_in_api import StandInApi
from tixd.commands import Invocation
from tixd.commands.analyze import command
from tixd.simulation.probing import LinkDirection

#: A post that takes long on a busy machine is none the worse.
PATIENT = {f"TIX_API_{what}_SECONDS": "60" for what in ("CONNECT", "READ", "TOTAL")}


def posted(base, **settings: str) -> dict:
    """What one window of a made line is posted as."""
    lay_out(base / "1" / "1", made_reports()[:19])
    with StandInApi(user="tix", password="secret") as api:
        ended = once(base, api.port, **PATIENT, **settings)
        assert ended.counts.get("windows_posted") == 1, ended
        return api.posts[0].body


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The post by each estimator alone, and with the other beside it."""
    settings = {
        "mode": {},
        "probes": {"TIX_USAGE_ESTIMATOR": "delayed-probes"},
        "both": {"TIX_USAGE_POST": "both"},
        "both, probes first": {"TIX_USAGE_ESTIMATOR": "delayed-probes", "TIX_USAGE_POST": "both"},
    }
    return {
        name: posted(tmp_path_factory.mktemp("base"), **given) for name, given in settings.items()
    }


def test_the_estimator_changes_usage_and_no_other_member_but_quality(bodies):
    mode, probes = bodies["mode"], bodies["probes"]
    assert mode.keys() == probes.keys()
    differing = {name for name in mode if mode[name] != probes[name]}
    assert {"upUsage", "downUsage"} <= differing
    assert differing <= {"upUsage", "downUsage", "upQuality", "downQuality"}


@pytest.mark.parametrize(
    ("name", "first", "other"),
    [("both", "mode", "probes"), ("both, probes first", "probes", "mode")],
)
def test_the_other_estimate_stands_beside_the_first(bodies, name, first, other):
    alternative = {f"{way}Alt": bodies[other][way] for way in ("upUsage", "downUsage")}
    probes = bodies["probes"]
    widths = {
        f"{way}Width": pytest.approx(max(0.05, 1.2 * probes[way] * (1 - probes[way])))
        for way in ("upUsage", "downUsage")
    }
    assert bodies[name] == bodies[first] | alternative | widths | {"clock": "fine"}


def test_a_stored_result_keeps_both_estimates_until_it_is_posted(tmp_path, bodies):
    lay_out(tmp_path / "1" / "1", made_reports()[:19])
    once(tmp_path, 9, TIX_USAGE_POST="both")
    (stored,) = (tmp_path / "1" / "1" / "failed-results").glob("*.json")
    ways = json.loads(stored.read_text())["results"]
    assert ways["downstream"]["usageAlt"] == bodies["probes"]["downUsage"]
    assert ways["upstream"]["usageAlt"] == bodies["probes"]["upUsage"]
    assert ways["upstream"]["usageWidth"] >= 0.05
    assert ways["upstream"]["unsteady"] is False
    assert ways["clock"] == "fine"


def jittery(folder: Path) -> Path:
    """Reports of two hours of an idle line whose downlink jitters by 2 ms."""
    idle = LinkDirection(10e6, 0.15, (0.0,))
    files = made_reports(duration_seconds=7200, downstream=idle, jitter_seconds=0.002)
    return lay_out(folder, files)


def test_the_noise_of_the_windows_before_is_kept_in_the_journal(tmp_path):
    jittery(tmp_path / "1" / "1")
    with StandInApi(user="tix", password="secret") as api:
        once(tmp_path, api.port, TIX_USAGE_ESTIMATOR="delayed-probes", **PATIENT)
        usages = [post.body["downUsage"] for post in api.posts]
    assert min(usages[:5]) > 0.1
    assert max(usages[5:]) < 0.05
    spreads = journal(tmp_path / "1" / "1").spreads
    assert len(spreads) == len(usages) > 8
    assert all(300_000 < spread < 700_000 for spread in spreads)


def test_the_daemon_reads_windows_as_analyze_does(tmp_path):
    tree = jittery(tmp_path / "1" / "1")
    arguments = ["--estimator", "delayed-probes", "--format", "json", str(tree)]
    shown = CliRunner().invoke(command, arguments, obj=Invocation({}, None)).stdout
    with StandInApi(user="tix", password="secret") as api:
        once(tmp_path, api.port, TIX_USAGE_ESTIMATOR="delayed-probes", **PATIENT)
        posts = [(post.body["timestamp"], post.body["downUsage"]) for post in api.posts]
    results = [json.loads(line)["result"] for line in shown.splitlines()]
    assert posts == [(each["timestamp"], each["downstream"]["usage"]) for each in results]


def test_the_mode_keeps_no_noise(tmp_path):
    lay_out(tmp_path / "1" / "1", made_reports())
    with StandInApi(user="tix", password="secret") as api:
        once(tmp_path, api.port, **PATIENT)
    assert journal(tmp_path / "1" / "1").window is not None
    assert journal(tmp_path / "1" / "1").spreads == ()


@pytest.mark.parametrize("estimator", ["mode", "delayed-probes"])
def test_a_clock_that_was_set_is_posted_as_ever_and_logged_once_an_hour(tmp_path, estimator):
    lay_out(tmp_path / "1" / "1", made_reports(client_steps=((700.0, 0.05),)))
    with StandInApi(user="tix", password="secret") as api:
        ended = once(tmp_path, api.port, TIX_USAGE_ESTIMATOR=estimator, **PATIENT)
        assert [post.status for post in api.posts] == [200, 200]
    assert ended.counts["windows_clock_set"] == 2
    (line,) = ended.events("clock_set")
    assert (line["verdict"], line["timestamp"]) == ("set", api.posts[0].body["timestamp"])
