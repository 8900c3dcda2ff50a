"""The commands that ask a running role, as an operator runs them, and a real pool that answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.program import TIXD
from tests.support.results import result
from tests.support.service import snapshot
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.config.environment import Environment
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.dispatch.control_commands import failed_commands
from tixd.pool.pool import Pool
from tixd.results.backoff import Backoff
from tixd.results.failed_results import FailedResults
from tixd.results.journal import Journal
from tixd.results.journal_format import JournalEntry
from tixd.runtime import control_server


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it said."""

    code: int | None
    out: list[str]
    err: str


async def tixd(tmp_path: Path, *arguments: str, **variables: str) -> Ended:
    """Run a command whose runtime folder is `tmp_path`/run."""
    own = {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    environ = own | variables
    pipe = asyncio.subprocess.PIPE
    command = (*TIXD, *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Ended(process.returncode, out.decode().splitlines(), err.decode())


@asynccontextmanager
async def role(
    tmp_path: Path, base: str = "", settings: Settings | None = None, **changes: Any
) -> AsyncIterator[None]:
    """A role with one worker, that tells of itself what `changes` say."""
    (tmp_path / "run").mkdir(exist_ok=True)
    own = str(tmp_path / "run")
    environment = Environment((own,), (str(tmp_path / "none"),), "", "")
    usual = Settings(workers=1, reports_base_path=str(tmp_path))
    async with Pool(settings or usual) as pool:
        answers = {
            "GET /status": control_server.status_command(lambda: snapshot(**changes)),
            **failed_commands(pool, base or str(tmp_path)),
        }
        opened = await control_server.listen(environment, "standalone", answers, standby=False)
        assert opened
        try:
            yield
        finally:
            await opened.stop()


def asked(
    tmp_path: Path, *arguments: str, environ: Mapping[str, str] | None = None, **changes: Any
) -> Ended:
    """What a command says, in this environment, while such a role runs."""

    async def run() -> Ended:
        async with role(tmp_path, **changes):
            return await tixd(tmp_path, *arguments, **(environ or {}))

    return asyncio.run(run())


def store(tmp_path: Path, ids: str, *timestamps: int, reject: bool = False) -> None:
    """Keep results in failed-results of an installation."""
    (tmp_path / ids).mkdir(parents=True, exist_ok=True)
    with Folder(str(tmp_path / ids)) as folder, FailedResults(folder) as failed_results:
        for timestamp in timestamps:
            name = failed_results.add(result(timestamp))
            if reject:
                failed_results.reject(name)


def test_status_shows_the_role_that_runs(tmp_path):
    done = asked(tmp_path, "status")
    assert (done.code, done.err) == (0, "")
    assert done.out[0] == "standalone, pid 77: running, ready"


def test_status_as_json_is_an_object_for_each_role(tmp_path):
    done = asked(tmp_path, "status", "--format", "json", workers=())
    (told,) = map(json.loads, done.out)
    assert (told["role"], told["pid"], told["state"]) == ("standalone", 77, "running")
    assert told["not_ready"] == ["no worker process is ready"]


def test_health_is_a_word_where_the_role_can_work(tmp_path):
    done = asked(tmp_path, "health")
    assert (done.code, done.out, done.err) == (0, ["ready"], "")


def test_health_gives_the_reasons_where_the_role_cannot_work(tmp_path):
    done = asked(tmp_path, "health", workers=())
    assert (done.code, done.out) == (1, ["not ready", "standalone: no worker process is ready"])


@pytest.mark.parametrize("command", [["status"], ["failed", "list"], ["failed", "retry", "--all"]])
def test_where_nothing_runs_a_question_ends_with_one(tmp_path, command):
    done = asyncio.run(tixd(tmp_path, *command))
    assert (done.code, done.out) == (1, [])
    assert done.err.startswith("tixd: No tixd answers here; start it")


def test_health_says_that_nothing_runs_on_standard_output(tmp_path):
    done = asyncio.run(tixd(tmp_path, "health"))
    assert (done.code, done.out[0]) == (1, "not running")


def test_failed_list_shows_what_waits_where(tmp_path):
    store(tmp_path, "1/2", 1_600_000_000, 1_600_000_600)
    store(tmp_path, "1/2", 1_500_000_000, reject=True)
    store(tmp_path, "30/4", 1_700_000_000)
    (tmp_path / "5" / "6").mkdir(parents=True)
    with Folder(str(tmp_path / "30/4")) as folder, Journal(folder) as journal:
        silent = Backoff().got_no_answer(time.time() + 3000, Random(1)).because("no answer in time")
        journal.write_now(JournalEntry(backoff=silent))
    done = asked(tmp_path, "failed", "list")
    assert (done.code, done.err) == (0, "")
    header, first, second = done.out
    assert re.split(r"  +", header) == [
        *("user", "installation", "kept", "oldest", "next try", "rejected", "reason")
    ]
    assert re.split(r"  +", first) == [
        *("1", "2", "2", "2020-09-13 12:26:40 UTC", "next cycle", "1", "not tried yet")
    ]
    expected = r"30 +4 +1 +2023-11-14 22:13:20 UTC +in 50 min \d+ s +no answer in time"
    assert re.fullmatch(expected, second)


def test_failed_list_of_a_user_leaves_the_others_out(tmp_path):
    for ids in ("1/2", "1/3", "2/2"):
        store(tmp_path, ids, 1_600_000_000)
    done = asked(tmp_path, "failed", "list", "1", "--format", "json")
    found = [json.loads(line) for line in done.out]
    assert [(row["user"], row["installation"], row["waiting"]) for row in found] == [
        (1, 2, 1),
        (1, 3, 1),
    ]


@pytest.mark.parametrize("words", [["1", "2"], ["1/2"]])
def test_failed_retry_brings_back_the_results_of_one_installation(tmp_path, words):
    for ids in ("1/2", "1/3"):
        store(tmp_path, ids, 1_600_000_000, 1_600_000_600, reject=True)
    done = asked(tmp_path, "failed", "retry", *words)
    assert (done.code, done.err) == (0, "")
    assert done.out == ["        2  brought back in 1/2"]
    assert len(list((tmp_path / "1/2/failed-results").glob("*.json"))) == 2
    assert list((tmp_path / "1/3/failed-results").glob("*.json")) == []


def test_failed_retry_now_posts_what_is_kept_and_says_what_stays(tmp_path):
    store(tmp_path, "1/2", *range(1_600_000_000, 1_600_000_040))
    store(tmp_path, "1/3", 1_600_000_000, reject=True)
    with StandInApi(user="tix", password="secret") as api:
        known = {"api_host": "127.0.0.1", "api_port": api.port, "api_user": "tix", "workers": 1}
        known |= {"reports_base_path": str(tmp_path), "api_password": Secret("secret")}
        settings = Settings(**known)
        api.answer(Behaviour(401))
        refused = asked(tmp_path, "failed", "retry", "1", "--now", settings=settings)
        api.answer(Behaviour())
        done = asked(tmp_path, "failed", "retry", "--all", "--now", settings=settings)
    why = "HTTP 401 Unauthorized (TIX_API_USER, TIX_API_PASSWORD)"
    assert refused.out[:2] == ["        1  brought back in 1/3", "        0  kept results posted"]
    assert refused.out[2].endswith(f"40  still kept in 1/2: {why}")
    assert done.out == [
        "nothing was rejected; pauses have ended",
        "       41  kept results posted",
    ]
    assert len(api.accepted) == 41


@pytest.mark.parametrize(
    ("arguments", "who"),
    [(["7"], "no installation of user 7 is in "), (["1/9"], "no installation 9 of user 1")],
)
@pytest.mark.parametrize("command", ["list", "retry"])
def test_a_user_or_installation_that_is_not_there_is_told(tmp_path, command, arguments, who):
    store(tmp_path, "1/2", 1_600_000_000)
    done = asked(tmp_path, "failed", command, *arguments)
    assert (done.code, done.out) == (1, [])
    assert who in done.err


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["1/2", "--all"]])
def test_failed_retry_wants_to_know_exactly_for_whom(tmp_path, arguments):
    done = asyncio.run(tixd(tmp_path, "failed", "retry", *arguments))
    assert done.code == 2


