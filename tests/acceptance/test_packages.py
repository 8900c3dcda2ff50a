"""The one file and the packages, on Debians that have no Python.

They are built once, or taken from the folder that $TIXD_TEST_PACKAGES names.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import machine, made, packaging, service
from tests.support.bundles import form
from tests.support.collector import configuration
from tests.support.direct import bound_queue, identities, to_broker
from tests.support.kafka import NoidaDb, each_body, to_kafka
from tests.support.ledger import Ledger
from tests.support.machine import Machine
from tests.support.program import ROOT, environment, until
from tests.support.service_host import INSTALLED, SECONDS, Host, owner, posted
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tixd import __version__

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # the first run builds, and makes trees

#: Where machines find what was built.
PACKAGES = "/root/packages"

#: The first commit with scripts/install, of version 0.1.0: its /opt/tixd is no link.
FIRST_INSTALL = "c41c5d1ff77351080c845be75e6f8a4b86ad286a"

#: Where a package has the program in use: a link to one of two folders.
PROGRAM = "/usr/lib/tixd/current"

#: Debian's tools, without a question.
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-qq", "--no-install-recommends")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what scripts/packages/build makes."""
    if ready := os.environ.get("TIXD_TEST_PACKAGES"):
        return Path(ready)
    out = tmp_path_factory.mktemp("packages")
    packaging.build(tmp_path_factory.mktemp("source"), out)
    return out


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def bare(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, packages: Path
) -> Iterator[Host]:
    """A machine without Python, on which the .deb is installed."""
    shared = {packages: PACKAGES}
    folder = tmp_path_factory.mktemp("machine")
    with Machine(folder, packages=machine.BARE, suite=request.param, shared=shared) as booted:
        assert booted.run("sh", "-c", "command -v python3").returncode != 0
        installs_deb(booted)
        booted.did("useradd", "--system", "--user-group", "condenser")
        yield Host(booted)


def installs_deb(booted: Machine) -> str:
    """What apt says of the .deb."""
    return booted.did("sh", "-c", f"{' '.join(APT)} --reinstall install {PACKAGES}/tixd_*.deb")


