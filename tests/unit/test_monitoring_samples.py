"""Alert rules and dashboard name what /metrics has, and tell the operator what to do."""

from __future__ import annotations

import itertools
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.manual_pages import section
from tests.support.promql import (
    Labels,
    alerts,
    dashboard,
    grouped,
    labels_of,
    named,
    panels,
    shown,
)
from tests.support.queues import MemorySink
from tests.support.service import snapshot
from tixd.collector import counts
from tixd.collector.admission import Admission
from tixd.collector.publish import SinkGroup
from tixd.config.settings import PROCESSOR_TYPES
from tixd.roles.processing_metrics import ProcessingMetrics
from tixd.runtime.status import BrokerView, HistoryView, QueueView, VolumeView

ROOT = Path(__file__).parents[2]
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tixd").rglob("*.py"))

#: Labels that Prometheus gives each target, or the rules each alert.
FOREIGN = {"job", "instance", "severity"}

ALERTS = [pytest.param(rule, id=rule["alert"]) for rule in alerts()]

EXPRESSIONS = [rule["expr"] for rule in alerts()] + shown()

#: Panels with figures, and those around them.
FIGURES = [panel for panel in panels() if panel["type"] != "row"]


#: What roles know that share work over RabbitMQ.
OVER_RABBITMQ = {"broker": BrokerView("", 990.0), "queue": QueueView("celery", 2, 1)}


@cache
def produced() -> Labels:
    """Names, labels and values in the text of every role, with all that each can have."""
    volume = VolumeView(answered=995.0, free_bytes=7 * 2**30, asn_built=400)
    history = HistoryView("h", summary={"results_kept": 3, "silent": 3, "silent_day": 1})
    roles = [
        ProcessingMetrics().text(
            snapshot(role=role, volume=volume, history=history, **OVER_RABBITMQ)
        )
        for role in PROCESSOR_TYPES.values()
    ]
    outputs = SinkGroup([MemorySink()], 1.0)
    collector = counts.metrics(counts.Counts(), Admission(1, 1, float), outputs, is_ready=True)
    return labels_of(*roles, collector)


def known_labels() -> set[str]:
    """Every label of ours, and those of targets and alerts."""
    return FOREIGN.union(*produced().values())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_label_and_value_that_is_asked_for_is_one_of_ours(expression):
    for name, matchers in named(expression):
        assert name in produced()
        for label, pattern in matchers:
            if label not in FOREIGN:
                values = produced()[name][label]
                choices = pattern.split("|")
                assert all(any(re.fullmatch(c, v) for v in values) for c in choices), pattern
    assert grouped(expression) <= known_labels()


def test_every_metric_of_ours_is_on_the_dashboard():
    seen = {name for expression in shown() for name, _ in named(expression)}
    own = {name for name in produced() if name.startswith(("tixd_", "gracc_"))}
    # prometheus_client tells for each counter when it was made.
    assert {name for name in own - seen if not name.endswith("_created")} == set()


def test_no_label_is_a_user_an_installation_or_an_address():
    own = set().union(*produced().values())
    assert own == {
        "result",
        "outcome",
        "reason",
        "end",
        "role",
        "version",
        "code",
        "output",
        "since",
    }


@pytest.mark.parametrize("rule", ALERTS)
def test_every_alert_says_what_is_wrong_and_what_to_do(rule):
    said = rule["annotations"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"[^\n]{10,80}", re.sub(r"{{.*?}}", "xxx", said["summary"]))
    assert re.search(r"(^|\. )Do: .{30,}\.$", said["description"])


@pytest.mark.parametrize("rule", ALERTS)
def test_no_alert_rings_for_a_moment_or_for_counters_that_begin_anew(rule):
    minutes = {"m": 1, "h": 60}[rule["for"][-1]] * int(rule["for"][:-1])
    assert minutes >= 5
    for name in re.findall(r"(\S*)\b\w+_total\b", rule["expr"]):
        assert name.endswith(("rate(", "increase("))


def test_few_alerts_wake_somebody():
    pages = [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"]
    assert 5 <= len(pages) <= 8


def test_an_alert_of_an_event_is_named_after_it_and_the_manual_has_its_row():
    table = section("troubleshooting", "Events")
    events = {rule["annotations"].get("event"): rule["alert"] for rule in alerts()}
    del events[None]
    assert len(events) >= 8
    for event, name in events.items():
        assert name == "Tixd" + event.title().replace("_", "")
        assert f"`{event}`" in table


def test_words_of_the_log_in_descriptions_are_in_the_code():
    told = [rule["annotations"]["description"] for rule in alerts()]
    told += [panel["description"] for panel in FIGURES]
    words = {word for text in told for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)}
    assert len(words) > 10
    assert {word for word in words if f'"{word}"' not in CODE} == set()


def test_every_panel_has_its_place_what_it_shows_and_what_to_do():
    for panel in FIGURES:
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["title"]
        assert len(panel["description"]) > 50, panel["title"]
        assert panel["targets"]
        assert all(target["expr"] and target["refId"] for target in panel["targets"])
    for unique in ("id", "title"):
        assert len({panel[unique] for panel in panels()}) == len(panels())


def test_no_panel_lies_on_another_or_beside_the_page():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        across, down = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        assert 0 <= at["x"] < across.stop <= 24
        cells = set(itertools.product(across, down))
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_asks_whose_prometheus_it_shows():
    sources = [panel["datasource"] for panel in FIGURES]
    sources += [target["datasource"] for panel in FIGURES for target in panel["targets"]]
    assert {(source["type"], source["uid"]) for source in sources} == {
        ("prometheus", "${datasource}")
    }
    assert dashboard()["templating"]["list"][0]["type"] == "datasource"
    assert dashboard()["id"] is None, "a number of another Grafana is refused"


def test_names_of_lines_use_labels_that_there_are():
    targets = [target for panel in FIGURES for target in panel["targets"]]
    used = {name for t in targets for name in re.findall(r"{{(\w+)}}", t["legendFormat"])}
    assert used <= known_labels()
