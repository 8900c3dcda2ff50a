"""tixd as a service of a real systemd, on a Debian of its own, as scripts/install puts it there."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.bundles import form
from tests.support.ledger import Ledger
from tests.support.machine import Machine
from tests.support.program import until
from tests.support.service_host import DROP_IN, INSTALLED, SECONDS, Host, owner, posted
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # the first run makes the tree

#: Where scripts/install puts the program, which is a link.
PROGRAM = "/opt/tixd"

#: An installation that is killed as soon as the program is another one.
KILLED_AT_THE_SWITCH = """
before=$(readlink /opt/tixd)
/root/tixd/scripts/install & install=$!
while [ "$(readlink /opt/tixd)" = "$before" ]; do kill -0 $install || exit; done
kill -KILL $install
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A machine on which scripts/install has run."""
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        host = Host(machine)
        host.installs()
        machine.did("useradd", "--system", "--user-group", "condenser")
        yield host


@pytest.fixture
def host(installed: Host) -> Iterator[Host]:
    """The same, with nothing of other tests."""
    installed.settle()
    yield installed
    installed.settle()


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api."""
    with StandInApi(user="tix", password="secret") as server:
        yield server


def test_folders_that_root_made_are_processed_and_the_status_says_what_is_done(host, api):
    base = host.reports()
    ledger = Ledger(base, api)
    assert "tixd-others.conf: the folders there belong to root" in host.installs()
    host.posts_to(api)
    host.starts()
    until(lambda: api.accepted, SECONDS)
    until(
        lambda: "leading; 0 of 1 worker busy, 0 jobs waiting; last" in host.show("StatusText"), 10
    )
    assert host.did("tixd", "health") == "ready\n"
    assert "1  windows analysed and posted" in host.did("tixd", "status")
    assert owner(host) == "tixd"
    ledger.settled()
    host.systemctl("stop", "tixd")
    assert (host.show("Result"), host.show("ExecMainStatus")) == ("success", "0")


@pytest.mark.parametrize("user", ["root", "condenser", "tixd"])
def test_the_check_tries_with_the_rights_of_the_service(host, api, user):
    host.reports(user=user)
    host.posts_to(api)
    host.installs()
    done = host.run("tixd-check")
    assert (done.returncode, "WRONG" in done.stdout) == (0, False), done.stdout + done.stderr
    host.did("chmod", "0000", "/tmp/reports")
    assert host.run("tixd-check").returncode == (0 if user == "root" else 1)


