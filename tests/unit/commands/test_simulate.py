"""`tixd simulate`: what it writes where, and what it refuses."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner

from tixd.commands.simulate import command

QUICK = ("--hours", "0.1", "--start", "1700000000")


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_reports_and_truth_are_written(tmp_path):
    done = run(tmp_path / "new" / "tree", *QUICK, "--user", 7, "--installations", 2, "--loss", 0)
    assert done.exit_code == 0, done.output
    tree = tmp_path / "new" / "tree"
    assert sorted(p.relative_to(tree).as_posix() for p in tree.glob("*/*")) == ["7/1", "7/2"]
    assert len(list((tree / "7" / "1").glob("tix-report-17000*.json"))) == 5
    assert (tree / "description.yml").read_text().count("start: 1700000000") == 2
    assert not list(tree.rglob("*.tmp"))


def test_equal_options_write_equal_trees(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name, *QUICK, "--seed", 3)
    trees = [
        {p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file()}
        for top in (tmp_path / "one", tmp_path / "two")
    ]
    assert trees[0] == trees[1]


def test_without_a_start_the_reports_end_now(tmp_path):
    before = int(time.time())
    assert run(tmp_path, "--hours", "0.1").exit_code == 0
    last = max(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("1/1/*.json"))
    assert before - 200 < last <= time.time()


def test_an_installation_that_is_there_is_not_mixed_with(tmp_path):
    (tmp_path / "1" / "2").mkdir(parents=True)
    done = run(tmp_path, *QUICK, "--installations", 2)
    assert done.exit_code == 2
    assert "1/2 is there already" in done.stderr
    assert not (tmp_path / "1" / "1").exists()


@pytest.mark.parametrize(
    "wrong",
    [("--usage", "0.5,much"), ("--usage", "1.5"), ("--up-usage", ""), ("--source", "router")],
)
def test_a_wrong_option_writes_nothing(tmp_path, wrong):
    done = run(tmp_path / "tree", *QUICK, *wrong)
    assert done.exit_code == 2
    assert wrong[0] in done.stderr
    assert not (tmp_path / "tree").exists()


def test_a_source_that_is_no_address_is_quoted(tmp_path):
    assert "'router' is not an IPv4 or IPv6 address" in run(tmp_path, "--source", "router").output


def test_each_kind_of_line_writes_reports_of_its_own(tmp_path):
    kinds = [
        *((), ("--traffic", "poisson"), ("--access", "wifi"), ("--access", "mobile")),
        *(("--up-extra", "30"), ("--clock-step", "0.1"), ("--clock-slew", "500")),
    ]
    written = set()
    for number, kind in enumerate(kinds):
        assert run(tmp_path / str(number), *QUICK, *kind).exit_code == 0
        last = max((tmp_path / str(number) / "1" / "1").iterdir())
        written.add(last.read_bytes())
    assert len(written) == len(kinds)


def test_not_a_number_is_no_usage(tmp_path):
    assert run(tmp_path / "tree", *QUICK, "--usage", "nan").exit_code == 2
