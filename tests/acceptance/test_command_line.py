"""The program as operators call it: help, exit codes, and one line about what is wrong."""

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.support.program import TIXD, bare_environment

COMMANDS = ("once", "analyze", "simulate", "status", "health", "failed", "asn", "check-config")


def tixd(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [*TIXD, *arguments],
        env=bare_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command_and_gives_an_example():
    done = tixd("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "Example" in done.stdout


def test_help_imports_neither_pydantic_nor_a_command():
    program = (
        "import sys; sys.argv = ['tixd', '--help']\n"
        "import atexit; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
        "from tixd.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = set(done.stderr.split())
    assert "click" in modules
    assert not modules & {"pydantic", "numpy", "rich", "zmq", "tixd.commands", "tixd.config.loader"}


def test_importing_the_main_module_imports_no_command_line():
    program = "import tixd.__main__, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "tixd.__main__" in done.stdout.split()
    assert not set(done.stdout.split()) & {"click", "pydantic", "rich", "tixd.cli"}


@pytest.mark.parametrize("role", ["standalone", "dispatcher", "worker", "collector"])
def test_no_service_loads_what_only_workers_need(role):
    program = f"import tixd.roles.{role}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"tixd.roles.{role}" in done.stdout.split()
    # numpy has a thread of its own, which takes signals, and 25 MB.
    assert not set(done.stdout.split()) & {"numpy", "pywt", "urllib3", "jinja2"}


def test_version_is_the_one_of_the_package():
    from tixd import __version__

    assert tixd("--version").stdout == f"tixd {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["onec"], "No such command 'onec'"),
        (["--rol", "worker", "once"], "No such option"),
        (["once", "--rol", "worker"], "No such option"),
        (["check-config", "-c", "a"], "-c stands before the command: tixd -c ... check-config"),
        (["once", "-l", "DEBUG"], "-l stands before the command: tixd -l ... once"),
        (["status", "-pprof", "on"], "-pprof stands before the command: tixd -pprof ... status"),
        (["failed", "list", "--role=worker"], "tixd --role ... failed list"),
        (["-l", "info", "-l", "debug"], "-l names two levels: info and debug"),
        (
            ["-l", "verbose"],
            "-l verbose: not a level (DEBUG, INFO, WARNING, ERROR or CRITICAL); for",
        ),
        (["-l", "stderr", "-l", "a.log"], "-l names two destinations: stderr and a.log"),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_two(arguments, message):
    done = tixd(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_configuration_problem_is_one_line_and_the_code_is_two():
    done = tixd(TIX_API_PORT="http", PROCESSOR_TYPE="nobody")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        'tixd: environment PROCESSOR_TYPE = "nobody": must be one of STANDALONE, BEAT, WORKER;'
        " the collector is the option --role collector",
        'tixd: environment TIX_API_PORT = "http": must be a whole number from 0 to 65535',
    ]


def test_a_missing_reports_folder_stops_the_start_with_code_three(tmp_path):
    for words in ([], ["once"]):
        done = tixd(*words, TIX_REPORTS_BASE_PATH=str(tmp_path / "nowhere"))
        assert done.returncode == 3
        assert done.stderr == (
            f"tixd: cannot start: reports folder {tmp_path}/nowhere is not there:"
            " make it, mount it, or correct TIX_REPORTS_BASE_PATH\n"
        )
    done = tixd(TIX_REPORTS_BASE_PATH="/etc/passwd")
    assert done.returncode == 3
    assert "reports folder /etc/passwd is a file, not a folder: correct TIX_" in done.stderr


def test_a_misspelt_reports_folder_is_named_with_its_setting(tmp_path):
    (tmp_path / "file").touch()
    for name, wrong in (
        ("none", "is not there: make it, mount it, or correct"),
        ("file", "is a file, not a folder: correct"),
    ):
        env = {"TIX_REPORTS_BASE_PATH": str(tmp_path / name), "TIX_HISTORY": "off"}
        text = f"reports folder {tmp_path}/{name} {wrong} TIX_REPORTS_BASE_PATH\n"
        done = tixd("installations", **env)
        assert (done.returncode, done.stderr) == (1, f"tixd: there is no history, and {text}")
        done = tixd("why", "1/1", **env)
        assert (done.returncode, done.stderr) == (1, f"tixd: {text}")


def test_a_cycle_that_finds_no_installation_says_where_it_looked(tmp_path):
    done = tixd("once", TIX_REPORTS_BASE_PATH=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith("        0  installations looked at in ")
    assert f": no folder <user>/<installation> in {tmp_path}\n" in done.stdout


def test_a_log_that_cannot_be_opened_is_a_configuration_error(tmp_path):
    done = tixd("-l", str(tmp_path / "missing" / "log"))
    assert done.returncode == 2
    assert done.stderr.startswith("tixd: option -l = ")
    assert "the log cannot be opened" in done.stderr


def test_warnings_go_to_the_log_that_the_options_name(tmp_path):
    log = tmp_path / "log"
    nowhere = str(tmp_path / "nowhere")
    done = tixd("-l", str(log), "-l", "warning", TIX_API_HOTS="x", TIX_REPORTS_BASE_PATH=nowhere)
    assert done.returncode == 3
    assert 'did you mean \\"TIX_API_HOST\\"?' in log.read_text(encoding="utf-8")


def test_journald_gets_priorities_from_parent_and_workers(tmp_path):
    (tmp_path / "base" / "1" / "2").mkdir(parents=True)
    (tmp_path / "base" / "1" / "2" / "notes.txt").touch()
    with (tmp_path / "journal").open("w") as journal:
        facts = os.fstat(journal.fileno())
        variables = {
            "JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}",
            "TIX_REPORTS_BASE_PATH": str(tmp_path / "base"),
            "TIX_API_HOTS": "x",
            "TIX_WORKERS": "1",
        }
        command = [*TIXD, "once"]
        subprocess.run(command, env=bare_environment(**variables), stderr=journal, timeout=60)
    events = [line.split()[0] for line in (tmp_path / "journal").read_text().splitlines()]
    who = ["<6>privileges"] if os.geteuid() == 0 else []
    assert events == [*who, "<4>configuration", "<4>posting_disabled", "<4>file_ignored"]


def test_journald_gets_the_last_words_of_a_start_as_an_error(tmp_path):
    with (tmp_path / "journal").open("w") as journal:
        facts = os.fstat(journal.fileno())
        stream = {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}", "TIX_API_PORT": "eighty"}
        command = TIXD
        subprocess.run(command, env=bare_environment(**stream), stderr=journal, timeout=60)
    assert (tmp_path / "journal").read_text().startswith("<3>tixd: environment TIX_API_PORT")


@pytest.mark.parametrize("given", ["", "/schedule.db", "/celerybeat-schedule"])
def test_the_schedule_dir_may_be_given_as_celery_gave_a_file_in_it(tmp_path, given):
    (tmp_path / "schedule.db").touch()
    done = tixd("-s", f"{tmp_path}{given}", "check-config", "--format", "json")
    shown = json.loads(done.stdout)["settings"]["schedule.dir"]
    assert (shown["value"], shown["source"]) == (str(tmp_path), "option -s")


def test_check_config_shows_values_and_sources_and_no_secret():
    variables = {"TIX_API_USER": "anna", "TIX_API_PASSWORD": "geheim", "TIX_API_SSL": "False"}
    done = tixd("-l", "ERROR", "check-config", **variables)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert "TIX_API_USER api.user anna environment TIX_API_USER" in lines
    assert "TIX_API_PASSWORD api.password *** environment TIX_API_PASSWORD" in lines
    assert "CELERY_LOG_LEVEL log.level ERROR option -l" in lines
    assert "TIX_WORKERS workers 0 processes default" in lines
    assert "posts to https://localhost:443 as user anna" in lines
    assert any(line.startswith("warning: environment TIX_API_SSL") for line in lines)
    assert lines[-1] == "configuration: fine"
    assert "geheim" not in done.stdout + done.stderr


def test_check_config_says_why_nothing_would_be_posted():
    assert "does not post: TIX_API_USER is not set" in tixd("check-config").stdout
    halfway = tixd("check-config", TIX_API_USER="anna").stdout
    assert "does not post: TIX_API_PASSWORD is not set" in halfway
    dispatcher = tixd("check-config", PROCESSOR_TYPE="BEAT", TIX_API_USER="anna").stdout
    assert "\na dispatcher posts nothing: workers do\n" in dispatcher


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, "the page is at http://localhost:8889/, for this host alone"),
        (
            {"TIX_HTTP_ADDRESS": "0.0.0.0:81"},
            "the page is closed at 0.0.0.0:81, but for this host, as is /metrics without"
            " TIX_METRICS_OPEN: set TIX_PAGE_TOKEN to look from elsewhere",
        ),
        (
            {"TIX_HTTP_ADDRESS": "0.0.0.0:81", "TIX_PAGE_TOKEN": "geheim"},
            "the page is at http://0.0.0.0:81/, for those who give TIX_PAGE_TOKEN as password",
        ),
        ({"TIX_HTTP_ADDRESS": "off"}, "does not post: TIX_API_USER is not set"),
    ],
)
def test_check_config_says_where_the_page_is_and_who_may_look(variables, line):
    done = tixd("check-config", **variables)
    assert line in done.stdout
    assert "geheim" not in done.stdout + done.stderr
    assert ("the page" in done.stdout) is (variables.get("TIX_HTTP_ADDRESS") != "off")


def test_check_config_reports_problems_as_json_when_asked(tmp_path):
    missing = str(tmp_path / "tixd.toml")
    done = tixd("-c", missing, "check-config", "--format", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "fine": False,
        "problems": [f"{missing}: cannot be read: No such file or directory"],
    }


@pytest.mark.parametrize(("columns", "has_keys"), [("80", False), ("160", True)])
def test_check_config_fits_its_table_to_the_terminal(columns, has_keys):
    terminal, end = pty.openpty()
    command = [*TIXD, "check-config"]
    variables = bare_environment(COLUMNS=columns, LINES="60", TERM="xterm")
    with subprocess.Popen(command, env=variables, stdout=end) as running:
        os.close(end)
        text = _everything(terminal)
    assert running.returncode == 0
    assert "configuration: fine" in text
    assert ("reports.base_path" in text) is has_keys


def _everything(terminal: int) -> str:
    """What the program writes until it closes its end, which Linux reports as an I/O error."""
    found = b""
    try:
        while more := os.read(terminal, 65536):
            found += more
    except OSError:
        pass
    os.close(terminal)
    return found.decode()