def test_the_check_is_made_in_the_sandbox_of_the_service_and_disturbs_none_that_runs(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    host.starts()
    assert host.run("tixd-check").returncode == 0
    assert host.did("tixd", "health") == "ready\n"
    host.reports(user="tixd", folder="/srv/tix/reports")
    host.posts_to(api, TIX_REPORTS_BASE_PATH="/srv/tix/reports")
    done = host.run("tixd-check")
    assert (done.returncode, "Read-only" in done.stdout) == (1, True), done.stdout + done.stderr
    host.sets("standalone", TIX_REPORTS_BASE_PATH="/tmp/reports")
    done = host.run("tixd-check", "standalone")
    assert (done.returncode, "WRONG" in done.stdout) == (0, False), done.stdout + done.stderr
    assert host.run("tixd-check", "--help").returncode == 2


def test_folders_of_another_user_are_processed_as_that_user(host, api):
    host.reports(user="condenser")
    assert "tixd-user.conf: the folders there belong to condenser" in host.installs()
    host.posts_to(api)
    host.starts()
    until(lambda: api.accepted, SECONDS)
    assert owner(host) == "condenser"
    assert host.did("stat", "-c", "%U", "/tmp/reports/1/2/.tixd.lock") == "condenser\n"
    status = host.path(f"/proc/{host.show('MainPID')}/status").read_text()
    tixd = host.did("getent", "group", "tixd").split(":")[2]
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert tixd in groups.split(), "it could not read what is given to the group tixd"
    assert host.run("systemctl", "start", "tixd-asn").returncode != 0  # here is no curl
    assert host.did("stat", "-c", "%U", "/var/lib/tixd") == "condenser\n"


def test_an_upgrade_while_the_volume_is_away_leaves_whose_the_reports_are(host):
    host.reports(user="condenser")
    host.installs()
    host.did("rm", "-r", "/tmp/reports")
    assert "is not there yet" in host.installs()
    host.did("mkdir", "/tmp/reports")
    assert "is not there yet" in host.installs()
    assert {host.show("User", unit) for unit in ("tixd", "tixd@a", "tixd-asn")} == {"condenser"}
    host.did("chown", "tixd:", "/tmp/reports")
    host.installs()
    assert {host.show("User", unit) for unit in ("tixd", "tixd@a", "tixd-asn")} == {"tixd"}


def test_folders_of_a_user_without_a_name_here_are_processed_whatever_lies_beside_them(host, api):
    host.reports(user="4321")
    host.did("chown", "root:", "/tmp/reports")
    host.did("chmod", "0755", "/tmp/reports")
    host.did("mkdir", "-p", "/tmp/reports/lost+found/7")
    assert "tixd-others.conf: the folders there belong to 4321\n" in host.installs()
    host.posts_to(api)
    host.starts()
    until(lambda: api.accepted, SECONDS)
    assert owner(host) == "tixd"


@pytest.mark.parametrize("folder", ["/srv/tix/reports", "/home/tix/reports"])
def test_reports_elsewhere_are_reached_by_their_drop_in_although_they_come_late(host, api, folder):
    host.posts_to(api, TIX_REPORTS_BASE_PATH=folder)
    host.installs(folder)
    host.begun = time.time()
    assert host.run("systemctl", "start", "tixd").returncode != 0
    assert f"reports folder {folder} is not there" in host.journal()
    host.reports(user="tixd", folder=folder)
    until(lambda: api.accepted, SECONDS)
    host.systemctl("stop", "tixd")
    host.did("rm", "-r", folder)
    host.installs("/tmp/reports")


def test_a_reports_folder_that_comes_late_is_found_without_help(host, api):
    host.posts_to(api)
    host.run("systemctl", "start", "tixd")
    until(lambda: int(host.show("NRestarts")) >= 2, SECONDS)
    host.reports(user="tixd")
    until(lambda: api.accepted, SECONDS)
    assert host.show("ActiveState") == "active"


def test_a_wrong_configuration_is_tried_once(host):
    host.sets(TIX_WORKERS="many")
    host.begun = time.time()
    assert host.run("systemctl", "start", "tixd").returncode != 0
    until(lambda: host.show("ActiveState") == "failed", 20)
    assert (host.show("NRestarts"), host.show("ExecMainStatus")) == ("0", "2")
    assert "TIX_WORKERS" in host.journal()


def test_a_loop_that_hangs_is_ended_by_the_watchdog_and_begins_anew(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    host.path(DROP_IN).parent.mkdir(parents=True, exist_ok=True)
    host.path(DROP_IN).write_text("[Service]\nWatchdogSec=5\nTimeoutAbortSec=2\n")
    host.systemctl("daemon-reload")
    host.starts()
    before = host.show("MainPID")
    host.systemctl("kill", "--kill-whom=main", "--signal=SIGSTOP", "tixd")
    until(lambda: host.show("MainPID") not in (before, "0"), SECONDS)
    until(lambda: host.show("ActiveState") == "active", SECONDS)
    assert "Watchdog timeout" in host.did("journalctl", "--no-pager", "--unit=tixd")


@pytest.mark.parametrize("whom", ["main", "all"])
def test_after_kill_9_it_begins_anew_and_nothing_is_lost(host, api, whom):
    base = host.reports(user="tixd", reports=64)
    ledger = Ledger(base, api)
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.01))
    host.posts_to(api)
    host.starts()
    until(lambda: len(api.posts) >= 2, SECONDS)
    host.systemctl("kill", f"--kill-whom={whom}", "--signal=SIGKILL", "tixd")
    ledger.balance()
    until(lambda: host.show("NRestarts") == "1", SECONDS)
    host.systemctl("stop", "tixd")
    host.did("sh", "-c", "rm -f /var/lib/tixd/tixd-schedule.json")
    host.starts()
    until(lambda: len(ledger.expected) <= len(api.accepted), SECONDS)
    until(lambda: "0 of 1 worker busy" in host.show("StatusText"), SECONDS)
    ledger.settled()
    assert ledger.duplicates <= 1


