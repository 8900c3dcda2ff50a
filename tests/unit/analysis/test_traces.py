"""What is drawn of a window gives the values that are printed of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.recordings import CASES, expected, first_window
from tests.support.windows import WINDOWS as MADE
from tixd.analysis.delayed_probes import usage_by_delayed_probes
from tixd.analysis.mode import MIN_VALUES
from tixd.analysis.summary import analyse, summarise
from tixd.analysis.traces import trace_of

#: Windows by name: those with a result of the original, and odd ones.
ROWS = {
    **{f"{name} {number}": (name, number) for name, number in CASES},
    **{name: name for name in MADE},
}


def rows_of(name):
    case = ROWS[name]
    if isinstance(case, str):
        return MADE[case]
    experiment, number = case
    return first_window(experiment, expected(experiment)[number]["window"])


@pytest.fixture(params=["mode", "delayed-probes"])
def estimator(request):
    return request.param


@pytest.fixture(params=list(ROWS))
def traced(request, estimator):
    found = analyse(rows_of(request.param), estimator, both=True)
    if found is None:
        pytest.skip("a window without a short packet has no result to trace")
    return trace_of(*found, estimator)


def ways(trace):
    return zip(trace.ways, (trace.summary.upstream, trace.summary.downstream), strict=True)


def test_the_lines_of_mode_and_threshold_part_the_delays_as_the_usage_says(traced):
    for way, result in ways(traced):
        by_mode = result.usage if traced.estimator == "mode" else result.usage_alt
        if len(way.delays_ns) < MIN_VALUES:
            assert by_mode is None
            continue
        above = np.count_nonzero(way.delays_ns > way.mode_ns)
        far = np.count_nonzero(way.delays_ns > way.threshold_ns)
        assert by_mode == (far / above if above else 0.0)


def test_the_line_of_tau_parts_the_waiting_as_the_usage_says(traced):
    for way, result in ways(traced):
        by_probes = result.usage_alt if traced.estimator == "mode" else result.usage
        assert [by_probes] == usage_by_delayed_probes((way.waiting_ns > way.tau_ns)[None])


def test_the_share_of_minutes_drawn_as_congested_is_what_quality_lacks(traced):
    for way, result in ways(traced):
        assert len(way.congested) == len(way.minute_usage) == len(traced.minute_begin)
        if result.quality is not None:
            free = len(way.congested) - np.count_nonzero(way.congested)
            assert result.quality == free / len(way.congested)


def test_the_fitted_lines_have_the_slopes_that_are_the_hurst_estimates(traced):
    for way, result in ways(traced):
        pairs = ((way.rescaled_range, result.hurst_rs), (way.wavelet, result.hurst_wavelet))
        for fit, printed in pairs:
            assert fit.slope == printed
            if printed is not None:
                slope, height = np.polyfit(fit.x, fit.y, 1)
                drawn = fit.line(np.array([0.0, 1.0]))
                assert drawn == pytest.approx([height, height + slope], abs=1e-6)


def test_the_densest_of_the_candidate_bins_holds_the_mode(traced):
    for way, _ in ways(traced):
        if way.bins is None:
            continue
        bins = way.bins
        sizes = np.diff(np.searchsorted(np.sort(way.delays_ns), [*bins.low, np.inf]))
        assert np.all(bins.low[1:] >= bins.high[:-1])
        assert sizes.sum() == len(way.delays_ns)
        if bins.candidates >= len(bins.low):
            continue  # fewer than 25 packets: the last bin, which may hold more, is one of them
        densest = bins.density[: bins.candidates].argmax()
        low, high = bins.low[densest], bins.high[densest]
        assert way.mode_ns == low + np.floor((high - low) / 2)


def test_the_offset_line_goes_through_the_points_it_was_fitted_to(traced):
    at, places = np.unique(traced.known_at, return_index=True)
    alone = np.array([np.count_nonzero(traced.known_at == second) == 1 for second in at])
    line = traced.offset_ns[np.searchsorted(traced.second, at)]
    assert line[alone] == pytest.approx(traced.known_ns[places][alone], abs=1e5)
    delays = traced.ways[0].delays_ns + traced.ways[1].delays_ns
    stay = traced.round_trips_ns[traced.start :] - delays
    assert np.all(stay % (86_400 * 10**9) >= 0), "the server's own time is the rest of a round trip"


def test_tracing_changes_nothing_of_the_summary(estimator):
    rows = MADE["busy"]
    summary, steps = analyse(rows, estimator, both=True)
    trace_of(summary, steps, estimator)
    assert summarise(rows, estimator, both=True) == summary
