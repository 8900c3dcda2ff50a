"""`tixd analyze`: windows, their form, and the exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.support.made import START, lay_out, made_reports, member, pack, record, report
from tests.support.tables import table
from tixd.analysis.summary import Direction, Summary
from tixd.commands import Invocation, window_tables
from tixd.commands.analyze import command
from tixd.commands.window_tables import Style
from tixd.commands.window_values import (
    AGREEMENT_MEMBERS,
    AS_MEMBERS,
    CSV_COLUMNS,
    WINDOW_MEMBERS,
    Analysed,
    way_values,
    window_json,
)
from tixd.display import iso_time
from tixd.results.payload import parse_failed_report
from tixd.simulation.probing import LinkDirection

WINDOW = made_reports()


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(command, words, obj=Invocation({}, None))


def test_all_windows_come_in_order_with_the_daemons_half_overlap(tmp_path):
    done = run("--format", "json", lay_out(tmp_path / "1" / "2", WINDOW))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [line["reports"] for line in lines] == [19, 19]
    assert [line["window"] for line in lines] == [int(WINDOW[index][0][11:-5]) for index in (0, 9)]
    assert [line["observations"] for line in lines] == [1140, 1140]


def test_a_result_in_json_has_the_members_of_a_stored_one_and_more(tmp_path):
    done = run("--format", "json", lay_out(tmp_path / "1" / "2", WINDOW[:19]))
    line = json.loads(done.stdout)
    assert (line["type"], line["path"], line["ip"]) == ("window", f"{tmp_path}/1/2", "192.0.2.1")
    stored = parse_failed_report(json.dumps({"results": line["result"], "ip": "x"}).encode())
    assert stored.summary.upstream.hurst_rs == line["result"]["upstream"]["hurst"]["rs"]
    assert stored.summary.downstream.usage == line["result"]["downstream"]["usage"]
    assert (line["result"]["clock"], line["result"]["estimator"]) == ("fine", "mode")
    assert START + 1100 < stored.summary.timestamp < START + 1200


def flat_names(line, before=""):
    """The dotted names of the members of an object and of the objects in it."""
    for name, value in line.items():
        inner = flat_names(value, f"{before}{name}.") if isinstance(value, dict) else None
        yield from inner or [before + name]


#: Ways to ask for windows.
ASKED = [(), ("--estimator", "both"), ("--estimator", "delayed-probes"), ("--raw",)]


@pytest.mark.parametrize("how", [*ASKED, ("--truth", "inside")])
def test_the_members_that_are_documented_are_those_that_come_out(tmp_path, how):
    tree = lay_out(tmp_path, [*WINDOW, ("description.yml", TRUTH.encode())])
    lines = [json.loads(line) for line in run("--format", "json", *how, tree).stdout.splitlines()]
    members = {"window": WINDOW_MEMBERS, "agreement": AGREEMENT_MEMBERS}
    assert [line["type"] for line in lines] == ["window"] * 2 + ["agreement"] * (len(lines) - 2)
    for line in lines:
        assert list(flat_names(line)) == list(members[line["type"]])
    assert (len(lines) > 2) == ("inside" in how)
    heads = run("--format", "csv", *how, tree).stdout.splitlines()[0]
    assert heads.split(",") == list(CSV_COLUMNS)


def test_csv_and_json_say_the_same_of_a_window(tmp_path):
    tree = lay_out(tmp_path, [*WINDOW, ("description.yml", TRUTH.encode())])
    rows = csv.DictReader(io.StringIO(run("--format", "csv", "--truth", "inside", tree).stdout))
    lines = run("--format", "json", "--truth", "inside", tree).stdout.splitlines()
    for row, line in zip(rows, map(json.loads, lines[:2]), strict=True):
        result, down = line["result"], line["result"]["downstream"]
        assert row["until"] == iso_time(result["timestamp"])
        assert row["begin"] == iso_time(line["window"])
        assert (row["sure"], row["estimator"]) == (result["sure"], result["estimator"])
        assert float(row["down_usage_raw"]) == down["usage"]
        assert float(row["down_hurst_wavelet"]) == down["hurst"]["wavelet"]
        assert (row["up_truth"], row["down_truth"]) == ("", "0.5")
        assert row["down_unsteady"] == str(down["unsteady"]).lower()


def test_usage_above_one_is_posted_as_one_and_marked_and_raw_on_request():
    over = Direction(1.4, 1.0, 0.7, 1.2, usage_alt=0.9, width=0.1, unsteady=False)
    window = Analysed("t", "t/1", 0, "x", 1, 60, "mode", Summary(600, over, over), None)
    assert window_tables.value_cells(way_values(window, 0), Style(), window) == [
        "1.00!",
        "1.00",
        "0.70",
        "1.20!",
    ]
    assert window_tables.value_cells(way_values(window, 0), Style(raw=True), window)[0] == "1.40!"
    assert window_json(window)["result"]["upstream"]["usage"] == 1.4
    assert window_json(window)["result"]["upstream"]["usagePosted"] == 1.0


@pytest.mark.parametrize(
    ("changes", "clock", "estimator", "word"),
    [
        ({}, "fine", "mode", "yes"),
        ({"unsteady": True}, "fine", "mode", "unsteady"),
        ({"unsteady": True, "usage_alt": 0.1}, "fine", "mode", "disputed"),
        ({"usage_alt": 0.1}, "fine", "delayed-probes", "yes"),
        ({"usage_alt": 0.1}, "set", "mode", "clock-set"),
        ({}, "set", "delayed-probes", "yes"),
        ({}, "not-credible", "delayed-probes", "clock-bad"),
    ],
)
def test_the_worst_that_is_known_says_how_sure_a_window_is(changes, clock, estimator, word):
    up = Direction(0.5, 1.0, 0.7, 0.8, usage_alt=0.5, width=0.3, unsteady=False)
    summary = Summary(600, up, replace(up, **changes), clock=clock)
    window = Analysed("t", "t/1", 0, "x", 1, 60, estimator, summary, None)
    assert window.sure == way_values(window, 1)["sure"] == word
    assert way_values(window, 0)["sure"] == (word if clock != "fine" else "yes")


def test_the_usage_of_a_simulated_line_is_found_again(tmp_path):
    done = run("--format", "json", lay_out(tmp_path, WINDOW))
    for result in (json.loads(line)["result"] for line in done.stdout.splitlines()):
        assert result["downstream"]["usage"] == pytest.approx(0.5, abs=0.12)
        assert result["upstream"]["usage"] == pytest.approx(0.1, abs=0.12)


def test_the_other_estimate_stands_beside_the_first_where_both_are_asked_for(tmp_path):
    tree = lay_out(tmp_path, WINDOW)
    one, other, both = (
        [json.loads(line) for line in run("--format", "json", *how, tree).stdout.splitlines()]
        for how in ((), ("--estimator", "delayed-probes"), ("--estimator", "both"))
    )
    for way in ("upstream", "downstream"):
        for mode, probes, pair in zip(one, other, both, strict=True):
            assert pair["result"][way]["usage"] == mode["result"][way]["usage"]
            assert pair["result"][way]["usageAlt"] == probes["result"][way]["usage"]
            assert mode["result"] == pair["result"]
    assert re.search(r"0\.\d\d \(0\.\d\d±", run("--estimator", "both", tree).stdout)


def test_width_and_steadiness_stand_beside_a_reading_by_delayed_probes(tmp_path):
    tree = lay_out(tmp_path, WINDOW)
    how = ("--estimator", "delayed-probes")
    for line in run("--format", "json", *how, tree).stdout.splitlines():
        way = json.loads(line)["result"]["downstream"]
        width = max(0.05, 1.2 * way["usage"] * (1 - way["usage"]))
        assert way["usageWidth"] == pytest.approx(width)
        assert isinstance(way["unsteady"], bool)
    assert re.search(r" 0\.\d\d±0\.\d\d~? ", run(*how, tree).stdout)
    assert re.search(r" \(0\.\d\d±0\.\d\d~?\) ", run("--estimator", "both", tree).stdout)


@pytest.mark.parametrize(("estimator", "word"), [("mode", "clock-set"), ("delayed-probes", "yes")])
def test_a_clock_that_was_set_is_told_where_the_estimator_suffers_from_it(
    tmp_path, estimator, word
):
    files = made_reports(client_steps=((600.0, 0.05),))[:19]
    tree = lay_out(tmp_path / "set", files)
    how = ("--estimator", estimator)
    assert json.loads(run("--format", "json", *how, tree).stdout)["result"]["clock"] == "set"
    heading, row = run(*how, tree).stdout.splitlines()
    assert heading.split()[-1] == "sure"
    assert row.split()[-1] == word
    fine = run(*how, lay_out(tmp_path / "fine", WINDOW)).stdout
    assert fine.split().count("yes") == 2


def test_the_noise_of_an_installations_windows_before_is_known(tmp_path):
    idle = LinkDirection(10e6, 0.15, (0.0,))
    files = made_reports(duration_seconds=7200, downstream=idle, jitter_seconds=0.002)
    how = ("--estimator", "delayed-probes", "--format", "json")
    lines = run(*how, lay_out(tmp_path, files)).stdout.splitlines()
    usages = [json.loads(line)["result"]["downstream"]["usage"] for line in lines]
    assert len(usages) > 8
    assert min(usages[:5]) > 0.1
    assert max(usages[5:]) < 0.05


TRUTH = f"connection_speed: 200\nexperiment: [{{start: {START}, speed: 100, lapse: 9000}}]\n"


def test_both_estimates_stand_beside_the_truth_and_their_errors_below(tmp_path):
    tree = lay_out(tmp_path / "tree", WINDOW)
    (tmp_path / "truth.yml").write_text(TRUTH)
    done = run("--truth", tmp_path / "truth.yml", tree)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[3:5] for line in lines[1:3]] == [["down", "0.500"], ["down", "0.500"]]
    assert [line.split()[:3] for line in lines[-2:]] == [
        ["down", "mode", "2"],
        ["down", "delayed-probes", "2"],
    ]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_truth_inside_is_that_of_the_archive_and_windows_outside_are_counted(tmp_path, form):
    short = TRUTH.replace("9000", "1300").encode()
    members = [member(f"e/1/{name}", content) for name, content in WINDOW]
    archive = pack(tmp_path / "kept.tar.gz", [*members, member("e/description.yml", short)])
    done = run("--truth", "inside", "--format", form, archive)
    assert done.exit_code == 0
    assert "1 of 2 windows lies outside the experiment" in done.stderr
    truths = {"csv": ",0.5\n", "json": '"downstream":0.5}', "table": " down 0.500 "}
    assert done.stdout.replace("\r", "").count(truths[form]) == 1


def test_truth_inside_an_archive_without_a_description_says_how_to_name_one(tmp_path):
    done = run("--truth", "inside", lay_out(tmp_path / "tree", WINDOW))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "holds no description.yml above the reports: name one with --truth FILE" in done.stderr


def test_a_description_inside_that_states_nothing_is_named_once(tmp_path):
    tree = lay_out(tmp_path / "tree", [("description.yml", b"nothing: 1")])
    for number in ("1", "2"):
        lay_out(tree / number, WINDOW)
    done = run("--truth", "inside", tree)
    assert done.exit_code == 1
    assert done.stderr.count("description.yml: no member 'connection_speed'") == 1


@pytest.mark.parametrize("text", ["nothing: 1", TRUTH.replace(str(START), "5")])
def test_a_file_without_truth_of_any_window_fails(tmp_path, text):
    tree = lay_out(tmp_path / "tree", WINDOW)
    (tmp_path / "truth.yml").write_text(text)
    done = run("--truth", tmp_path / "truth.yml", tree)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "truth" in done.stderr


def test_a_fifo_in_place_of_the_truth_is_named_and_nobody_waits(tmp_path):
    tree = lay_out(tmp_path / "tree", WINDOW)
    os.mkfifo(tmp_path / "fifo")
    done = run("--truth", tmp_path / "fifo", tree)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tixd analyze: {tmp_path}/fifo: is not a regular file")


def test_a_table_of_many_windows_holds_no_observations(tmp_path, monkeypatch):
    tree = lay_out(tmp_path / "tree", WINDOW)
    shown = []
    monkeypatch.setattr(window_tables, "show_windows", lambda _, w, **__: shown.extend(w))
    assert run(tree).exit_code == 0
    assert all(len(pickle.dumps(window)) < 2000 for window in shown)
    assert shown


def test_a_folder_and_its_archive_give_the_same_but_for_the_path(tmp_path):
    tree = lay_out(tmp_path / "1" / "2", WINDOW)
    members = [member(f"1/2/{name}", content) for name, content in reversed(WINDOW)]
    archive = pack(tmp_path / "kept.tar.gz", members)
    of_tree = run("--format", "json", tree).stdout
    of_archive = run("--format", "json", archive).stdout
    assert f'"path":"{archive}/1/2"' in of_archive
    assert of_archive.replace(str(archive), str(tmp_path)) == of_tree


def test_a_window_without_a_short_packet_has_a_row_and_no_result(tmp_path):
    files = [(f"tix-report-{START + 60 * n}.json", longs(START + 60 * n)) for n in range(19)]
    tree = lay_out(tmp_path / "1", files)
    assert json.loads(run("--format", "json", tree).stdout)["result"] is None
    assert run(tree).stdout.splitlines()[1].split()[2:] == ["-", "19", "1140", *"--------", "-"]
    row = next(csv.DictReader(io.StringIO(run("--format", "csv", tree).stdout)))
    assert (row["until"], row["sure"], row["up_usage_raw"]) == ("", "", "")
    assert row["begin"] == iso_time(START)


def longs(first):
    """A report of 60 long packets."""
    return report(b"".join(record(first + n, b"L") for n in range(60)))


def test_the_table_of_a_pipe_has_one_line_a_window_that_nothing_folds(tmp_path):
    deep = lay_out(tmp_path / ("long" * 40) / "1", WINDOW)
    lines = run(deep).stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"{deep} 192.0.2.1 2023-11-14 22:32")
    assert lines[0].split()[:4] == ["installation", "from", "until", "(UTC)"]
    assert "down usage" in lines[0]


def test_markup_in_names_is_text(tmp_path):
    folder = lay_out(tmp_path / "[red]x", WINDOW)
    assert str(folder) in run(folder).stdout


def test_what_is_left_out_is_said_on_standard_error(tmp_path):
    bad = [(f"tix-report-{n}.json", b"{}") for n in range(7)]
    done = run(lay_out(tmp_path, [*WINDOW, *bad]))
    assert done.exit_code == 0
    assert done.stderr.count("left out: tix-report-") == 5
    assert done.stderr.endswith("left out: 2 more files\n")


def test_reports_that_make_no_window_are_no_failure_and_are_explained(tmp_path):
    done = run(lay_out(tmp_path, WINDOW[:18]))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "18 reports make no window: it takes 1084" in done.stderr


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_missing_path_fails_and_the_others_are_shown(tmp_path, form):
    done = run("--format", form, tmp_path / "missing", lay_out(tmp_path / "1", WINDOW))
    assert done.exit_code == 1
    assert "missing: there is no such file or folder" in done.stderr
    assert f"{tmp_path}/1" in done.stdout


def test_paths_without_any_report_fail(tmp_path):
    done = run(tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"tixd analyze: {tmp_path}: no report found\n"


def test_a_path_without_reports_beside_one_with_some_is_only_mentioned(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty", lay_out(tmp_path / "1", WINDOW))
    assert done.exit_code == 0
    assert "empty: no report found" in done.stderr


def test_a_damaged_archive_fails_after_what_it_gave(tmp_path):
    members = [member(f"1/2/{name}", content) for name, content in WINDOW]
    whole = pack(tmp_path / "kept.tar.gz", members).read_bytes()
    (tmp_path / "kept.tar.gz").write_bytes(whole[: -len(whole) // 5])
    done = run("--format", "json", tmp_path / "kept.tar.gz")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert "kept.tar.gz" in done.stderr


def test_a_folder_of_archives_is_read_and_a_damaged_one_fails_after_the_others(tmp_path):
    members = [member(f"1/{name}", content) for name, content in WINDOW]
    whole = pack(tmp_path / "a.tar.gz", members).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 3])
    pack(tmp_path / "c.tar.gz", members)
    done = run("--format", "json", tmp_path)
    assert done.exit_code == 1
    paths = [json.loads(line)["path"] for line in done.stdout.splitlines()]
    assert paths == [f"{tmp_path}/{name}.tar.gz/1" for name in ("a", "a", "c", "c")]
    assert f"{tmp_path}/b.tar.gz: left out: is not gzip, or is damaged or cut short" in done.stderr


def test_a_single_report_is_answered_with_the_folder_to_name(tmp_path):
    name, _ = WINDOW[0]
    done = run(lay_out(tmp_path, WINDOW) / name)
    assert (done.exit_code, done.stdout) == (1, "")
    told = f"{name}: is a single report, and a window takes about 18: name its folder, {tmp_path}\n"
    assert done.stderr == f"tixd analyze: {tmp_path}/{told}"


@pytest.fixture
def located(tmp_path, monkeypatch):
    """Two installations of one AS and one of none, and the setting of an AS table."""
    monkeypatch.setenv("TIX_ASN_TABLE", str(table(tmp_path / "asn.mmdb")))
    for number, source in enumerate(("181.165.1.1", "181.164.1.1", "192.0.2.1"), 1):
        lay_out(tmp_path / "reports" / "1" / str(number), made_reports(source))
    return tmp_path / "reports"


def test_the_as_of_a_source_is_shown_where_a_table_is_set(located):
    lines = [json.loads(line) for line in run("--format", "json", located).stdout.splitlines()]
    assert list(lines[0])[3:6] == ["ip", "asn", "asName"]
    assert (lines[0]["asn"], lines[0]["asName"]) == (7303, "Telecom Argentina S.A.")
    assert [line["asn"] for line in lines] == [7303, 7303, 7303, 7303, None, None]
    rows = run(located).stdout.splitlines()
    assert "AS7303 Telecom Argentina S.A." in rows[1]
    assert "no AS" in rows[-1]


def test_windows_are_grouped_by_as_with_means_of_what_is_defined(located):
    done = run("--by-as", "--format", "json", located)
    telecom, nobody = map(json.loads, done.stdout.splitlines())
    assert (telecom["asn"], telecom["installations"], telecom["windows"]) == (7303, 2, 4)
    assert (nobody["asn"], nobody["asName"], nobody["windows"]) == (None, None, 2)
    assert telecom["downstream"]["usage"] == pytest.approx(0.5, abs=0.12)
    assert list(flat_names(telecom)) == list(AS_MEMBERS)
    heads, *cells = run("--by-as", "--format", "csv", located).stdout.splitlines()
    assert (heads.split(",")[:3], len(cells)) == (["asn", "as_name", "installations"], 2)
    rows = run("--by-as", located).stdout.splitlines()
    assert rows[1].split()[:6] == ["AS7303", "Telecom", "Argentina", "S.A.", "2", "4"]
    assert rows[2].split()[:4] == ["no", "AS", "1", "2"]


def test_grouping_by_as_needs_a_table(tmp_path):
    done = run("--by-as", lay_out(tmp_path, WINDOW))
    assert (done.exit_code, "set TIX_ASN_TABLE" in done.stderr) == (2, True)


def test_a_table_that_cannot_be_used_is_named_with_the_reason(located, monkeypatch):
    monkeypatch.setenv("TIX_ASN_TABLE", "/nowhere/asn.mmdb")
    done = run("--format", "json", located)
    assert "/nowhere/asn.mmdb: No such file or directory" in done.stderr
    assert done.exit_code == 0