def test_a_stop_waits_for_the_window_in_hand_and_says_so(host, api):
    base = host.reports(user="tixd", reports=64)
    ledger = Ledger(base, api)
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.05))
    host.posts_to(api)
    host.starts()
    until(lambda: api.posts, SECONDS)
    host.systemctl("--no-block", "stop", "tixd")
    until(lambda: host.show("StatusText") == "stopping: 1 window in progress", 10)
    until(lambda: host.show("ActiveState") == "inactive", 40)
    assert (host.show("Result"), host.show("ExecMainStatus")) == ("success", "0")
    ledger.balance()
    assert ledger.duplicates == 0


def renews(host: Host, *words: str) -> None:
    """Have secrets read again by this; the new workers are ready then: no start is cut short."""
    before, said = workers(host), host.journal().count("secrets_reloaded")
    host.systemctl(*words, "tixd")
    until(lambda: host.journal().count("secrets_reloaded") == said + 1)
    until(lambda: len(now := workers(host)) == len(before) and not now & before)


def workers(host: Host) -> set[str]:
    """Process ids of the workers that are ready."""
    return set(re.findall(r"^  worker +(\d+) (?!starting)", host.did("tixd", "status"), re.M))


def test_signals_to_the_whole_unit_reopen_logs_and_toggle_debug_and_kill_nobody(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    host.starts()
    tasks = host.did("systemctl", "show", "--property=TasksCurrent", "tixd")
    host.systemctl("kill", "--signal=SIGUSR2", "tixd")
    until(lambda: host.journal().count("debug_toggled on=True") == 1, 20)
    host.systemctl("kill", "--signal=SIGUSR1", "tixd")
    host.systemctl("kill", "--signal=SIGUSR2", "tixd")
    until(lambda: host.journal().count("debug_toggled on=False") == 1, 20)
    assert host.did("systemctl", "show", "--property=TasksCurrent", "tixd") == tasks
    renews(host, "reload")
    renews(host, "kill", "--signal=SIGHUP")
    assert (host.show("NRestarts"), host.show("ActiveState")) == ("0", "active")
    host.systemctl("kill", "tixd")
    until(lambda: host.show("ActiveState") == "inactive", 40)
    assert ("worker_ended" in host.journal(), host.show("ExecMainStatus")) == (False, "0")


def test_lines_have_their_priority_in_the_journal(host, api):
    host.reports(user="tixd")
    host.posts_to(api, TIX_API_PASWORD="x")
    host.starts()
    until(lambda: "started role=" in host.journal(), 20)
    since = f"--since=@{host.begun:.6f}"
    lines = host.did("journalctl", "--unit=tixd", "-o", "json", since).splitlines()
    found = {line["MESSAGE"].split()[0]: line["PRIORITY"] for line in map(json.loads, lines)}
    assert (found["configuration"], found["started"]) == ("4", "6")


@pytest.mark.parametrize(("unit", "user"), [("tixd", "tixd"), ("tixd@standalone", "condenser")])
def test_a_log_file_is_rotated_and_goes_on_in_a_new_one(host, api, unit, user):
    folder = f"/var/log/{unit.replace('@', '-')}"
    host.reports(user=user)
    host.installs()
    host.posts_to(api, TIX_LOG_FILE=f"{folder}/tixd.log")
    host.starts(unit)
    log = host.path(f"{folder}/tixd.log")
    until(lambda: log.exists() and " running " in log.read_text(), 20)
    assert host.run("logrotate", "-d", "/etc/logrotate.d/tixd").returncode == 0
    assert host.did("logrotate", "-f", "/etc/logrotate.d/tixd") == ""
    host.systemctl("reload", unit)
    until(lambda: log.exists() and " secrets_reloaded" in log.read_text(), 20)
    assert " running " in host.path(f"{folder}/tixd.log.1").read_text()
    host.did("chmod", "0550", folder)
    assert host.run("logrotate", "-f", "/etc/logrotate.d/tixd").returncode == 1, "root did it"
    host.did("chmod", "0750", folder)


def test_a_dispatcher_and_a_worker_work_as_instances(host, api, broker):
    base = host.reports(user="tixd", reports=64)
    ledger = Ledger(base, api)
    host.posts_to(api, TIX_RABBITMQ_HOST="127.0.0.1", TIX_RABBITMQ_PORT=str(broker.port))
    host.starts("tixd@worker", "tixd@dispatcher")
    until(lambda: len(api.accepted) == len(ledger.expected), SECONDS)
    until(lambda: host.run("tixd", "health").stdout == "ready\n", SECONDS)
    status = host.did("tixd", "status")
    assert "worker, pid" in status
    assert "dispatcher, pid" in status
    assert host.did("tixd", "failed", "list") == "nothing is kept, nothing was rejected\n"
    until(lambda: host.show("StatusText", "tixd@worker").startswith("working; "), 20)
    host.systemctl("stop", "tixd@worker", "tixd@dispatcher")
    assert {host.show("Result", f"tixd@{role}") for role in ("worker", "dispatcher")} == {"success"}
    ledger.settled()


def test_a_collector_works_as_an_instance_and_by_the_environment(host):
    host.sets()
    port = closed_port()
    records = "/var/lib/tixd-collector/records"
    output = f'[collector.AMQP]\nenable = false\n[collector.file]\npath = "{records}"\n'
    host.path("/etc/tixd/gracc.toml").write_text(
        f'[collector]\naddress = "127.0.0.1"\nport = "{port}"\n{output}'
    )
    host.sets("collector", TIXD_OPTIONS="--role collector -c /etc/tixd/gracc.toml")
    host.starts("tixd@collector")
    assert posted(port, form(range(3))) == 200
    collecting = "collecting; 3 records, 0 requests in progress"
    until(lambda: host.show("StatusText", "tixd@collector") == collecting, 20)
    assert "collector, pid" in host.did("tixd", "status")
    host.systemctl("stop", "tixd@collector")
    assert host.show("Result", "tixd@collector") == "success"


def taken(port: int) -> int:
    """How many records the collector with this admin address has taken."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=30) as answer:
        return int(json.load(answer)["Records"])


def test_two_instances_of_the_collector_share_a_port(host):
    port, own = closed_port(), {number: closed_port() for number in (1, 2)}
    address = {"GRACC_ADDRESS": "127.0.0.1", "GRACC_PORT": str(port), "GRACC_REUSEPORT": "true"}
    host.sets(GRACC_AMQP_ENABLE="false", **address)
    for number, admin in own.items():
        records = f"/var/lib/tixd-collector-{number}/records"
        admin_address = f"127.0.0.1:{admin}"
        name = f"collector-{number}"
        host.sets(name, GRACC_ADMINADDRESS=admin_address, GRACC_FILE_PATH=records)
    host.starts("tixd@collector-1", "tixd@collector-2")
    assert {posted(port, form([number])) for number in range(40)} == {200}
    counts = [taken(admin) for admin in own.values()]
    assert (min(counts) > 0, sum(counts)) == (True, 40)
    assert host.did("tixd", "status").count("collector, pid") == 2
    host.systemctl("stop", "tixd@collector-1")
    assert {posted(port, form([number])) for number in range(10)} == {200}
    host.systemctl("stop", "tixd@collector-2")
    assert host.show("Result", "tixd@collector-2") == "success"


def test_the_collector_alone_is_installed_and_run_as_tixd_service(host):
    port = closed_port()
    output = {"GRACC_AMQP_ENABLE": "false", "GRACC_FILE_PATH": "/var/lib/tixd/records"}
    address = {"GRACC_ADDRESS": "127.0.0.1", "GRACC_PORT": str(port)}
    host.sets(TIXD_OPTIONS="--role collector", **output, **address)
    host.starts()
    until(lambda: host.show("StatusText").startswith("collecting; 0 records"), 20)
    assert host.show("ActiveState") == "active"


def test_a_second_installation_upgrades_a_running_service_and_keeps_the_settings(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    settings = host.path("/etc/tixd/tixd.env").read_text()
    host.starts()
    before = host.show("MainPID")
    assert host.installs().endswith("; restarted: tixd.service\n")
    assert host.path("/etc/tixd/tixd.env").read_text() == settings
    assert host.show("ActiveState") == "active"
    assert host.show("MainPID") != before
    assert host.did("ls", "/opt").split() == ["tixd", host.did("readlink", PROGRAM).strip()[5:]]


def test_the_program_of_an_older_script_is_upgraded_too(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    host.did("rm", "-rf", PROGRAM, f"{PROGRAM}-a", f"{PROGRAM}-b")
    host.did(
        "sh", "-c", f"python3 -m venv {PROGRAM}; {PROGRAM}/bin/pip install -q /root/wheels/click*"
    )
    host.installs()
    assert host.did("ls", "/opt").split() == ["tixd", "tixd-a"]
    assert host.did("head", "-1", f"{PROGRAM}/bin/tixd").startswith("#!/opt/tixd-a/")
    host.starts()
    until(lambda: api.accepted, SECONDS)


def test_what_an_upgrade_that_was_killed_left_running_is_no_place_for_the_next(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    host.starts()
    before, pid = host.did("readlink", PROGRAM).strip(), host.show("MainPID")
    host.did("sh", "-c", KILLED_AT_THE_SWITCH, seconds=280)
    assert host.did("readlink", PROGRAM).strip() != before, "switched"
    assert host.show("MainPID") == pid, "and not restarted"
    said = host.installs()
    assert "an installation was cut short" in said
    assert said.index("cut short") < said.index(f"installing the program in {before}")
    assert host.show("MainPID") != pid
    assert [host.show("ActiveState"), host.show("NRestarts")] == ["active", "0"]
    assert host.did("ls", "/opt").split() == ["tixd", before[5:]]


def test_an_upgrade_that_fails_leaves_the_program_as_it_was(host):
    before = host.did("readlink", PROGRAM)
    done = host.run("/root/tixd/scripts/install", PIP_FIND_LINKS="/nowhere", seconds=280)
    assert done.returncode != 0
    assert host.did("readlink", PROGRAM) == before
    assert host.did("ls", "/opt").split() == ["tixd", before.strip()[5:]]
    assert host.did("tixd", "--version").startswith("tixd")


def test_an_upgrade_says_which_service_does_not_start_any_more(host, api):
    host.reports(user="tixd")
    host.posts_to(api)
    host.sets("standalone", TIX_HTTP_ADDRESS="off")
    host.starts("tixd", "tixd@standalone")
    host.sets("standalone", TIX_WORKERS="many")
    done = host.run("/root/tixd/scripts/install", seconds=280)
    assert done.returncode == 1
    assert "install: installed, but tixd@standalone.service failed to start" in done.stderr
    assert host.show("ActiveState") == "active"


@pytest.mark.parametrize(
    "odd", ["reports", "/", "/srv/a|b", "/srv/a&b", "/srv/a b", "/a:b", "/a%b"]
)
def test_a_reports_folder_with_an_odd_name_is_refused_before_anything_is_changed(host, odd):
    before = host.did("readlink", PROGRAM)
    host.sets(TIX_REPORTS_BASE_PATH=odd)
    for words in [()] if odd == "reports" else [(odd,), ()]:
        done = host.run("/root/tixd/scripts/install", *words)
        assert (done.returncode, "give a whole path" in done.stderr) == (1, True)
    assert host.run("/root/tixd/scripts/install", "/tmp/reports", odd).returncode == 2
    assert host.did("readlink", PROGRAM) == before


def test_a_reports_folder_may_be_set_in_quotes_and_with_a_slash(host):
    host.sets(TIX_REPORTS_BASE_PATH='"/tmp/reports/"')
    assert "note:" not in host.installs()
    host.sets(TIX_REPORTS_BASE_PATH="'/srv/tix/'")
    assert "tixd-reports.conf: reports lie in /srv/tix\n" in host.installs()
    assert "-/srv/tix:/srv/tix:" in host.show("BindPaths")
    assert "note: in /etc/tixd/tixd.env, set TIX_REPORTS_BASE_PATH=/tmp/reports" in host.installs(
        "/tmp/reports/"
    )
    assert not host.path(f"{INSTALLED}.service.d/tixd-reports.conf").exists()


def test_what_was_installed_can_be_removed_and_had_again(host):
    host.path("/var/lib/tixd/kept").touch()
    host.systemctl("enable", "tixd", "tixd@worker")
    host.installs("--remove")
    left = host.did(
        "sh", "-c", "find / -xdev -name '*tixd*' -not -path '/root/*' -not -path '/proc/*'"
    )
    data = ("/etc/tixd", "/var/lib/tixd", "/var/log/tixd")
    assert [path for path in left.splitlines() if not path.startswith(data)] == []
    assert host.path("/etc/tixd/tixd.env").exists()
    assert host.path("/var/lib/tixd/kept").exists()
    host.installs()
    assert os.path.basename(host.did("readlink", "/usr/local/bin/tixd").strip()) == "tixd"
