"""The result of a window as JSON: for the tix-api, and for failed-results, and back again.

Rules: usage is limited to 0..1 for the tix-api only; files keep the raw values and no AS, which is
looked up for each post; files of tix-time-processor (Python's json.dump, so NaN too) can be read as
well. Pure.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import cast, get_args

import orjson

from tixd import errors
from tixd.analysis.clock_steps import ClockVerdict
from tixd.analysis.summary import Direction, Summary
from tixd.asn.origin import Origin
from tixd.reports.model import is_source

#: Version of the measure that the tix-api expects in each post (source: tix-time-processor).
MEASURE_VERSION = "1.0.0"

#: Largest epoch second of an observation (source: the report format's limit, 2^32 - 1).
_LAST_SECOND = 2**32 - 1


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What is posted for one window: the source of its packets, and their analysis.

    origin: the AS of `ip`; None where no AS table is set.
    """

    ip: str
    summary: Summary
    origin: Origin | None = None


def payload(result: WindowResult) -> bytes:
    """Make the body that the tix-api takes for one window; undefined values are null.

    >>> undefined = Direction(None, None, None, None)
    >>> over_one = Direction(1.4, 0.5, 0.7, 0.9)
    >>> payload(WindowResult("10.0.0.1", Summary(1505082407, undefined, over_one)))[-57:]
    b'"hurstDownRs":0.7,"hurstDownWavelet":0.9,"ip":"10.0.0.1"}'
    """
    up, down = result.summary.upstream, result.summary.downstream
    origin = result.origin
    return orjson.dumps(
        {
            "timestamp": result.summary.timestamp,
            "version": MEASURE_VERSION,
            "upUsage": posted_usage(up.usage),
            "upQuality": up.quality,
            "downUsage": posted_usage(down.usage),
            "downQuality": down.quality,
            "hurstUpRs": up.hurst_rs,
            "hurstUpWavelet": up.hurst_wavelet,
            "hurstDownRs": down.hurst_rs,
            "hurstDownWavelet": down.hurst_wavelet,
            **_alternative(up, down, result.summary.clock),
            "ip": result.ip,
            **({"asn": origin.asn, "asName": origin.name} if origin else {}),
        }
    )


def failed_report(result: WindowResult) -> bytes:
    """Make the content of a file in failed-results: all values as they were computed."""
    summary = result.summary
    widths = summary.upstream.width, summary.downstream.width
    judged = widths != (None, None) or summary.clock != "fine"
    results = {
        "timestamp": summary.timestamp,
        "upstream": _stored(summary.upstream),
        "downstream": _stored(summary.downstream),
        **({"clock": summary.clock} if judged else {}),
    }
    return orjson.dumps({"results": results, "ip": result.ip})


def parse_failed_report(content: bytes) -> WindowResult:
    """Read the result in a file of failed-results; values that are not finite numbers are None.

    Raises errors.BadFailedResult where the content is not such a result.
    """
    try:
        report = json.loads(content.decode())
        results = report["results"]
        summary = Summary(
            _second(results["timestamp"]),
            _direction(results["upstream"]),
            _direction(results["downstream"]),
            clock=_clock(results.get("clock", "fine")),
        )
        return WindowResult(_address(report["ip"]), summary)
    except KeyError as error:
        raise errors.BadFailedResult(f"no member {error}") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise errors.BadFailedResult(str(error)[:200]) from error


def posted_usage(usage: float | None) -> float | None:
    """Limit usage to what the tix-api takes.

    >>> posted_usage(1.4), posted_usage(0.5), posted_usage(None)
    (1.0, 0.5, None)
    """
    return None if usage is None or math.isnan(usage) else min(1.0, max(0.0, usage))


def _alternative(
    up: Direction, down: Direction, clock: ClockVerdict
) -> dict[str, float | str | None]:
    """Return the members of the other estimator, where it was requested and defined; else none."""
    if up.usage_alt is None and down.usage_alt is None:
        return {}
    return {
        "upUsageAlt": posted_usage(up.usage_alt),
        "downUsageAlt": posted_usage(down.usage_alt),
        "upUsageWidth": up.width,
        "downUsageWidth": down.width,
        "clock": clock,
    }


def _stored(direction: Direction) -> dict[str, object]:
    optional = {
        "usageAlt": direction.usage_alt,
        "usageWidth": direction.width,
        "unsteady": direction.unsteady,
    }
    return {
        "usage": direction.usage,
        "quality": direction.quality,
        "hurst": {"rs": direction.hurst_rs, "wavelet": direction.hurst_wavelet},
        **{name: value for name, value in optional.items() if value is not None},
    }


def _direction(stored: dict[str, object]) -> Direction:
    hurst = stored["hurst"]
    if not isinstance(hurst, dict):
        raise TypeError("hurst is not an object")
    return Direction(
        _number(stored["usage"]),
        _number(stored["quality"]),
        _number(hurst["rs"]),
        _number(hurst["wavelet"]),
        _number(stored.get("usageAlt")),
        _number(stored.get("usageWidth")),
        _truth(stored.get("unsteady")),
    )


def _truth(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError("unsteady is neither true nor false")
    return value


def _clock(value: object) -> ClockVerdict:
    for verdict in get_args(ClockVerdict):
        if value == verdict:
            return cast(ClockVerdict, verdict)
    raise TypeError("clock is not a verdict")


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a value is not a number")
    number = float(value)
    return number if math.isfinite(number) else None


def _second(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST_SECOND:
        raise ValueError("the timestamp is not an epoch second")
    return value


def _address(value: object) -> str:
    if not isinstance(value, str) or not is_source(value):
        raise ValueError("the ip is not an address")
    return value