@pytest.fixture
def host(bare: Host) -> Iterator[Host]:
    """The same, with nothing of other tests."""
    bare.settle()
    yield bare
    bare.settle()


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api."""
    with StandInApi(user="tix", password="secret") as server:
        yield server


def fits(host: Host) -> None:
    """Have the service fitted to the reports that are there."""
    host.did("tixd-setup")


def scans_anew(host: Host) -> None:
    """Start the service once more, as if its last cycle were long ago."""
    host.systemctl("stop", "tixd")
    host.did("rm", "-f", "/var/lib/tixd/tixd-schedule.json")
    host.starts()


def test_a_cycle_is_posted_by_the_service(host, api):
    ledger = Ledger(host.reports(user="condenser"), api)
    fits(host)
    host.posts_to(api)
    assert "WRONG" not in host.did("tixd-check")
    host.systemctl("enable", "--now", "tixd")
    until(lambda: api.accepted, SECONDS)
    assert owner(host) == "condenser"
    assert host.did("tixd", "health") == "ready\n"
    ledger.settled()
    host.systemctl("disable", "--now", "tixd")
    assert (host.show("Result"), host.show("ExecMainStatus")) == ("success", "0")


def test_manual_pages_completion_and_what_is_inside_come_along(host):
    for name in ("man1/tixd.1.gz", "man7/tixd-troubleshooting.7.gz", "man7/tixd-settings.7.gz"):
        assert host.path(f"/usr/share/man/{name}").exists()
    assert "_TIXD_COMPLETE" in host.path("/usr/share/bash-completion/completions/tixd").read_text()
    for name in ("copyright", "licences.txt.gz", "sbom.cdx.json.gz"):
        assert host.path(f"/usr/share/doc/tixd/{name}").exists()


def test_scripts_install_would_hide_the_package_and_refuses(host):
    refused = host.run("/root/tixd/scripts/install")
    assert refused.returncode == 1
    assert "tixd is here as a package" in refused.stderr


def test_a_dispatcher_and_a_worker_share_the_work_over_rabbitmq(host, api, broker):
    ledger = Ledger(host.reports(user="tixd", reports=64), api)
    host.posts_to(api, TIX_RABBITMQ_HOST="127.0.0.1", TIX_RABBITMQ_PORT=str(broker.port))
    host.starts("tixd@worker", "tixd@dispatcher")
    until(lambda: len(api.accepted) == len(ledger.expected), SECONDS)
    host.systemctl("stop", "tixd@worker", "tixd@dispatcher")
    ledger.settled()


def test_the_collector_publishes_to_rabbitmq_and_to_kafka(host, broker, tmp_path):
    port = closed_port()
    direct = bound_queue(broker)
    with NoidaDb(tmp_path) as kafka:
        outputs = to_kafka(kafka.address, **to_broker(broker.port))
        host.path("/etc/tixd/gracc.toml").write_text(configuration(port, outputs))
        host.sets("collector", TIXD_OPTIONS="--role collector -c /etc/tixd/gracc.toml")
        host.starts("tixd@collector")
        until(lambda: host.run("tixd", "health").stdout == "ready\n", SECONDS)
        assert posted(port, form(range(3))) == 200
        assert (len(identities(direct)), len(list(each_body(kafka.address)))) == (3, 3)
    host.systemctl("stop", "tixd@collector")


@pytest.fixture
def busy(host: Host, api: StandInApi) -> Ledger:
    """The ledger of a service that has long to do."""
    ledger = Ledger(host.reports(user="tixd", reports=64), api)
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.01))
    host.posts_to(api)
    host.starts()
    until(lambda: len(api.posts) >= 2, SECONDS)
    return ledger


def test_what_runs_keeps_its_program_until_the_new_one_is_there(host, busy):
    before = host.show("MainPID")
    host.did("sh", "-c", f"dpkg --unpack {PACKAGES}/tixd_*.deb")
    assert host.show("MainPID") == before
    worker = host.did("pgrep", "-P", before, "-f", "spawn|fork").split()[-1]
    host.did("kill", "-KILL", worker)
    until(lambda: f"worker_ended worker={worker}" in host.journal(), SECONDS)
    until(lambda: host.run("tixd", "health").stdout == "ready\n", SECONDS)
    assert "restarted: tixd.service" in host.did("dpkg", "--configure", "tixd")
    assert host.show("MainPID") != before


def test_an_upgrade_restarts_what_runs_and_loses_nothing(host, api, busy):
    old, settings = host.did("readlink", PROGRAM), host.path("/etc/tixd/tixd.env").read_text()
    installs_deb(host.machine)
    assert host.did("readlink", PROGRAM) != old
    assert not host.path(old.strip()).exists()
    assert host.path("/etc/tixd/tixd.env").read_text() == settings
    scans_anew(host)
    until(lambda: len(busy.expected) <= len(api.accepted), SECONDS)
    busy.settled()


def test_what_was_removed_leaves_settings_and_data_until_it_is_purged(host):
    host.path("/var/lib/tixd").mkdir(exist_ok=True)
    host.path("/var/lib/tixd/records").touch()
    host.systemctl("enable", "tixd", "tixd@worker")
    host.did(*APT, "remove", "tixd")
    left = host.did("sh", "-c", "find / -xdev -name '*tixd*' -not -path '/root/*'").split()
    kept = ("/etc/tixd", "/var/lib/tixd", "/var/log/tixd", "/var/lib/dpkg", "/proc")
    assert [path for path in left if not path.startswith(kept)] == []
    assert host.path("/etc/tixd/tixd.env").exists()
    assert "/var/lib/tixd" in host.did(*APT, "purge", "tixd"), "it may be the only copy"
    assert not host.path("/etc/tixd").exists()
    assert host.path("/var/lib/tixd/records").exists()
    installs_deb(host.machine)
    assert host.did("tixd", "--version") == f"tixd {__version__}\n"


@pytest.fixture(
    params=[("bookworm", None), ("bookworm", FIRST_INSTALL), ("trixie", FIRST_INSTALL)],
    ids=["bookworm-now", "bookworm-first", "trixie-first"],
)
def script_host(request: pytest.FixtureRequest, tmp_path: Path, packages: Path) -> Iterator[Host]:
    """A machine with Python, on which scripts/install has run."""
    suite, commit = request.param
    checkout = packaging.of_commit(commit, tmp_path / "checkout") if commit else ROOT
    with Machine(tmp_path, suite=suite, shared={packages: PACKAGES}, checkout=checkout) as booted:
        host = Host(booted)
        host.installs()
        host.begun = 0.0
        yield host


def test_what_scripts_install_has_installed_becomes_the_package(script_host, api):
    host = script_host
    host.did("install", "-d", "-o", "tixd", "/tmp/reports")
    host.posts_to(api)
    settings = host.path("/etc/tixd/tixd.env").read_text()
    host.systemctl("enable", "--now", "tixd", "tixd-asn.timer")
    assert "restarted: tixd.service" in installs_deb(host.machine)
    assert host.did("readlink", f"/proc/{host.show('MainPID')}/exe").startswith(PROGRAM)
    assert host.did("systemctl", "is-enabled", "tixd", "tixd-asn.timer") == "enabled\n" * 2
    assert host.path("/etc/tixd/tixd.env").read_text() == settings
    gone = ("/opt/tixd", "/opt/tixd-a", "/usr/local/bin/tixd", f"{INSTALLED}.service")
    assert [path for path in gone if host.path(path).exists()] == []
    ledger = Ledger(host.reports(user="tixd"), api)
    scans_anew(host)
    until(lambda: api.accepted, SECONDS)
    ledger.settled()


#: What a host with rpm has, on a Debian whose own packages rpm does not know.
STAND_IN_SPEC = """
Name: stand-in
Version: 1
Release: 1
Summary: What the .rpm requires
License: none
BuildArch: noarch
Provides: glibc = 2.99, bash, /bin/bash, coreutils, findutils, grep, sed, shadow-utils, util-linux
Provides: systemd, ca-certificates, logrotate
%description
%files
"""


@pytest.fixture
def rpm_host(tmp_path: Path, packages: Path) -> Iterator[Host]:
    """A machine of Debian that has dnf besides, and what the .rpm requires."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "stand-in.spec").write_text(STAND_IN_SPEC)
    defines = [f"--define=_{name} {folder}" for name in ("topdir", "rpmdir", "dbpath")]
    build = ["rpmbuild", "-bb", *defines, folder / "stand-in.spec"]
    subprocess.run(build, check=True, capture_output=True)
    shared = {packages: PACKAGES, folder / "noarch": "/root/stand-in"}
    with Machine(tmp_path, packages=f"{machine.BARE} rpm dnf", shared=shared) as booted:
        booted.did("sh", "-c", "rpm -i /root/stand-in/*.rpm")
        yield Host(booted)


