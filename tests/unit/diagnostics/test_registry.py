"""Which role has what tried."""

from __future__ import annotations

import pytest

from tixd.config import loader
from tixd.diagnostics.runner import required_checks

SEEN = ["HTTP address", "control socket"]


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("standalone", ["reports folder", "schedule", "tix-api"]),
        ("dispatcher", ["reports folder", "schedule", "RabbitMQ"]),
        ("worker", ["reports folder", "tix-api", "RabbitMQ"]),
    ],
)
def test_each_role_has_tried_what_it_needs(role, names):
    loaded = loader.load({"role": role}, {}, None)
    assert [check.what for check in required_checks(loaded)] == names + SEEN


def test_an_as_table_is_tried_where_one_is_set():
    loaded = loader.load({}, {"TIX_ASN_TABLE": "/t"}, None)
    assert "AS table" in [check.what for check in required_checks(loaded)]


@pytest.mark.parametrize("load", [loader.load, loader.load_collector])
def test_a_log_file_is_tried_where_one_is_set(load):
    loaded = load({}, {"TIX_LOG_FILE": "/var/log/tixd/tixd.log"}, None)
    assert "log file" in [check.what for check in required_checks(loaded)]
    assert "log file" not in [check.what for check in required_checks(load({}, {}, None))]


@pytest.mark.parametrize(
    ("load", "role", "path", "is_tried"),
    [
        (loader.load, "standalone", "/h.sqlite", True),
        (loader.load, "dispatcher", "/h.sqlite", True),
        (loader.load, "worker", "/h.sqlite", False),
        (loader.load, "standalone", "off", False),
        (loader.load_collector, "", "/h.sqlite", True),
        (loader.load_collector, "", "off", False),
    ],
)
def test_a_history_is_tried_where_one_is_set_and_kept(load, role, path, is_tried):
    loaded = load({"role": role} if role else {}, {"TIX_HISTORY": path}, None)
    names = [check.what for check in required_checks(loaded)]
    assert ("history" in names) is is_tried


def test_the_collector_has_its_enabled_outputs_tried():
    environ = {"GRACC_KAFKA_ENABLE": "true", "GRACC_FILE_PATH": "/f"}
    loaded = loader.load_collector({}, environ, None)
    assert [check.what for check in required_checks(loaded)] == ["AMQP", "Kafka", "file", *SEEN]
    environ["GRACC_AMQP_ENABLE"] = "false"
    loaded = loader.load_collector({}, environ, None)
    assert [check.what for check in required_checks(loaded)] == ["Kafka", "file", *SEEN]
