"""Prometheus's own tool finds no fault with what we show, and rings our alerts when it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.collector import Collector
from tests.support.debian import program
from tests.support.promql import RULES, alerts, labels_of, shown
from tests.support.service import service
from tests.support.stand_in_api import closed_port

#: Series with faults, and the alerts that must ring then.
PLAYED = Path(__file__).with_name("prometheus_rules_test.yml")


@pytest.fixture(scope="module")
def promtool() -> str:
    """The tool; its package holds the server too, which is not started."""
    return program("promtool", "prometheus")


def said(*command: str, text: str = "") -> tuple[int, str]:
    """Exit code and all output of a command that reads this text."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_no_fault_is_found_with_the_metrics_of_a_running_service(promtool, tmp_path):
    (tmp_path / "base").mkdir()
    with service(tmp_path / "base", tmp_path, closed_port()) as daemon:
        status, text = daemon.get("/metrics")
    assert (status, said(promtool, "check", "metrics", text=text)) == (200, (0, ""))
    assert {"tixd_ready", "process_open_fds"} <= labels_of(text.encode()).keys()


def test_no_fault_is_found_with_the_metrics_of_a_running_collector(promtool, tmp_path):
    with Collector(tmp_path, {"AMQP": {"host": "127.0.0.1", "port": closed_port()}}) as collector:
        collector.runs()
        status, text = collector.ask("GET", "/metrics")
    assert (status, said(promtool, "check", "metrics", text=text.decode())) == (200, (0, ""))
    assert labels_of(text)["tixd_collector_output_ready"] == {"output": {"AMQP"}}


def test_no_fault_is_found_with_the_alert_rules(promtool):
    assert said(promtool, "check", "rules", str(RULES))[0] == 0


def test_every_expression_of_the_dashboard_can_be_read(promtool, tmp_path):
    rules = [{"record": f"panel:{n}", "expr": _filled(text)} for n, text in enumerate(shown())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    code, answer = said(promtool, "check", "rules", str(file))
    assert code == 0, answer
    assert f"{len(rules)} rules found" in answer


def _filled(expression: str) -> str:
    """With what Grafana puts in place of its variables."""
    return expression.replace("$__rate_interval", "4m").replace("$__range", "6h")


def test_alerts_ring_for_their_faults_and_for_nothing_else(promtool):
    code, answer = said(promtool, "test", "rules", str(PLAYED))
    assert code == 0, answer


def test_every_page_has_a_fault_that_is_played():
    rung = set(re.findall(r'alertname="(\w+)"', PLAYED.read_text()))
    pages = {rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"}
    assert pages <= rung
