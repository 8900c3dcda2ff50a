"""Started by root, tixd is soon somebody else: who owns the reports, or whom TIX_RUN_AS names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.collector import Collector
from tests.support.ledger import set_back_pauses
from tests.support.program import COMMAND, PATIENCE_SECONDS, ROOT, TIXD, environment, until
from tests.support.service import Service, service
from tests.support.stand_in_api import StandInApi
from tests.support.volumes import by_all

START = 1_700_000_000

#: A user and a group that no machine has by name.
USER, GROUP = 41_234, 41_235

#: CAP_DAC_OVERRIDE and CAP_FOWNER as the kernel shows them (linux/capability.h).
FEW = 1 << 1 | 1 << 3

#: Before a command: it has no /run to write to, and does not see the sockets of a tixd of root's.
NO_OTHER_TIXD = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-euc"),
    "mount -t tmpfs -o ro tmpfs /run; for own in /tmp/tixd-0 /dev/shm/tixd-0; do"
    ' [ ! -d "$own" ] || mount -t tmpfs -o ro tmpfs "$own"; done; exec "$@"',
    "sh",
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can start as root")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, as that of other tests is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def base(place: Path) -> Path:
    """A reports folder with one window, all of it one user's, which others may not enter."""
    made.installation(place / "base", START)
    give(place / "base", USER, GROUP)
    return place / "base"


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api."""
    with StandInApi(user="tix", password="secret") as server:
        yield server


def give(folder: Path, user: int, group: int) -> None:
    """Let a folder and all in it be somebody's alone, as the condenser makes them."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user, group)
        path.chmod(0o750 if path.is_dir() else 0o640)


