"""Log lines: their forms, and a file that is moved away under them."""

import functools
import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.memory import peak_allocation
from tixd import logs

LOGGER = logging.getLogger("tixd")


@pytest.fixture(autouse=True)
def _logger_as_before() -> Iterator[None]:
    handlers, level, propagate = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    LOGGER.handlers = []
    yield
    for handler in LOGGER.handlers:
        handler.close()
    LOGGER.handlers, LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


@pytest.fixture
def adopted(monkeypatch) -> Iterator[None]:
    """What libraries log goes through ours during the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logs, "_NOTICES", logs.RateLimiter())
    logs.adopt()
    yield
    logging.captureWarnings(capture=False)
    logging.raiseExceptions = True
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a log goes."""
    return tmp_path / "tixd.log"


def test_journald_gets_priorities_and_no_time_of_ours(file):
    logs.set_up("DEBUG", "journald", str(file))
    for say in (logs.debug, logs.info, logs.warning, logs.error):
        say("something", user=1, reason="a b\n<0>c")
    rest = 'something user=1 reason="a b\\n<0>c"'
    assert file.read_text().splitlines() == [f"<{n}>{rest}" for n in (7, 6, 4, 3)]


def test_a_text_line_begins_with_its_time_and_level(file):
    logs.set_up("INFO", "text", str(file))
    logs.warning("something", n=1)
    assert f"Z WARNING {os.getpid()} something n=1\n" in file.read_text()


def test_a_json_line_is_one_object(file):
    logs.set_up("INFO", "json", str(file))
    logs.error("something", path=Path("/x"))
    line = json.loads(file.read_text())
    assert (line["level"], line["event"], line["path"]) == ("error", "something", "/x")


@pytest.mark.parametrize("form", ["text", "json", "journald"])
def test_a_form_that_was_asked_for_is_kept(form):
    assert logs.form_for(form, "stderr", "") == form


def test_auto_is_journald_where_its_stream_is_the_one_we_write_to(file, monkeypatch):
    with file.open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        facts = os.fstat(stream.fileno())
        journal = f"{facts.st_dev}:{facts.st_ino}"
        for name in ("stderr", "/dev/stderr"):
            assert logs.form_for("auto", name, journal) == "journald"
        assert logs.form_for("auto", "stderr", "1:1") == "text"
        assert logs.form_for("auto", str(file), journal) == "text"
    assert logs.form_for("auto", "stderr", journal) == "text", "closed"


def test_a_file_that_was_moved_away_is_opened_again(file):
    logs.set_up("INFO", "text", str(file))
    logs.info("before")
    moved = file.rename(file.with_suffix(".1"))
    logs.reopen()
    logs.info("after")
    assert "before" in moved.read_text()
    assert "after" in file.read_text()
    assert "after" not in moved.read_text()


def test_a_file_that_cannot_be_opened_again_costs_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    folder = tmp_path / "logs"
    folder.mkdir()
    logs.set_up("INFO", "text", str(folder / "log"))
    folder.rename(tmp_path / "moved")
    logs.reopen()
    logs.info("after")
    assert "log_not_reopened" in said.getvalue()
    assert "after" in said.getvalue()
    folder.mkdir()
    logs.reopen()
    logs.info("at_last")
    assert "at_last" in (folder / "log").read_text()


def test_reopening_leaves_standard_error_alone(monkeypatch):
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    logs.set_up("INFO", "text", "stderr")
    logs.reopen()
    logs.info("still_here")
    assert "still_here" in said.getvalue()


@pytest.mark.parametrize("name", ["stderr", "stdout"])
def test_the_device_of_a_stream_is_that_stream_and_not_opened_again(name, monkeypatch):
    monkeypatch.setattr(sys, name, said := io.StringIO())
    monkeypatch.setattr("builtins.open", None)  # refused to whoever has given up root's rights
    logs.set_up("INFO", "text", f"/dev/{name}")
    logs.reopen()
    logs.info("still_here")
    assert "still_here" in said.getvalue()
    assert logs.path_of(f"/dev/{name}") == ""


@pytest.mark.parametrize(
    ("level", "debugging"), [("WARNING", [True, False]), ("DEBUG", [False, True])]
)
def test_debug_is_toggled_and_toggled_back(file, level, debugging):
    logs.set_up(level, "text", str(file))
    found = []
    for _ in debugging:
        logs.toggle_debug()
        found.append(logs.is_debugging())
    assert found == debugging
    assert LOGGER.level == logging.getLevelName(level)


def test_lines_that_cannot_be_written_are_told_of_once_and_without_a_traceback(capsys):
    logs.set_up("INFO", "text", "/dev/full")
    for _ in range(3):
        logs.info("something")
    logs.reopen()
    said = capsys.readouterr().err
    assert said == "tixd: lines of the log /dev/full are lost: [Errno 28] No space left on device\n"


