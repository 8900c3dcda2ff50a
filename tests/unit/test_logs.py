"""Log lines: their forms, and a file that is moved away under them."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