@pytest.mark.parametrize("words", [["0"], ["x"], ["1", "2", "3"], ["1/0"]])
@pytest.mark.parametrize("command", ["list", "retry"])
def test_what_is_no_installation_is_told_with_what_would_be(tmp_path, command, words):
    done = asyncio.run(tixd(tmp_path, "failed", command, *words))
    assert done.code == 2
    right = "is not a user such as 7, or an installation such as 7/1"
    assert f"'{'/'.join(words)}' {right}" in " ".join(done.err.split())


def test_without_a_service_failed_list_names_the_command_that_needs_none(tmp_path):
    done = asyncio.run(tixd(tmp_path, "failed", "list"))
    assert done.code == 1
    assert done.err.strip().endswith("or as root; without a service: tixd installations")


def test_a_volume_that_cannot_be_listed_is_named(tmp_path):
    async def run() -> Ended:
        async with role(tmp_path, base=str(tmp_path / "gone")):
            return await tixd(tmp_path, "failed", "list")

    done = asyncio.run(run())
    assert done.code == 1
    assert "gone is gone; tried again every 5 s; mount or restore it" in done.err


WRONG = {
    "a setting": {"TIX_WORKERS": "x", "TIX_API_PORT": "eighty", "TIX_PROCESSING_PERIOD": "-1"},
    "a secret's file": {"TIX_API_PASSWORD_FILE": "/nowhere/at/all"},
    "the role": {"PROCESSOR_TYPE": "NOBODY"},
}


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        *((["health"], wrong) for wrong in WRONG),
        (["status"], "a setting"),
        (["failed", "list"], "a setting"),
    ],
)
def test_one_who_only_asks_needs_no_right_configuration(tmp_path, wrong, command):
    done = asked(tmp_path, *command, environ=WRONG[wrong])
    assert (done.code, done.err) == (0, "")


def test_one_who_only_asks_needs_no_readable_file(tmp_path):
    (tmp_path / "tixd.toml").write_text("not = [toml")
    done = asked(tmp_path, "-c", str(tmp_path / "tixd.toml"), "health")
    assert (done.code, done.out, done.err) == (0, ["ready"], "")


@pytest.mark.parametrize("command", [["health"], ["status"], ["failed", "list"]])
def test_hundreds_of_silent_connections_keep_nobody_from_asking(tmp_path, command):
    async def run() -> Ended:
        async with role(tmp_path):
            path = str(tmp_path / "run" / "standalone.sock")
            silent = [await asyncio.open_unix_connection(path) for _ in range(300)]
            done = await tixd(tmp_path, *command)
            for _, writer in silent:
                writer.close()
            return done

    done = asyncio.run(run())
    assert (done.code, done.err) == (0, "")


def test_what_a_stranger_says_of_himself_is_not_shown_at_any_length(tmp_path):
    long = "x" * 16_000_000
    done = asked(tmp_path, "status", leader=long, reload_error=long)
    assert done.code == 0
    assert max(map(len, done.out)) < 1100
