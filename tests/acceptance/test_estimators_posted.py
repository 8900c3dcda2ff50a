"""What the settings of the usage estimator change in posts and in stored results."""

from __future__ import annotations

import json

import pytest

from tests.support.made import lay_out, made_reports
from tests.support.program import once
from tests.support.stand_in_api import StandInApi

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