def test_a_fifo_that_nobody_reads_is_no_log(tmp_path):
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device or address"):
        logs.set_up("INFO", "text", str(tmp_path / "log"))


#: As long as a text of a bundle's record can be.
LONG = 60 * 1024 * 1024

#: Values that somebody outside can make long, by what they are.
LONG_VALUES: dict[str, Callable[[], object]] = {
    "text": lambda: "é" * LONG,
    "octets": lambda: b"\x00" * LONG,
    "list": lambda: ["\U0001f600" * 50] * 1_000_000,
    "nested": lambda: {"a": [{"b": "x" * LONG}] * 3, "y" * LONG: 1},
    "deep": lambda: functools.reduce(lambda inner, _: [inner], range(100_000), [0]),
    "exception": lambda: KeyError("x" * LONG),
    "integer": lambda: 1 << LONG,
}


@pytest.mark.parametrize("form", ["text", "json", "journald"])
@pytest.mark.parametrize("kind", LONG_VALUES)
def test_a_value_of_any_length_costs_little_and_a_short_line(file, form, kind):
    logs.set_up("INFO", form, str(file))
    value = LONG_VALUES[kind]()
    with peak_allocation() as peak:
        logs.warning("something", value=value, n=1)
    line = file.read_text()
    assert len(line.encode()) <= 4096
    assert "something" in line
    assert peak.bytes < 1024 * 1024


@pytest.mark.parametrize("form", ["text", "json", "journald"])
def test_many_long_values_still_make_one_line_of_at_most_4_kb(file, form):
    logs.set_up("INFO", form, str(file))
    logs.warning("something", **{f"value_{n}": "\U0001f600" * 301 for n in range(20)})
    line = file.read_text()
    assert len(line.encode()) <= 4096
    assert "value_19" in line
    assert line.count("\n") == 1


def test_a_text_is_cut_after_300_characters_and_its_length_told(file):
    logs.set_up("INFO", "json", str(file))
    logs.warning("something", exact="x" * 300, longer="y" * 301)
    line = json.loads(file.read_text())
    assert line["exact"] == "x" * 300
    assert line["longer"] == "y" * 300 + "… (301 characters)"


def test_events_held_back_are_counted_in_the_next_hours_line():
    said: list[dict[str, object]] = []
    limiter = logs.RateLimiter()
    for now in (0.0, 1.0, 2.0, 3600.0):
        limiter.log(lambda event, **v: said.append({"event": event, **v}), "e", "key", now=now, n=1)
    assert said == [{"event": "e", "n": 1}, {"event": "e", "n": 1, "held_back": 2}]


def test_a_clock_set_back_silences_no_event():
    limiter = logs.RateLimiter()
    assert limiter.allow("key", now=1_000_000.0) is not None
    assert limiter.allow("key", now=1_000.0) is not None


def test_what_was_logged_is_remembered_in_bounded_memory():
    limiter = logs.RateLimiter()
    with peak_allocation() as peak:
        for n in range(20_000):
            limiter.allow(f"{n}" + "x" * 100_000, now=0.0)
    assert peak.bytes < 8 * 1024 * 1024
    assert not limiter.would_allow("19999" + "x" * 100_000, now=1.0)


def test_what_a_library_logs_is_an_event_of_ours(file, adopted):
    logs.set_up("INFO", "json", str(file))
    logger = logging.getLogger("a_library")
    for _ in range(3):
        logger.warning("slow: %s, %d of them\nand more", "x" * LONG, 5)
    logger.error("broken")
    first, second = map(json.loads, file.read_text().splitlines())
    assert (first["event"], first["source"]) == ("library_warning", "a_library")
    assert first["reason"].startswith("slow: xxx")
    assert (second["event"], second["reason"]) == ("unexpected", "broken")


def test_warnings_of_python_are_events_of_ours(file, adopted):
    logs.set_up("INFO", "json", str(file))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    line = json.loads(file.read_text())
    assert (line["event"], line["source"]) == ("library_warning", "py.warnings")
    assert "old way" in line["reason"]


@pytest.mark.parametrize("how", ["task", "callback", "thread", "destructor"])
def test_an_exception_that_nobody_catches_is_one_event_without_a_traceback(file, how):
    program = f"from tests.support import uncaught; uncaught.{how}({str(file)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    [line] = map(json.loads, file.read_text().splitlines())
    assert (line["event"], line["error"]) == ("unexpected", "RuntimeError: as was planned")
    assert line["at"].startswith("uncaught.py:")


def test_a_librarys_many_messages_are_few_lines_an_hour(file, adopted):
    logs.set_up("INFO", "text", str(file))
    for n in range(1000):
        logging.getLogger("a_library").warning("number " + str(n))
    assert len(file.read_text().splitlines()) == logs.MAX_NOTICES
