"""Results and settings that the tests of tixd/results share."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tixd.analysis.summary import Direction, Summary
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.reports.model import Installation
from tixd.results.client import ApiClient
from tixd.results.payload import WindowResult
from tixd.results.response import PostOutcome

UP = Direction(usage=0.25, quality=1.0, hurst_rs=0.5, hurst_wavelet=0.75)
DOWN = Direction(usage=1.4, quality=0.5, hurst_rs=1.0625, hurst_wavelet=-0.125)
UNDEFINED = Direction(None, None, None, None)
ONE, OTHER, THIRD = (Installation(n, 10 + n, f"/reports/{n}/{10 + n}") for n in (1, 2, 3))


def result(timestamp: int = 1505082407, ip: str = "181.165.116.94") -> WindowResult:
    """A result as an analysis gives it, with a raw usage above 1."""
    return WindowResult(ip, Summary(timestamp, UP, DOWN))


def settings_for(port: int, **changes: Any) -> Settings:
    """Settings that post to 127.0.0.1:`port` as tix:secret, and wait long for it."""
    values: dict[str, Any] = {
        "api_host": "127.0.0.1",
        "api_port": port,
        "api_user": "tix",
        "api_password": Secret("secret"),
        "api_connect_seconds": 30.0,
        "api_read_seconds": 30.0,
        "api_total_seconds": 60.0,
    }
    return Settings(**{**values, **changes})


def post(
    client: ApiClient,
    installation: Installation,
    result: WindowResult,
    tally: Counter[str] | None = None,
    **options: Any,
) -> PostOutcome:
    """Post a result and wait for the outcome."""
    tally = Counter() if tally is None else tally
    return client.requests.perform(client.post(installation, result, tally, **options))
