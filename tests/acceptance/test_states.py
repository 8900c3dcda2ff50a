"""Is it working, and why do results not arrive? What status says first, while things are wrong.

Real processes, one for several states; periods are as short as the settings allow.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.support import made
from tests.support.program import ROOT, TIXD, until
from tests.support.service import SHORT, Service, service
from tests.support.site import Fleet
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tests.support.terminal import WIDTHS, screen

START = 1_700_000_000


def headline(role: Service) -> str:
    """What the first line of `tixd status` says of it."""
    return str(role.status().get("headline", ""))


def says(role: Service, words: str, seconds: float = 60.0) -> str:
    """Wait until the headline has these words; the whole of it."""
    try:
        until(lambda: words in headline(role), seconds)
    except AssertionError:
        raise AssertionError(f"{words!r} not in {headline(role)!r}") from None
    return headline(role)


def metric(role: Service, name: str) -> float:
    """A gauge without labels, as Prometheus reads it."""
    lines = (line.split(" ") for line in role.get("/metrics")[1].splitlines())
    return next(float(value) for found, *_, value in lines if found == name)


def shown(role: Service, *words: str) -> str:
    """What a command prints beside the role."""
    command = [*TIXD, *words]
    done = subprocess.run(command, cwd=ROOT, env=role.env, capture_output=True, text=True)
    return done.stdout + done.stderr


def fits(role: Service, words: str) -> None:
    """Its status has these words on terminals of every width, and no word is cut or broken."""
    own = {name: role.env[name] for name in ("RUNTIME_DIRECTORY",)}
    for columns in WIDTHS:
        page = screen("status", columns=columns, environment=own)
        assert page.faults == []
        assert words in " ".join(" ".join(page.lines).split())


def make_old(base: Path) -> None:
    """Let no installation look changed."""
    for folder in base.glob("*/*"):
        os.utime(folder, (1, 1))


def kept(base: Path) -> int:
    """How many results are kept."""
    return len(list(base.glob("*/*/failed-results/failed-report-*.json")))


def test_a_dispatcher_without_worker_and_a_worker_without_dispatcher_say_so(tmp_path, broker):
    base = tmp_path / "reports"
    made.installation(base, START)
    with StandInApi() as api:
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        with fleet.dispatcher() as dispatcher:
            nobody_works(dispatcher)
            with fleet.worker() as worker:
                until(lambda: api.accepted)
                somebody_works(dispatcher)
                assert metric(worker, "tixd_leader_missing") == 0
                assert dispatcher.ends()[0] == 0
                nobody_leads(worker)
                with fleet.dispatcher("again"):
                    says(worker, "running, ready")
                    until(lambda: worker.log("leader_found"))
            assert len(worker.log("leader_missing")) == len(dispatcher.log("nobody_works")) == 1


def nobody_works(dispatcher: Service) -> None:
    """The dispatcher says that its jobs wait, at once and after a period more loudly."""
    says(dispatcher, "NOBODY WORKS: queue celery has 1 message, and no worker for ")
    says(dispatcher, "running, NOT READY: NOBODY WORKS: queue celery has ")
    until(lambda: dispatcher.log("nobody_works"))
    assert "NOBODY WORKS: queue celery" in dispatcher.get("/readyz")[1]
    assert metric(dispatcher, "tixd_job_queue_unattended_seconds") > 0
    assert "  scanner  " in shown(dispatcher, "status")
    fits(dispatcher, "NOBODY WORKS: queue celery has")
    assert "not ready\ndispatcher: NOBODY WORKS" in shown(dispatcher, "health")


def somebody_works(dispatcher: Service) -> None:
    """All is well with it."""
    says(dispatcher, "running, ready")
    until(lambda: dispatcher.log("worker_found"))
    assert metric(dispatcher, "tixd_job_queue_unattended_seconds") == 0
    assert metric(dispatcher, "tixd_job_queue_consumers") == 1


def nobody_leads(worker: Service) -> None:
    """The worker says that it gets no job, and that no dispatcher seems to run."""
    said = says(worker, "no job for ")
    assert said.endswith("no dispatcher seems to run for this vhost (queue celery)"), said
    assert metric(worker, "tixd_leader_missing") == 1
    fits(worker, "no dispatcher seems to run for this vhost (queue celery)")


def test_a_host_and_a_vhost_that_do_not_exist_are_named_with_their_settings(tmp_path, broker):
    (tmp_path / "reports").mkdir()
    fleet = Fleet(tmp_path / "reports", tmp_path, 1, broker.port)
    vhost, host = {"TIX_RABBITMQ_VHOST": "newcomer"}, {"TIX_RABBITMQ_HOST": "nohost.invalid"}
    with fleet.worker(**vhost) as worker, fleet.dispatcher(**host) as dispatcher:
        where = f"amqp://127.0.0.1:{broker.port}/newcomer"
        says(worker, f"{where}: vhost newcomer does not exist (TIX_RABBITMQ_VHOST)")
        away = f"amqp://nohost.invalid:{broker.port}"
        says(dispatcher, f"{away}: host name unknown (TIX_RABBITMQ_HOST)")
        assert f"  broker   {where}, vhost newcomer does not exist" in shown(worker, "status")
        for role in (worker, dispatcher):
            until(lambda role=role: role.log("broker_not_connected"))
            assert not role.log("broker_disconnected"), "what never was is not lost"


#: What is said of a wrong password.
REFUSED = "the tix-api refuses the credentials (HTTP 401 Unauthorized): correct TIX_API_USER"


def test_one_process_says_each_reason_why_nothing_is_posted(tmp_path):
    base, secret = tmp_path / "reports", tmp_path / "secret"
    made.installation(base, START)
    secret.write_text("wrong")
    api = StandInApi(user="tix", password="secret", port=closed_port())
    listening = contextlib.ExitStack()
    variables = {"TIX_API_PASSWORD": "", "TIX_API_PASSWORD_FILE": str(secret)}
    listening.enter_context(api)
    with (
        listening,
        service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT, **variables) as running,
    ):
        credentials_are_mended_here(running, base, secret)
        credentials_are_mended_there(running, base, api)
        folder_goes_and_comes_back(running, base)
        listening.close()
        made.installation(base, START, user=4)
        says(running, "the tix-api: no connection: Connection refused (TIX_API_HOST, TIX_API_PORT)")


def credentials_are_mended_here(running: Service, base: Path, secret: Path) -> None:
    """A wrong password is said; with the right one and SIGHUP the kept result goes out."""
    says(running, "running; results have been KEPT for ")
    says(running, REFUSED)
    port = running.env["TIX_API_PORT"]
    assert f"http://127.0.0.1:{port}, nothing posted yet" in shown(running, "status")
    assert kept(base) == 1
    fits(running, REFUSED)
    make_old(base)
    secret.write_text("secret")
    running.send_signal(signal.SIGHUP)
    until(lambda: kept(base) == 0)
    says(running, "running, ready")


def credentials_are_mended_there(running: Service, base: Path, api: StandInApi) -> None:
    """The tix-api refuses two users, and then takes them again."""
    api.answer(Behaviour(401))
    for user in (2, 3):
        made.installation(base, START, user=user)
    until(lambda: kept(base) == 2)
    says(running, REFUSED)
    make_old(base)
    api.answer(Behaviour())
    until(lambda: kept(base) == 0)
    says(running, "running, ready")


def folder_goes_and_comes_back(running: Service, base: Path) -> None:
    """The folder is gone for a while, which needs no restart."""
    base.rename(base.with_name("away"))
    gone = f"the reports folder {base} is gone; tried again every 5 s; mount or restore it"
    assert "restart needed" in says(running, f"running, NOT READY: {gone}, no ")
    base.with_name("away").rename(base)
    says(running, "running, ready")
    assert len(running.log("volume_not_usable")) == len(running.log("volume_usable")) == 1


def test_a_password_that_is_not_set_is_said_before_there_is_anything_to_post(tmp_path):
    (tmp_path / "reports").mkdir()
    with service(tmp_path / "reports", tmp_path, 1, TIX_API_PASSWORD="") as running:
        says(running, "running; results have been KEPT for ")
        assert headline(running).endswith(": TIX_API_PASSWORD is not set")