def test_the_rpm_is_installed_upgraded_and_removed_with_dnf(rpm_host):
    host, port = rpm_host, closed_port()

    def dnf(*words: str) -> str:
        return host.did("sh", "-c", f"dnf -y --disablerepo='*' {' '.join(words)} 2>&1")

    dnf("install", f"{PACKAGES}/tixd-*.rpm")
    host.sets("collector", TIXD_OPTIONS="--role collector", GRACC_PORT=str(port))
    host.sets(GRACC_AMQP_ENABLE="false", GRACC_FILE_PATH="/var/lib/tixd-collector/records")
    host.starts("tixd@collector")
    assert posted(port, form(range(3))) == 200
    said = dnf("reinstall", f"{PACKAGES}/tixd-*.rpm")
    assert "restarted: tixd@collector.service" in said
    assert posted(port, form(range(3))) == 200
    assert len(host.path("/var/lib/tixd-collector/records").read_text().splitlines()) == 6
    assert "removed" in dnf("remove", "tixd")
    assert host.path("/etc/tixd/tixd.env").exists()
    assert host.show("ActiveState", "tixd@collector") == "inactive"
    assert not host.path("/usr/lib/tixd").exists()


def test_what_the_rpm_requires_is_asked_for(rpm_host):
    host = rpm_host
    host.did("rpm", "-e", "stand-in")
    refused = host.run("sh", "-c", f"rpm -i {PACKAGES}/tixd-*.rpm")
    assert refused.returncode != 0
    assert {"glibc", "systemd", "bash"} <= set(refused.stderr.split())
    assert not host.path("/usr/lib/tixd").exists()


