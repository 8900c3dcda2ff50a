"""Choose the few of many like cases that the normal run has: the others are marked `long`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], *normal: Any) -> list[Any]:
    """Return the cases as parameters of a test; those that are not normal are `long`.

    A tuple has a value for each parameter.
    """
    found = list(cases)
    assert set(normal) <= set(found), "each of the normal ones is a case"
    return [case if case in normal else _long(case) for case in found]


def _long(case: Any) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
