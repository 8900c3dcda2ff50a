"""`tixd analyze --plot`: what is drawn gives the printed values; a file is whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from xml.parsers import expat

import numpy as np
import pytest
from click.testing import CliRunner

from tests.support.chosen import few
from tests.support.made import START, lay_out, made_reports, minute, record, report
from tests.support.recordings import archive
from tests.support.volumes import fill, tmpfs
from tests.support.windows import WINDOWS
from tixd.analysis.summary import analyse
from tixd.analysis.traces import trace_of
from tixd.commands import Invocation, plot_installation, plot_many, plot_style
from tixd.commands.analyze import command
from tixd.commands.pictures import write_whole
from tixd.commands.plot_installation import Drawing
from tixd.commands.window_values import Analysed
from tixd.errors import NotDone

REPORTS = made_reports()

#: How a file of each form begins.
MAGIC = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(command, words, obj=Invocation({}, None))


@pytest.fixture
def tree(tmp_path):
    return lay_out(tmp_path / "reports" / "1" / "2", REPORTS)


def is_svg(content):
    """Whether it is well-formed, and a picture."""
    parser = expat.ParserCreate()
    parser.Parse(content, True)
    return content.count(b'id="axes_') > 1


def drawing_of(rows, estimator):
    """A window of these rows, to draw."""
    summary, steps = analyse(rows, estimator, both=True)
    window = Analysed("t", "t/1", 0, "x", 1, len(rows), estimator, summary, None)
    trace = trace_of(summary, steps, estimator)
    return Drawing([window], [trace], trace)


def drawn(draw):
    """The axes of what is drawn, by title up to a colon."""
    with plot_style.style():
        figure = plot_style.page(draw)
    return {axes.get_title(loc="left").partition(":")[0]: axes for axes in figure.axes}


def packets(axes):
    """Heights of all packets that are drawn, those at the edge included."""
    lines = (line for line in axes.lines if line.get_marker() in (".", "^"))
    return np.concatenate([np.asarray(line.get_ydata(), float) for line in lines])


def level(axes, label):
    """The height of a level that the legend names so."""
    [found] = (each for each in axes.collections if each.get_label() == label)
    return found.get_segments()[0][0][1]


@pytest.mark.parametrize("name", ["idle", "busy", "drifting clock", "out of order", "only 64"])
def test_the_drawn_lines_part_the_drawn_packets_as_the_printed_usage_says(name):
    drawing = drawing_of(WINDOWS[name], "mode")
    axes = drawn(lambda figure: plot_installation.draw(figure, drawing))
    for word, result in (
        ("up", drawing.detail.summary.upstream),
        ("down", drawing.detail.summary.downstream),
    ):
        panel = axes[f"One-way delay {word}"]
        heights, mode, threshold = packets(panel), level(panel, "mode"), level(panel, "threshold")
        above = np.count_nonzero(heights > mode)
        assert result.usage == pytest.approx(np.count_nonzero(heights > threshold) / above)
        assert f"usage {result.usage:.2f}" in panel.get_title(loc="left")


def test_drawn_minutes_fits_and_waiting_give_the_printed_values():
    drawing = drawing_of(WINDOWS["busy"], "delayed-probes")
    axes = drawn(lambda figure: plot_installation.draw(figure, drawing))
    result, part = drawing.detail.summary.downstream, drawing.detail.ways[1]
    heights = packets(axes["Waiting in queues down"])
    tau = level(axes["Waiting in queues down"], "tau: above it a packet was delayed")
    assert np.mean(heights > tau) == np.mean(part.waiting_ns > part.tau_ns)
    for title, printed in (("R/S down", result.hurst_rs), ("Wavelets down", result.hurst_wavelet)):
        _, line = axes[title].lines
        (x1, x2), (y1, y2) = line.get_xdata(), line.get_ydata()
        assert (y2 - y1) / (x2 - x1) == pytest.approx(printed)
        assert axes[title].get_title(loc="left").endswith(f"H = {printed:.2f}")
    labels = axes["Quality"].get_legend_handles_labels()[1]
    assert any(label.startswith(f"down: {result.quality:.2f}, ") for label in labels)


#: Windows of which something is undefined, or unusual.
ODD = ("only 1", "only 5", "only 63", "constant delays", "a gap", "one a minute", "year 1970")


@pytest.mark.parametrize("name", few(ODD, *ODD[:2]))
def test_every_window_that_has_a_result_can_be_drawn(name):
    estimator = "mode" if ODD.index(name) % 2 else "delayed-probes"
    drawing = drawing_of(WINDOWS[name], estimator)
    content = plot_style.drawn("svg", lambda figure: plot_installation.draw(figure, drawing))
    assert is_svg(content)


@pytest.mark.parametrize("form", few(MAGIC, "svg"))
def test_a_picture_is_written_beside_the_table(tree, tmp_path, form):
    file = tmp_path / f"lines.{form.upper()}"
    done = run("--plot", file, tree)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == run(tree).stdout
    assert file.read_bytes().startswith(MAGIC[form])
    assert sorted(os.listdir(tmp_path)) == [file.name, "reports"]


@pytest.mark.parametrize(
    "how",
    [
        (),
        pytest.param(("--estimator", "delayed-probes"), marks=pytest.mark.long),
        pytest.param(("--window", "22:32"), marks=pytest.mark.long),
    ],
)
def test_the_same_reports_give_the_same_bytes(tree, tmp_path, how):
    files = [tmp_path / f"{number}.svg" for number in (1, 2)]
    for file in files:
        assert run("--plot", file, *how, tree).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_one_window_of_several_is_drawn_alone(tree, tmp_path):
    until = [
        json.loads(line)["result"]["timestamp"]
        for line in run("--format", "json", tree).stdout.splitlines()
    ]
    clock = f"{until[0] // 3600 % 24:02}:{until[0] // 60 % 60:02}"
    assert run("--plot", tmp_path / "one.svg", "--window", clock, tree).exit_code == 0
    assert run("--plot", tmp_path / "all.svg", tree).exit_code == 0
    one, both = ((tmp_path / name).read_text() for name in ("one.svg", "all.svg"))
    assert one.count('id="axes_') == both.count('id="axes_') - 1, "usage of each window"


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("11:11", "no window ends at 11:11 (UTC)"),
        ("soon", "give a time (UTC)"),
        ("22", "give a time (UTC)"),
    ],
)
def test_a_window_that_is_not_there_is_told_in_a_line(tree, tmp_path, until, words):
    done = run("--plot", tmp_path / "one.svg", "--window", until, tree)
    assert words in str(done.exception) + done.stderr
    assert not (tmp_path / "one.svg").exists()


def test_a_time_at_which_several_windows_end_asks_for_one_installation(tmp_path):
    for name in ("1", "2"):
        lay_out(tmp_path / "r" / name, REPORTS)
    done = run("--plot", tmp_path / "one.svg", "--window", "22:32", tmp_path / "r")
    assert "2 windows end at 22:32" in str(done.exception)


def test_many_installations_are_drawn_over_time_and_beside_each_other(tmp_path):
    path = archive("own", tmp_path)
    windows = json.loads(f"[{','.join(run('--format', 'json', path).stdout.splitlines())}]")
    assert run("--plot", tmp_path / "many.svg", path).exit_code == 0
    assert len({window["path"] for window in windows}) > 5
    assert is_svg((tmp_path / "many.svg").read_bytes())


def test_errors_that_are_drawn_are_estimate_less_truth():
    drawing = drawing_of(WINDOWS["busy"], "mode")
    window = replace(drawing.windows[0], truth=(None, 0.25))
    other = replace(window, path="t/2", truth=(None, 0.75))
    axes = drawn(lambda figure: plot_many.draw(figure, [window, other]))
    assert {"Usage down", "Error down", "Relative error down"} == set(axes)
    usage = min(window.ways[1].usage, 1.0)
    by_mode = axes["Error down"].lines[1].get_ydata()
    assert list(by_mode) == pytest.approx([usage - 0.25, usage - 0.75])
    relative = axes["Relative error down"].lines[0].get_ydata()
    assert list(relative) == pytest.approx([abs(usage - 0.25) / 0.25, abs(usage - 0.75) / 0.75])


def long_packets(count=19):
    """Reports without a short packet."""
    rows = [[record(START + 60 * i + j, kind=b"L") for j in range(60)] for i in range(count)]
    return [(f"tix-report-{START + 60 * i}.json", report(b"".join(r))) for i, r in enumerate(rows)]


def test_windows_without_a_short_packet_leave_no_file_and_say_so(tmp_path):
    tree = lay_out(tmp_path / "r", long_packets())
    done = run("--plot", tmp_path / "x.svg", tree)
    assert str(done.exception) == f"{tmp_path}/x.svg: not written: there is no window to draw"
    assert os.listdir(tmp_path) == ["r"]


def test_reports_that_make_no_window_leave_no_file_and_say_so(tmp_path):
    tree = lay_out(tmp_path / "r", REPORTS[:3])
    done = run("--plot", tmp_path / "x.svg", tree)
    assert "there is no window to draw" in str(done.exception)
    assert "3 reports make no window" in done.stderr


#: What a folder may be called.
NAMES = ("$\\frac{1}$", "$", "<b>&amp;", "\x1b[31mred", "n" * 250, "漢字")


def test_names_of_folders_are_text_whatever_they_hold(tmp_path):
    for number, name in enumerate(NAMES):
        lay_out(tmp_path / "r" / name, REPORTS)
        if number < 2:
            done = run("--plot", tmp_path / "one.svg", tmp_path / "r" / name)
            assert (done.exit_code, done.stderr) == (0, "")
    done = run("--plot", tmp_path / "many.svg", tmp_path / "r")
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["x", "x.jpg", "x.html", "svg", "reports.tar.gz", ".svg"])
def test_a_name_of_another_kind_is_refused_before_the_analysis(tree, tmp_path, name):
    done = run("--plot", tmp_path / name, tree)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "its name must end in .svg or .png or .pdf" in done.stderr


def test_a_place_that_cannot_be_written_to_is_told_before_the_analysis(tree, tmp_path):
    (tmp_path / "folder.svg").mkdir()
    os.mkfifo(tmp_path / "pipe.svg")
    (tmp_path / "file").write_text("")
    reasons = {
        "folder.svg": "it is there, and no regular file",
        "pipe.svg": "it is there, and no regular file",
        "none/x.svg": "its folder does not exist",
        "file/x.svg": "Not a directory",
    }
    for name, reason in reasons.items():
        done = run("--plot", tmp_path / name, tree)
        assert (done.stdout, str(done.exception)) == (
            "",
            f"{tmp_path / name}: not written: {reason}",
        )


def test_a_full_disk_keeps_the_older_file(tmp_path):
    with tmpfs(tmp_path / "small", 256) as small:
        (small / "x.svg").write_text("older")
        fill(small)
        with pytest.raises(NotDone, match=r"x\.svg: not written: No space left on device"):
            write_whole(str(small / "x.svg"), b"newer" * 100_000)
        assert (small / "x.svg").read_text() == "older"
        assert not [name for name in os.listdir(small) if name.startswith(".tixd-")]


def test_a_file_takes_the_place_of_an_older_one_also_behind_a_link(tmp_path):
    (tmp_path / "x.svg").write_text("older")
    (tmp_path / "link.svg").symlink_to("x.svg")
    write_whole(str(tmp_path / "link.svg"), b"newer")
    assert (tmp_path / "x.svg").read_text() == "newer"
    assert (tmp_path / "link.svg").is_symlink()
    mask = os.umask(0o077)
    os.umask(mask)
    assert (tmp_path / "x.svg").stat().st_mode & 0o777 == 0o666 & ~mask


def test_without_matplotlib_a_line_says_how_to_get_it(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("--plot", tmp_path / "x.svg", tree)
    assert "pip install 'tixd[plot]'" in str(done.exception)
    assert (done.stdout, len(str(done.exception).splitlines())) == ("", 1)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert "the package and the one file do not contain" in str(
        run("--plot", tmp_path / "x.svg", tree).exception
    )


def test_without_pictures_no_library_for_them_is_loaded():
    program = "from tixd.commands.analyze import command; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "tixd.commands.pictures" in loaded, done.stderr
    assert loaded & {"matplotlib", "jinja2", "aiohttp", "tixd.page.render"} == set()


def test_a_window_of_equal_delays_is_drawn_with_what_is_undefined_named(tmp_path):
    tree = lay_out(
        tmp_path / "r",
        [(f"tix-report-{START + 60 * i}.json", minute(START + 60 * i, size=32)) for i in range(19)],
    )
    assert run("--plot", tmp_path / "x.png", tree).exit_code == 0
