"""The tests themselves, beside a tixd that is installed and runs on the same machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT

#: Tests that once saw an installation's tixd.toml, variables, sockets, folders or ports.
TOUCHY = (
    "tests/unit/commands/test_asked.py",
    "tests/unit/diagnostics/test_registry.py",
    "tests/integration/commands/test_asking.py::test_where_nothing_runs_a_question_ends_with_one",
    "tests/acceptance/test_command_line.py::test_warnings_go_to_the_log_that_the_options_name",
    "tests/acceptance/test_command_line.py::test_check_config_says_why_nothing_would_be_posted",
    "tests/acceptance/test_collector.py::test_a_wrong_configuration_or_option_is_exit_code_2",
    "tests/acceptance/test_privileges.py::test_root_finds_a_service_that_has_become_somebody_else",
)

#: All that the normal run has, but for this module.
ALL = ("tests", "--ignore", "tests/acceptance/test_beside_tixd.py", "-m", "not long")

#: How a program is called that reads the machine's own tixd.toml.
READS_TIXD_TOML = re.compile(r'sys\.executable, "-m", "tixd"(?!\]?\)?, "-c")')

by_root = pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can hide folders")


def beside(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest beside an installation; exit code 0 also means that nobody has touched it."""
    command = [sys.executable, "-m", "tests.support.beside", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@by_root
@pytest.mark.long
def test_tests_that_once_saw_an_installation_neither_see_nor_touch_it(tmp_path):
    done = beside(tmp_path, "-x", *TOUCHY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout


@by_root
@pytest.mark.long
def test_the_check_tells_of_a_test_that_touches_the_installation(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "test_touching.py").write_text(
        "import urllib.request\n"
        "from tests.support.bundles import PING\n"
        "def test_a_bundle_is_sent_to_what_has_the_port():\n"
        "    url = 'http://localhost:8888/gratia-servlets/rmi'\n"
        "    urllib.request.urlopen(url, PING).close()\n"
    )
    done = beside(tmp_path, "/tmp/test_touching.py")
    assert done.returncode == 1
    assert "touched: requests: " in done.stdout


@by_root
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_no_test_sees_or_touches_an_installation(tmp_path):
    done = beside(tmp_path, *ALL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_installation_itself_is_called_without_a_tixd_toml():
    modules = (ROOT / "tests").rglob("*.py")
    found = {path.name for path in modules if READS_TIXD_TOML.search(path.read_text())}
    assert found == {"beside.py"}
