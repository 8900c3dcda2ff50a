"""What scripts/bench makes of its measurements: simulated sites, comparisons, tables."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import pytest
from benchmarks import compare, manual, sites
from benchmarks.sites import Costs
from benchmarks.yardstick import Row

#: About what this project's machines take.
COSTS = Costs(dispatch=300e-6, message=250e-6, parent=300e-6, window=2.6e-3, report=50e-6)


@pytest.mark.parametrize("installations", [10_000, 1_000_000])
def test_below_its_limits_a_simulated_site_is_as_busy_as_on_paper(installations):
    hosts = COSTS.hosts(installations)
    seen = sites.simulate(installations, hosts, COSTS)
    expected = sites.on_paper(installations, hosts, COSTS)
    assert astuple(seen.busy) == pytest.approx(astuple(expected), rel=0.1)
    assert (seen.skipped, seen.dropped) == (0, 0)
    assert seen.late < 2 * sites.PERIOD_SECONDS


def test_equal_seeds_give_equal_sites_and_others_differ():
    first, again, other = (sites.simulate(10_000, 1, COSTS, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_a_dispatcher_that_cannot_keep_up_skips_cycles():
    slow = replace(COSTS, dispatch=0.1)
    assert sites.on_paper(10_000, 1, slow).dispatcher > 1
    assert sites.simulate(10_000, 1, slow).skipped == 6


@pytest.mark.parametrize("cost", ["window", "report", "parent", "message"])
def test_a_part_that_cannot_keep_up_lets_windows_wait(cost):
    slow = replace(COSTS, **{cost: 1.0})
    seen, usual = (sites.simulate(10_000, 1, costs) for costs in (slow, COSTS))
    assert seen.late > 2 * usual.late
    assert seen.dropped > 0 == usual.dropped


def test_a_worker_that_waits_for_the_tix_api_needs_no_more_hosts_than_one_that_computes():
    assert COSTS.slot > COSTS.window
    assert replace(COSTS, window=0.01).slot == 0.01


def test_figures_are_compared_in_one_unit_and_by_their_median():
    there = [Row("x", figure) for figure in ("0.30 ms", "250.0 us", "1.00 ms")]
    here = [Row("x", figure) for figure in ("150.0 us", "0.15 ms", "9.00 ms")]
    row = compare.ratio(compare.median(there), compare.median(here))
    assert (row.figure, row.ratio, row.target) == ("0.30 ms", "0.15 ms", "0.50")
    assert compare.ratio(Row("x", "not run"), Row("x", "1,250/s")).target == ""


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    rows = [Row("x", "2 ms", "Y/25", "Y/20 or less", reached=True), Row("  of it y", "1 ms")]
    manual.write("a", manual.table(rows, ("figure", "in Y", "must reach"), "A machine."), page)
    assert page.read_text().splitlines()[1:-2] == [
        "<!-- a -->",
        "A machine.",
        "",
        "| what | figure | in Y | must reach |",
        "| --- | --- | --- | --- |",
        "| x | 2 ms | Y/25 | Y/20 or less  yes |",
        "| - of it y | 1 ms |  |  |",
    ]
    with pytest.raises(ValueError, match="no markers of b"):
        manual.write("b", "", page)


@pytest.mark.parametrize("name", ["measured", "scale"])
def test_the_page_has_a_place_for_each_table(name, tmp_path):
    page = tmp_path / "measured.md"
    page.write_text(manual.PAGE.read_text())
    manual.write(name, "a table", page)
    assert f"<!-- {name} -->\na table\n<!-- /{name} -->" in page.read_text()
