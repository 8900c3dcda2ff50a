"""What PromQL expressions name: metrics, their labels and values; and where the samples are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

_SAMPLES = resources.files("tixd") / "samples"

#: Alert rules and dashboard, as `tixd sample` prints them.
RULES, DASHBOARD = _SAMPLES / "prometheus-rules.yml", _SAMPLES / "grafana-dashboard.json"

#: A metric that a tixd process shows, with its matchers.
_NAMED = re.compile(r"\b((?:tixd|gracc|process)_\w+)(?:\{([^}]*)\})?")

_MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')

#: Labels by which results are grouped or joined.
_GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")

#: Label names and values of each metric.
Labels = dict[str, dict[str, set[str]]]


def alerts() -> list[dict[str, Any]]:
    """Every alert of the rules, in their order."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    return dict(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def panels() -> list[dict[str, Any]]:
    """Everything on the dashboard, rows too."""
    return list(dashboard()["panels"])


def shown() -> list[str]:
    """The expressions of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def named(expression: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each metric with its matchers: label, and a text or pattern that it must have."""
    for name, matchers in _NAMED.findall(expression):
        yield name, [(label, value) for label, _, value in _MATCHER.findall(matchers)]


def grouped(expression: str) -> set[str]:
    """Labels in its by (...) and on (...)."""
    return {label for names in _GROUPED.findall(expression) for label in names.split(", ")}


def labels_of(*texts: bytes) -> Labels:
    """What stands in texts that Prometheus reads: every sample's labels."""
    found: Labels = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
    return found


def ring(promtool: str, folder: Path, before: str, after: str) -> set[str]:
    """The alerts that ring once /metrics has gone from `before` to `after`, and stayed so."""
    series, then = [], _samples(before)
    for name, value in _samples(after).items():
        series.append({"series": name, "values": f"{then.get(name, value)}x30 {value}x60"})
    asked = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": "75m", "exp_samples": []}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    file = folder / "ring.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [test]}))
    command = [promtool, "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    rung = set(re.findall(r'alertname="(\w+)"', done.stdout + done.stderr))
    assert (done.returncode == 0) == (not rung), done.stdout + done.stderr
    return rung


def _samples(text: str) -> dict[str, float]:
    """Each series of one target, by the name that Prometheus gives it."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {"job": "tixd", "instance": "a", **sample.labels}
            named = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
            found[f"{sample.name}{{{named}}}"] = sample.value
    return found
