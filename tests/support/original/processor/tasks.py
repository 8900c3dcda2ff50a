"""Celery tasks under the original's names, whose work is tixd's own analysis, done in place.

Settings come from tixd's variables, so one environment serves both. Each task appends a JSON line
{"task", "arguments", "types", "pid"} to $RECORD_FILE when it is done.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path

from celery import Celery

from tixd.config import loader
from tixd.config.settings import Settings
from tixd.installation import Worker
from tixd.installation import process_installation as process
from tixd.jobs import ProcessInstallation
from tixd.results.client import ApiClient


def _broker(settings: Settings) -> str:
    who = f"{settings.rabbitmq_user}:{settings.rabbitmq_password.reveal()}"
    return f"amqp://{who}@{settings.rabbitmq_host}:{settings.rabbitmq_port}//"


# Read once: Celery's worker sets CELERY_LOG_LEVEL to something else for its processes.
_GIVEN = loader.load({}, os.environ, Path(os.devnull)).settings

app = Celery("processor.tasks", broker=_broker(_GIVEN))
app.conf.broker_connection_retry_on_startup = True
app.conf.beat_schedule = {
    "process all": {
        "task": "processor.tasks.process_users_data",
        "schedule": _GIVEN.processing_period_minutes * 60,
        "args": (_GIVEN.reports_base_path,),
    }
}


def _record(task: str, *arguments: object) -> None:
    line = {
        "task": task,
        "arguments": arguments,
        "types": [type(argument).__name__ for argument in arguments],
        "pid": os.getpid(),
    }
    with open(os.environ["RECORD_FILE"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@functools.cache
def _worker() -> Worker:
    """One for each process of the pool, made where it is used."""
    return Worker(
        settings=_GIVEN,
        client=ApiClient(_GIVEN),
        report_phase=lambda _phase: None,
        stopping=lambda: False,
    )


@app.task(name="processor.tasks.process_users_data")
def process_users_data(base: str) -> None:
    """A task for each installation under the base."""
    for user in sorted(os.listdir(base)):
        for installation in sorted(os.listdir(os.path.join(base, user))):
            path = os.path.join(base, user, installation)
            process_installation.delay(path, user, installation)
    _record("process_users_data", base)


@app.task(name="processor.tasks.process_installation")
def process_installation(path: str, user_id: str, installation_id: str) -> None:
    """Analyse and post whatever is there."""
    worker = _worker()
    job = ProcessInstallation(path, int(user_id), int(installation_id))
    done = worker.client.requests.perform(process(job, worker))
    _record("process_installation", path, user_id, installation_id)
    sys.stdout.write(f"{dict(done.counts)}\n")
