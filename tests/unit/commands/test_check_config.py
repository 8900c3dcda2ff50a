"""What `tixd check-config` says at its end, whatever was tried."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tixd.commands import check_config
from tixd.config import loader
from tixd.diagnostics.runner import CheckResult

GOOD, BAD = CheckResult("one", fine=True, text="yes"), CheckResult("two", fine=False, text="no")


def said(monkeypatch: pytest.MonkeyPatch, *results: CheckResult) -> tuple[int, str]:
    """Exit code and output for a collector with nothing set, after these checks."""
    monkeypatch.setattr(check_config, "_connect", lambda _: list(results))
    invocation = SimpleNamespace(load=lambda: loader.load_collector({}, {}, None))
    done = CliRunner().invoke(check_config.command, ["--connect"], obj=invocation)
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("results", "code", "words"),
    [
        ((GOOD, GOOD), 0, "fine"),
        ((GOOD, BAD), 1, "allowed, but 1 of 2 checks is WRONG, see above"),
        ((BAD, GOOD, BAD), 1, "allowed, but 2 of 3 checks are WRONG, see above"),
    ],
)
def test_the_configuration_is_called_fine_only_where_every_check_is(
    monkeypatch, results, code, words
):
    found, text = said(monkeypatch, *results)
    assert found == code
    assert f"\nconfiguration: {words}\n" in text


def test_where_nothing_is_set_no_empty_table_leaves_a_gap(monkeypatch):
    _, text = said(monkeypatch, GOOD)
    assert text.startswith("one  fine: yes\n\nwarning: ")
    assert "\n\n\n" not in text
