"""Comparing results that hold None where something is undefined."""

from __future__ import annotations

import pytest


def assert_close(found: object, expected: object, *, rel: float) -> None:
    """Equal shape, equal None and int, floats within `rel` relative (and `rel` absolute near 0)."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value, rel=rel)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, rel=rel)
    elif isinstance(expected, float) and found is not None:
        assert found == pytest.approx(expected, rel=rel, abs=rel)
    else:
        assert found == expected