def facts(pid: int) -> dict[str, Any]:
    """Who a process is, as the kernel says it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    rights = {int(said[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} - {0}
    return {
        "users": {int(word) for word in said["Uid"].split()},
        "groups": {int(word) for word in (said["Gid"] + " " + said["Groups"]).split()},
        "rights": rights,
        "closed": said["NoNewPrivs"] == "1",
    }


def everybody(daemon: Service) -> list[dict[str, Any]]:
    """Facts of the parent and of its workers."""
    pids = [daemon.pid, *(worker.pid for worker in daemon.workers())]
    return [facts(pid) for pid in pids]


def test_it_becomes_the_owner_of_the_reports_and_keeps_no_right_of_roots(place, base, api):
    with service(base, place, api.port, before=by_all()) as daemon:
        until(lambda: api.accepted)
        owner = {"users": {USER}, "groups": {GROUP}, "rights": set(), "closed": True}
        assert everybody(daemon) == [owner, owner]
        (line,) = daemon.log("privileges")
        assert line["user"] == f"uid {USER}"
        assert daemon.ends()[0] == 0
    assert {path.stat().st_uid for path in base.rglob("*")} == {USER}


def test_who_gave_up_roots_rights_still_logs_to_roots_standard_error(place, base, api):
    said = {"TIX_LOG_FILE": "/dev/stderr"}
    with service(base, place, api.port, before=by_all(), **said) as daemon:
        until(lambda: api.accepted)
        assert (daemon.ends()[0], len(daemon.log("stopped"))) == (0, 1)


def test_a_schedule_folder_that_root_had_before_is_handed_over(place, base, api):
    (place / "schedule").mkdir()
    (place / "schedule" / "celerybeat-schedule").touch()
    (place / "schedule" / "tixd-leader.lock").touch(mode=0o644)
    with service(base, place, api.port, before=by_all()) as daemon:
        until((place / "schedule" / "tixd-schedule.json").exists)
        assert daemon.ends()[0] == 0
    assert {path.stat().st_uid for path in (place / "schedule").iterdir()} == {USER}


@pytest.mark.parametrize("kind", ["foreign", "link"])
def test_a_schedule_folder_that_is_not_tixds_alone_stays_roots(place, base, kind):
    (place / "other").mkdir()
    (place / "other" / "precious").touch(mode=0o600)
    if kind == "link":
        (place / "other" / "precious").rename(place / "other" / "celerybeat-schedule")
        (place / "schedule").symlink_to("other")
    else:
        (place / "other").rename(place / "schedule")
    with Service(base, place, 1, before=by_all()) as daemon:
        assert daemon.wait(PATIENCE_SECONDS) == 3
        assert f"schedule folder {place}/schedule: Permission denied" in daemon.log_file.read_text()
    folder = (place / "schedule").resolve()
    assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {0}


def test_where_root_owns_the_reports_it_keeps_two_rights_and_no_other(place, base, api):
    give(base, 0, 0)
    with service(base, place, api.port) as daemon:
        until(lambda: api.accepted)
        for process in everybody(daemon):
            assert (process["users"], process["rights"]) == ({0}, {FEW})
            assert process["closed"]
        assert daemon.ends()[0] == 0


def test_where_several_users_own_what_is_there_it_stays_root_and_processes_all(place, base, api):
    made.installation(base, START, user=2)
    give(base / "2", USER + 1, GROUP)
    with service(base, place, api.port) as daemon:
        until(lambda: len(api.accepted) == 2)
        assert [process["users"] for process in everybody(daemon)] == [{0}, {0}]
        assert "several users" in daemon.log("privileges")[0]["reason"]
        assert daemon.ends()[0] == 0


@pytest.mark.parametrize("led", ["base", "schedule", "log"])
def test_a_link_of_somebody_elses_leads_root_nowhere(place, led):
    made.installation(place / "elsewhere" / "base", START)
    for name in ("base", "schedule", "log"):
        if name != led:
            (place / name).mkdir()
    (place / led).symlink_to("elsewhere")
    os.lchown(place / led, USER, GROUP)
    log = {"TIX_LOG_FILE": str(place / "log" if led == "log" else place / "log" / "log")}
    with Service(place / "base", place, 1, name="stderr", **log) as daemon:
        assert daemon.wait(PATIENCE_SECONDS) == 3
        said = f"{place / led} is a link that is not root's, and root started tixd"
        assert daemon.log_file.read_text().startswith(f"tixd: cannot start: {said}")


def test_tix_run_as_names_another_user_than_the_owner(place, base, api):
    for path in (base, *base.rglob("*")):
        path.chmod(0o777)
    names = {"TIX_RUN_AS": f"{USER + 5}:{GROUP + 5}"}
    with service(base, place, api.port, before=by_all(), **names) as daemon:
        until(lambda: api.accepted)
        assert everybody(daemon)[1]["users"] == {USER + 5}
        assert everybody(daemon)[1]["groups"] == {GROUP + 5}
        assert daemon.ends()[0] == 0


@pytest.mark.parametrize(
    "name",
    few(
        ["nobody-has-this-name", "root:no-group", "4294967295", "9" * 200, "²"],
        *("nobody-has-this-name", "root:no-group"),
    ),
)
def test_a_user_that_is_not_there_stops_the_start(place, base, name):
    with Service(base, place, 1, TIX_RUN_AS=name) as daemon:
        assert daemon.wait(PATIENCE_SECONDS) == 2
        (line,) = daemon.log_file.read_text().splitlines()
        assert line.startswith(f'tixd: TIX_RUN_AS = "{name}": there is no such user or group here')


def test_a_capability_is_enough_to_post_what_root_has_left_behind(place, base, api):
    given = environment(base, 1, RUNTIME_DIRECTORY=str(place), TIX_RUN_AS="root")
    subprocess.run(COMMAND, cwd=ROOT, env=given, capture_output=True, check=True)
    give(base, 0, 0)
    ids = (f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups")
    caps = ("--inh-caps=+dac_override,+fowner", "--ambient-caps=+dac_override,+fowner")
    words = [*by_all(), "setpriv", *ids, *caps, *COMMAND]
    given = environment(base, api.port, RUNTIME_DIRECTORY=str(place / "run"))
    set_back_pauses(base)
    done = subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True)
    assert (done.returncode, len(api.accepted)) == (0, 1), done.stderr


def test_root_finds_a_service_that_has_become_somebody_else(place, base, api):
    own = Path(f"/tmp/tixd-{USER}")
    before = (*by_all(), *NO_OTHER_TIXD)
    try:
        with Service(base, place, api.port, before=before, RUNTIME_DIRECTORY="") as daemon:
            until((own / "standalone.sock").exists)
            until(lambda: health(base) == (0, "ready\n"))
            daemon.ends()
        assert health(base)[0] == 1
    finally:
        shutil.rmtree(own, ignore_errors=True)


def health(base: Path) -> tuple[int, str]:
    """Exit code and words of `tixd health` where no runtime folder is given."""
    variables = environment(base, 1, RUNTIME_DIRECTORY="")
    words = [*NO_OTHER_TIXD, *TIXD, "health"]
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_a_single_cycle_leaves_the_schedule_folder_as_it_is(place, base, api):
    (place / "schedule").mkdir()
    given = {"CELERY_BEAT_SCHEDULE_DIR": str(place / "schedule"), "RUNTIME_DIRECTORY": str(place)}
    words = [*by_all(), *COMMAND]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(base, api.port, **given), capture_output=True, text=True
    )
    assert (done.returncode, len(api.accepted)) == (0, 1), done.stderr
    assert (place / "schedule").stat().st_uid == 0


def test_root_with_a_group_of_its_own_has_that_group_and_few_rights(place, base, api):
    names = {"TIX_RUN_AS": f"root:{GROUP}"}
    with service(base, place, api.port, **names) as daemon:
        for process in everybody(daemon):
            assert (process["users"], process["groups"]) == ({0}, {GROUP})
            assert process["rights"] == {FEW}
        assert daemon.ends()[0] == 0


def test_where_root_may_not_become_another_the_start_says_what_is_missing(place, base):
    before = ("setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all")
    with Service(base, place, 1, before=before) as daemon:
        assert daemon.wait(PATIENCE_SECONDS) == 3
        text = daemon.log_file.read_text()
    assert f"root may not become uid {USER}, owner of {base}, here" in text
    assert (place / "run").stat().st_uid == 0, "nothing is handed over before"


def test_who_may_not_read_the_program_is_told_before_anything_is_done(place, base, api):
    program = (
        "import sys; sys.executable = sys.argv.pop(1)\n"
        "from tixd.cli import run; sys.argv[0] = 'tixd'; run()"
    )
    hidden = place / "python"
    hidden.touch(mode=0o600)
    words = [*by_all(), sys.executable, "-c", program, str(hidden), *TIXD[3:]]
    given = environment(base, 1, CELERY_BEAT_SCHEDULE_DIR=str(place / "schedule"))
    done = subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 3
    assert f"is to run as uid {USER}, owner of {base}; that user may not read" in done.stderr
    assert not (place / "schedule").exists()


def test_somebody_else_than_root_cannot_become_another_user(place, base, api):
    before = (
        *by_all(),
        "setpriv",
        f"--reuid={USER}",
        f"--regid={GROUP}",
        "--clear-groups",
    )
    with Service(base, place, api.port, before=before, TIX_RUN_AS="root") as daemon:
        assert daemon.wait(PATIENCE_SECONDS) == 2
        assert "only root can become root (uid 0)" in daemon.log_file.read_text()
    give(place, USER, GROUP)
    with service(base, place, api.port, before=before, TIX_RUN_AS=str(USER)) as daemon:
        until(lambda: api.accepted)
        assert daemon.ends()[0] == 0


def test_the_collector_goes_on_as_tix_run_as_names_and_else_with_few_rights(place):
    (place / "out").mkdir()
    (place / "out").chmod(0o777)
    lines = {"AMQP": {"enable": False}, "file": {"path": str(place / "out" / "roots")}}
    with Collector(place, lines) as collector:
        collector.runs()
        assert facts(collector.pid)["rights"] == {1 << 1 | 1 << 10}
    named = {"runAs": f"{USER}:{GROUP}", "file": {"path": str(place / "out" / "others")}}
    with Collector(place, {**lines, **named}, before=by_all()) as collector:
        collector.runs()
        found = facts(collector.pid)
        assert (found["users"], found["groups"], found["rights"]) == ({USER}, {GROUP}, set())
