"""`tixd analyze`: windows, their form, and the exit code."""

from __future__ import annotations

import json
import os
import pickle
import re

import pytest
from click.testing import CliRunner

from tests.support.made import START, lay_out, made_reports, member, pack
from tests.support.tables import table
from tixd.commands import Invocation
from tixd.commands.analyze import command
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


def test_a_json_line_has_the_shape_of_a_stored_result(tmp_path):
    done = run("--format", "json", lay_out(tmp_path / "1" / "2", WINDOW[:19]))
    line = json.loads(done.stdout)
    assert list(line) == ["path", "window", "ip", "reports", "observations", "result"]
    assert (line["path"], line["ip"]) == (f"{tmp_path}/1/2", "192.0.2.1")
    assert list(line["result"]) == ["timestamp", "upstream", "downstream", "clock"]
    assert line["result"]["clock"] == "fine"
    assert list(line["result"]["upstream"]) == ["usage", "quality", "hurst"]
    assert list(line["result"]["downstream"]["hurst"]) == ["rs", "wavelet"]
    assert START + 1100 < line["result"]["timestamp"] < START + 1200


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
            assert "usageAlt" not in mode["result"][way]
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


@pytest.mark.parametrize("estimator", ["mode", "delayed-probes"])
def test_a_clock_that_was_set_is_told_in_a_column_that_stands_only_then(tmp_path, estimator):
    files = made_reports(client_steps=((600.0, 0.05),))[:19]
    tree = lay_out(tmp_path / "set", files)
    how = ("--estimator", estimator)
    assert json.loads(run("--format", "json", *how, tree).stdout)["result"]["clock"] == "set"
    heading, row = run(*how, tree).stdout.splitlines()
    assert heading.split()[:3] == ["installation", "from", "clock"]
    assert row.split()[2] == "set"
    fine = run(*how, lay_out(tmp_path / "fine", WINDOW)).stdout
    assert "clock" not in fine.splitlines()[0]


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
    assert [line.split()[4] for line in lines[1:3]] == ["0.500", "0.500"]
    assert [line.split()[:3] for line in lines[-2:]] == [
        ["downstream", "mode", "2"],
        ["downstream", "delayed-probes", "2"],
    ]


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
    monkeypatch.setattr("tixd.commands.analyze._show", shown.extend)
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


def test_the_table_of_a_pipe_has_one_line_a_window_that_nothing_folds(tmp_path):
    deep = lay_out(tmp_path / ("long" * 40) / "1", WINDOW)
    lines = run(deep).stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"{deep} 192.0.2.1 2023-11-14 22:13")
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


@pytest.fixture
def located(tmp_path, monkeypatch):
    """Two installations of one AS and one of none, and the setting of an AS table."""
    monkeypatch.setenv("TIX_ASN_TABLE", str(table(tmp_path / "asn.mmdb")))
    for number, source in enumerate(("181.165.1.1", "181.164.1.1", "192.0.2.1"), 1):
        lay_out(tmp_path / "reports" / "1" / str(number), made_reports(source))
    return tmp_path / "reports"


def test_the_as_of_a_source_is_shown_where_a_table_is_set(located):
    lines = [json.loads(line) for line in run("--format", "json", located).stdout.splitlines()]
    assert list(lines[0])[2:5] == ["ip", "asn", "asName"]
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
    assert list(telecom["upstream"]) == ["usage", "quality", "hurst"]
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