def test_two_builds_give_the_same_bytes(packages, tmp_path):
    [wheel], [deb] = packages.glob("*.whl"), packages.glob("*.deb")
    epoch = deb.read_bytes()[24:36].decode()  # the time of its first member; see ar(5)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch.strip()}
    subprocess.run([packaging.BUILD, wheel, tmp_path], env=environment, check=True)
    for path in tmp_path.iterdir():
        assert filecmp.cmp(path, packages / path.name, shallow=False), path.name


@pytest.fixture
def one_file(packages: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the one file as a user with this home, after a command of the shell."""
    file = packaging.one_file(packages)

    def run(*words: str, before: str = ":", **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}
        script = f'mount --bind {file.parent} /mnt\n{before}\nexec "$0" "$@"'
        command = ["unshare", "-m", "sh", "-c", script, f"/mnt/{file.name}", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

    return run


#: Where root's one file unpacks itself.
PLACE = "/var/cache/tixd/programs"

#: Mounts over the places where root's one file could be unpacked.
NOWHERE = "; ".join(
    f"mount -t tmpfs -o noexec none {place}"
    for place in ("/var/cache", "/tmp", "/var/tmp", "/run", "/dev/shm")
)


def test_a_host_without_a_folder_for_programs_gets_one_line_that_says_what_to_set(one_file):
    done = one_file("--version", before=NOWHERE)
    assert (done.returncode, done.stdout) == (3, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("tixd: no folder can hold the program")
    assert "set TMPDIR" in line


def test_a_folder_that_is_named_is_used_where_no_other_can_be(one_file, tmp_path):
    place = ROOT / f".unpacked-{os.getpid()}"
    try:
        place.mkdir()
        done = one_file("--version", before=NOWHERE, TMPDIR=str(place))
        assert (done.stdout, done.stderr) == (f"tixd {__version__}\n", "")
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def test_a_leftover_of_a_start_that_was_killed_is_removed(one_file):
    left = f"mount -t tmpfs none /var/cache; mkdir -p {PLACE}/new-1 {PLACE}/tixd-0.0.1"
    held = f"exec 7<{PLACE}/tixd-0.0.1; flock -s 7"
    listing = f'"$0" "$@"; ls {PLACE} >&2; exit'
    first = one_file("--version", before=f"{left}; {listing}")
    assert (first.returncode, len(first.stderr.split())) == (0, 1)
    second = one_file("--version", before=f"{left}; {held}; {listing}")
    assert [name for name in second.stderr.split() if name == "tixd-0.0.1"], "it is in use"


def test_started_by_root_it_becomes_the_owner_of_the_reports(one_file, api, tmp_path):
    base = made.installation(tmp_path / "reports", 1_700_000_000, 19).parents[1]
    subprocess.run(["chown", "-R", "4321", base], check=True)
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    done = one_file("-c", "/dev/null", "once", **environment(base, api.port))
    assert (done.returncode, len(api.accepted)) == (0, 1), done.stderr
    assert "uid 4321" in done.stderr


#: An empty place, for nothing of it is left elsewhere.
EMPTY = "mount -t tmpfs none /var/cache; mount -t tmpfs none /tmp"

#: What is there of the program afterwards; PyInstaller's own one file would leave _MEI folders.
LISTING = f"ls -d {PLACE}/* /tmp/tixd-programs* /tmp/_MEI* /var/tmp/_MEI* 2>/dev/null; exit"


def test_20_starts_and_kills_leave_one_folder(one_file):
    start = '"$0" -c /dev/null --role dispatcher 2>/dev/null & sleep $n; kill -KILL $!; wait $!'
    # Five in the midst of unpacking; then of a dispatcher that starts, or runs.
    unpacking = f"for n in $(seq 0 0.1 0.4); do {start}; done 2>/dev/null"
    running = f"for n in $(seq 0.1 0.15 2.3); do {start}; done 2>/dev/null"
    done = one_file(before=f'{EMPTY}; {unpacking}; "$0" --version; {running}; {LISTING}')
    version, *left = done.stdout.splitlines()
    assert version == f"tixd {__version__}"
    assert [Path(path).name.rpartition("-")[0] for path in left] == [f"tixd-{__version__}"], left


def test_several_first_starts_at_once_share_one_folder(one_file):
    starts = 'for n in $(seq 6); do "$0" --version & done; wait'
    done = one_file(before=f"{EMPTY}; {starts}; {LISTING}")
    assert done.stderr == ""
    *versions, left = done.stdout.splitlines()
    assert versions == [f"tixd {__version__}"] * 6
    assert left.startswith(f"{PLACE}/tixd-{__version__}-")


#: A service with two workers; prints its program, kills it, and waits for the end of its workers.
KILLED_SERVICE = """
export RUNTIME_DIRECTORY=/tmp/run TIX_WORKERS=2 TIX_HTTP_ADDRESS=off
mkdir /tmp/run /tmp/reports
"$0" -c /dev/null --role standalone 2>/dev/null & parent=$!
until "$0" -c /dev/null health; do sleep 0.1; done >/dev/null 2>&1
workers=$(pgrep -P $parent); readlink /proc/$parent/exe
kill -KILL $parent; wait $parent
for worker in $workers; do while [ -e /proc/$worker ]; do sleep 0.1; done; echo $worker; done
"""


def test_it_is_one_process_with_workers_of_which_none_outlives_it(one_file):
    done = one_file(before=f"{EMPTY}{KILLED_SERVICE}{LISTING}")
    program, *left = done.stdout.splitlines()
    assert program.endswith("/tixd"), "not a parent of PyInstaller's that only waits"
    assert [path for path in left if "tixd-" in path] == [str(Path(program).parent)]


def test_the_page_comes_with_its_styles(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "TIXD", (packaging.one_file(packages), "-c", os.devnull))
    (tmp_path / "base").mkdir()
    with service.Service(tmp_path / "base", tmp_path, closed_port()) as running:
        until(lambda: running.get("/healthz")[0] == 200)
        for path in ("/", "/words", "/static/page.css", "/static/page.js"):
            assert running.get(path)[0] == 200
        assert running.ends()[0] == 0


#: What another user has put where root's one file looks for itself.
PLANTED = r"""
mount -t tmpfs -o noexec none /var/cache; mount -t tmpfs none /tmp; chmod 1777 /tmp
name=$(sed -n 's/^name=\([^ ]*\) .*/\1/p' "$0"); evil=/tmp/$1/$name; shift
mkdir -p "$evil"; printf '#!/bin/sh\necho planted\n' >"$evil/tixd"; chmod 755 "$evil/tixd"
chown -R 4321:4321 "${evil%/*}"
"""


@pytest.mark.parametrize("place", ["tixd-programs-0", "elsewhere"])
def test_a_folder_that_another_user_has_put_there_is_not_used(one_file, place):
    link = "ln -s elsewhere /tmp/tixd-programs-0 2>/dev/null; chown -h 4321 /tmp/tixd-programs-0"
    done = one_file(place, "--version", before=f"{PLANTED}{link}")
    assert (done.returncode, done.stdout) == (0, f"tixd {__version__}\n"), done.stderr


def test_the_demo_runs_with_the_one_file(packages, tmp_path):
    file = packaging.one_file(packages)
    for words in ([], ["collector"]):
        demo = [ROOT / "scripts" / "demo", "--with", file, *words]
        done = subprocess.run(demo, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
