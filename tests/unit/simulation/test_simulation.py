"""The simulation's own numbers are facts: what it states as truth must be in what it writes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from tixd.analysis.clock import DAY_ns
from tixd.analysis.observations import OBSERVATION, SHORT, Observations
from tixd.simulation.link import Queue, jitter, queue
from tixd.simulation.probing import LinkDirection, Scenario, measured
from tixd.simulation.report_files import description, reports

SCENARIO = Scenario(
    start=1_700_000_040,
    duration_seconds=3600,
    upstream=LinkDirection(1e6, 0.3, (0.1,)),
    downstream=LinkDirection(10e6, 0.15, (0.1, 0.5, 0.95)),
    propagation_seconds=0.012,
    jitter_seconds=0.0005,
    loss=0.005,
    client_offset_seconds=0.1,
    client_skew_ppm=20.0,
)


def observed(scenario: Scenario, seed: int = 1) -> Observations:
    """All observations of one simulated client."""
    made = measured(np.random.default_rng(seed), scenario).minutes
    return np.concatenate([minute.observations for minute in made])


def differences(observations: Observations, later: str, earlier: str) -> np.ndarray:
    """Difference of two columns of clock times in seconds, across midnights."""
    passed = (observations[later] - observations[earlier] + DAY_ns // 2) % DAY_ns - DAY_ns // 2
    return passed / 1e9


@pytest.mark.parametrize("usage", [0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
@pytest.mark.parametrize("buffer_seconds", [0.15, 0.3])
def test_the_link_carries_what_the_schedule_says(usage, buffer_seconds):
    line = queue(np.random.default_rng(7), (usage,), 1200, buffer_seconds)
    assert line.utilisation(0, 1200) == pytest.approx(usage, abs=0.01 if usage < 0.95 else 0.05)


def test_an_unused_link_has_no_queue():
    line = queue(np.random.default_rng(7), (0.0,), 600, 0.15)
    assert line.waiting(np.array([0.0, 300.0])).tolist() == [0, 0]


def test_a_probe_finds_the_link_busy_as_often_as_it_is_used():
    line = queue(np.random.default_rng(3), (0.3, 0.6), 7200, 0.15)
    busy = line.waiting(np.arange(7200) + 0.5) > 0
    assert busy[:3600].mean() == pytest.approx(0.3, abs=0.05)
    assert busy[3600:].mean() == pytest.approx(0.6, abs=0.05)


def test_the_queue_drains_as_time_passes_and_never_below_nothing():
    line = Queue(np.array([1.0, 1.5]), np.array([0.2, 0.1]))
    moments = np.array([0.5, 1.0, 1.1, 1.3, 1.5, 1.55, 9.0])
    assert line.waiting(moments) == pytest.approx([0, 0.2, 0.1, 0, 0.1, 0.05, 0])


def test_utilisation_is_the_time_with_something_in_the_buffer():
    line = Queue(np.array([1.0, 1.5]), np.array([0.2, 0.9]))
    assert line.utilisation(1.0, 2.0) == pytest.approx(0.2 + 0.5)


def test_a_buffer_changes_nothing_until_it_is_full():
    roomy = queue(np.random.default_rng(1), (0.6,), 300, 1e9).backlog
    most = roomy.max() * 0.99
    full = int((roomy > most).argmax())
    small = queue(np.random.default_rng(1), (0.6,), 300, most).backlog
    assert full > 100
    assert small[:full] == pytest.approx(roomy[:full])
    assert small[full] == most


def test_the_buffer_is_never_more_than_full_and_a_full_line_keeps_it_so():
    line = queue(np.random.default_rng(1), (0.95,), 600, 0.15)
    assert line.backlog.max() == 0.15
    assert np.median(line.waiting(np.arange(600.0))) > 0.1


@pytest.mark.parametrize(("sender", "receiver", "way"), [("t1", "t2", "up"), ("t3", "t4", "down")])
def test_delay_grows_with_usage(sender, receiver, way):
    schedule = (0.0, 0.25, 0.5, 0.75, 0.95)
    busy, idle = LinkDirection(10e6, 0.15, schedule), LinkDirection(10e6, 0.15, (0.0,))
    both = {"up": (busy, idle), "down": (idle, busy)}[way]
    scenario = replace(SCENARIO, upstream=both[0], downstream=both[1], client_skew_ppm=0.0)
    rows = observed(scenario)
    part = (rows["second"] - scenario.start) // 720
    delays = differences(rows, receiver, sender)
    means = [delays[part == number].mean() for number in range(5)]
    assert np.all(np.diff(means) > 0.003)
    medians = [np.median(delays[part == number]) for number in range(5)]
    assert np.all(np.diff(medians) > 0)


def test_an_idle_line_shows_propagation_sending_and_jitter_alone():
    idle = replace(
        SCENARIO,
        upstream=LinkDirection(1e6, 0.3, (0.0,)),
        downstream=LinkDirection(10e6, 0.15, (0.0,)),
        client_offset_seconds=0.0,
        client_skew_ppm=0.0,
    )
    rows = observed(idle)
    up, down = differences(rows, "t2", "t1"), differences(rows, "t4", "t3")
    assert up.min() >= 0.012 + 78 * 8 / 1e6
    assert down.min() >= 0.012 + 78 * 8 / 10e6
    assert up.mean() == pytest.approx(up.min() + 0.0005, abs=1e-4)


def test_utilisation_counts_what_began_before_and_ends_after():
    line = Queue(np.array([1.0, 5.0]), np.array([2.0, 2.0]))
    assert line.utilisation(2.0, 6.0) == pytest.approx((1 + 1) / 4)


def test_poisson_traffic_is_of_single_packets_that_know_nothing_of_each_other():
    line = queue(np.random.default_rng(5), (0.5,), 1000, 0.15, packet_seconds=0.01)
    gaps = np.diff(line.times)
    assert len(line.times) == 50_000
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert line.utilisation(0, 1000) == pytest.approx(0.5, abs=0.01)
    # mean wait of M/D/1: rho / (1 - rho) / 2 of a packet's time
    assert line.waiting(np.arange(1, 1000, 0.1)).mean() == pytest.approx(0.005, rel=0.1)


def test_self_similar_traffic_stays_bursty_over_longer_times():
    def burstiness(packet_seconds):
        line = queue(np.random.default_rng(5), (0.4,), 3000, 10.0, packet_seconds)
        shares = [line.utilisation(t, t + 10) for t in range(0, 3000, 10)]
        return np.std(shares)

    assert burstiness(None) > 3 * burstiness(0.01)


def test_a_longer_way_up_shows_in_the_upstream_delay_alone():
    still = replace(SCENARIO, client_offset_seconds=0.0, client_skew_ppm=0.0)
    longer = replace(still, upstream=replace(still.upstream, extra_seconds=0.05))
    before, after = observed(still), observed(longer)
    more = differences(after, "t2", "t1").min() - differences(before, "t2", "t1").min()
    assert more == pytest.approx(0.05, abs=1e-3)
    more = differences(after, "t4", "t3").min() - differences(before, "t4", "t3").min()
    assert more == pytest.approx(0, abs=1e-3)


def test_a_step_of_the_clients_clock_shows_in_both_directions_with_opposite_signs():
    stepping = replace(SCENARIO, client_steps=((1800.0, 0.25),), client_skew_ppm=0.0)
    rows = observed(stepping)
    early, late = (rows["second"] < stepping.start + 1790, rows["second"] > stepping.start + 1810)
    for later, earlier, step in (("t2", "t1", -0.25), ("t4", "t3", 0.25)):
        delays = differences(rows, later, earlier)
        assert delays[late].min() - delays[early].min() == pytest.approx(step, abs=2e-3)


@pytest.mark.parametrize(("access", "late_share"), [("wired", 0), ("wifi", 0.05), ("mobile", 0.55)])
def test_radio_makes_packets_late_on_an_idle_line_too(access, late_share):
    sent = np.arange(0.5, 7200)
    late = jitter(np.random.default_rng(1), access, 0.0003, sent) > 0.005
    assert late.mean() == pytest.approx(late_share, abs=0.05)


def test_the_share_of_lost_packets_is_as_asked():
    lossy = replace(SCENARIO, loss=0.1, duration_seconds=5 * 3600)
    made = list(measured(np.random.default_rng(2), lossy).minutes)
    assert np.mean([len(m.observations) for m in made]) / 60 == pytest.approx(0.9, abs=0.01)
    assert len(made) / (5 * 3600 // 61) == pytest.approx(0.9, abs=0.06)


def test_without_loss_every_report_holds_sixty_short_packets():
    made = list(measured(np.random.default_rng(2), replace(SCENARIO, loss=0.0)).minutes)
    assert len(made) == 3600 // 61
    assert {len(minute.observations) for minute in made} == {60}
    assert set(np.concatenate([m.observations["kind"] for m in made])) == {SHORT}


def test_the_long_packet_leaves_a_second_after_the_last_short_one():
    made = list(measured(np.random.default_rng(2), replace(SCENARIO, loss=0.0)).minutes)
    later = [minute.long_sent_ns - minute.observations["t1"][-1] for minute in made]
    assert np.array(later) / 1e9 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("skew_ppm", [-150.0, 0.0, 44.0])
def test_a_line_through_the_fastest_packets_shows_the_skew(skew_ppm):
    quiet = LinkDirection(1e6, 0.3, (0.02,))
    rows = observed(replace(SCENARIO, client_skew_ppm=skew_ppm, upstream=quiet))
    seconds = rows["second"] - SCENARIO.start
    ahead = -differences(rows, "t2", "t1")
    best = [i + ahead[i : i + 60].argmax() for i in range(0, 3480, 60)]
    slope, intercept = np.polyfit(seconds[best], ahead[best], 1)
    assert slope * 1e6 == pytest.approx(skew_ppm, abs=0.5)
    assert intercept + 0.0126 == pytest.approx(0.1, abs=0.001)


def test_both_clocks_pass_their_own_midnight():
    late = replace(SCENARIO, start=20_000 * 86_400 - 1800, client_offset_seconds=-600.0)
    rows = observed(late)
    for column, second in (("t2", 1800), ("t1", 2400)):
        assert rows[column].min() >= 0
        assert rows[column].max() < DAY_ns
        wraps = np.flatnonzero(np.diff(rows[column]) < 0)
        assert rows["second"][wraps] - late.start == pytest.approx(second, abs=62)
    assert np.all(np.abs(differences(rows, "t1", "t2") + 600) < 2)


def test_observations_stand_in_the_order_of_reception():
    made = measured(np.random.default_rng(1), replace(SCENARIO, jitter_seconds=0.9)).minutes
    rows = made[0].observations
    assert np.all(np.diff(rows["t4"]) >= 0)
    assert np.any(np.diff(rows["t1"]) < 0)


def test_a_report_has_the_members_of_a_real_one_in_their_order():
    name, content = next(reports(SCENARIO, 1, 23, 37, "192.0.2.1"))
    members = json.loads(content)
    assert list(members) == [
        *("from", "to", "type", "initialTimestamp", "receptionTimestamp", "sentTimestamp"),
        *("finalTimestamp", "publicKey", "message", "signature", "userId", "installationId"),
    ]
    rows = np.frombuffer(base64.b64decode(members["message"], validate=True), OBSERVATION)
    assert name == f"tix-report-{rows['second'][0]}.json"
    assert (members["userId"], members["installationId"]) == (23, 37)
    assert (members["from"], members["type"]) == ("192.0.2.1:4501", "LONG")


def test_an_ipv6_source_stands_in_brackets():
    _, content = next(reports(SCENARIO, 1, 1, 1, "2001:db8::1"))
    assert json.loads(content)["from"] == "[2001:db8::1]:4501"


def test_key_and_signature_have_their_form_and_say_that_nothing_is_signed():
    members = json.loads(next(reports(SCENARIO, 1, 1, 1, "192.0.2.1"))[1])
    key = base64.b64decode(members["publicKey"], validate=True)
    signature = base64.b64decode(members["signature"], validate=True)
    assert (len(key), key[:4].hex(), key[-5:].hex()) == (294, "30820122", "0203010001")
    assert len(signature) == 256
    assert signature.startswith(b"not signed")


def test_equal_seeds_give_equal_bytes_and_other_ids_other_ones():
    once = list(reports(SCENARIO, 5, 1, 1, "192.0.2.1"))
    assert once == list(reports(SCENARIO, 5, 1, 1, "192.0.2.1"))
    other = list(reports(SCENARIO, 5, 1, 2, "192.0.2.1"))
    assert json.loads(once[0][1])["message"] != json.loads(other[0][1])["message"]


def test_the_description_has_the_form_of_recorded_experiments_and_adds_the_upstream():
    text = description(SCENARIO).decode()
    assert text.splitlines()[1:6] == [
        "connection_speed: 1250",
        "experiment:",
        "  - start: 1700000040",
        "    speed: 125",
        "    lapse: 1200",
    ]
    assert "upstream_experiment:\n  - start: 1700000040\n    speed: 12\n    lapse: 3600\n" in text
