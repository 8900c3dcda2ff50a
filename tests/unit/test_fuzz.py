"""A little of scripts/soak fuzz, out of fixed seeds, and every finding that was ever saved."""

from __future__ import annotations

import pytest
from soaking.fuzz import MAX_BYTES, Finding, fuzzed, main, tried
from soaking.targets import TARGETS, Target

#: Inputs of each target: a second or less.
INPUTS = 60


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_input_gives_a_typed_error_or_a_valid_object(target):
    findings, grown = fuzzed(target, "tests", 15 if target.waits else INPUTS)
    assert findings == []
    assert grown < MAX_BYTES


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_was_found_once_is_not_found_again(target):
    assert [found for data in target.corpus() if (found := tried(target, data))] == []


def fails(data: bytes) -> None:
    """Fails at every capital letter, as a parser with a fault does."""
    assert data.upper() != data, "capitals"


def test_a_target_that_fails_is_a_finding_with_its_input():
    broken = Target("broken", (), lambda: [b"a"], fails)
    found = tried(broken, b"A")
    assert isinstance(found, Finding)
    assert (found.data, found.reason[:24]) == (b"A", "AssertionError: capitals")
    assert tried(broken, b"a") is None
    findings, _ = fuzzed(broken, "1", 50)
    assert len(findings) == 1, "one for each reason"


def test_a_text_that_is_in_no_name_is_told_before_anything_begins(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["1", "--target", "nothing"])
    assert caught.value.code == 2
    assert "no target has 'nothing' in its name" in capsys.readouterr().err
