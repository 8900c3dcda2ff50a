"""The control socket: asked over real sockets, in folders of friends and of strangers."""

import asyncio
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.log_events import heard
from tests.support.waiting import until
from tixd import errors
from tixd.config.environment import Environment
from tixd.runtime import control, control_server, http_server
from tixd.runtime.control_server import ControlSocket


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment whose only runtime folder is tixd's own, which is not there yet."""
    own = str(tmp_path / "own")
    return Environment((own,), (own,), "", "")


async def echo(parameters: Mapping[str, str]) -> object:
    """The number of the request; without one it is none."""
    if "number" not in parameters:
        raise ValueError("expected a number")
    return {"number": int(parameters["number"])}


async def fails(_: Mapping[str, str]) -> object:
    """What a volume may do."""
    raise errors.DiskFull("/reports")


COMMANDS = {"GET /echo": echo, "POST /fails": fails}


@asynccontextmanager
async def listening(
    environment: Environment, *, standby: bool = False
) -> AsyncIterator[ControlSocket]:
    """A standalone role with a control socket."""
    opened = await control_server.listen(environment, "standalone", COMMANDS, standby=standby)
    assert opened
    try:
        yield opened
    finally:
        await opened.stop()


async def ask(environment: Environment, request: str) -> Any:
    """What a command gets; it is synchronous, so it asks from a thread."""
    return await asyncio.to_thread(control.ask_one, environment, "", request, 5.0)


async def exchange(path: str, request: bytes) -> bytes:
    """Everything that comes back for these bytes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


def test_a_question_gets_its_answer_and_the_socket_is_private(environment):
    async def run() -> None:
        async with listening(environment) as opened:
            assert os.path.basename(opened.path) == "standalone.sock"
            assert stat.S_IMODE(os.stat(opened.path).st_mode) == 0o600
            assert stat.S_IMODE(os.stat(environment.own_runtime_folders[0]).st_mode) == 0o700
            assert await ask(environment, "GET /echo?number=7") == {"number": 7}
        assert os.listdir(environment.own_runtime_folders[0]) == []

    asyncio.run(run())


def head(request: str) -> bytes:
    """The bytes of a request after which the connection ends."""
    return f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        (head("GET /"), b"404", b"not found; here are /echo, /fails\n"),
        (head("GET /stop"), b"404", b"not found; here are /echo, /fails\n"),
        (head("POST /echo"), b"405", b"only GET and HEAD\n"),
        (head("GET /fails"), b"405", b"only POST\n"),
        (head("GET /echo"), b"400", b"expected a number\n"),
        (head("POST /fails"), b"503", b"/reports: No space is left"),
        (head(f"GET /echo?number={'1' * 3000}"), b"400", b""),
        (b'{"ask": "echo"}\n\n', b"400", b""),
        (b"a" * 10_000, b"400", b""),
    ],
)
def test_what_cannot_be_answered_gets_an_error(environment, request_bytes, status, error):
    async def run() -> bytes:
        async with listening(environment) as opened:
            return await exchange(opened.path, request_bytes)

    answer = asyncio.run(run())
    assert answer.split()[1] == status
    assert answer.partition(b"\r\n\r\n")[2].startswith(error)


def test_one_who_asks_nothing_is_dropped(environment, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_SECONDS", 0.05)

    async def run() -> bytes:
        async with listening(environment) as opened:
            return await exchange(opened.path, b"GET /echo")

    assert asyncio.run(run()) == b""


def test_few_requests_of_a_kind_are_answered_at_once(environment):
    async def run() -> None:
        go_on = asyncio.Event()

        async def wait(_: Mapping[str, str]) -> object:
            await go_on.wait()
            return {}

        opened = await control_server.listen(
            environment, "standalone", {"GET /wait": wait}, standby=False
        )
        most = control_server.MAX_REQUESTS
        asked = [exchange(opened.path, head("GET /wait")) for _ in range(most + 1)]
        asking = {asyncio.ensure_future(one) for one in asked}
        first, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result().endswith(b"too many requests at once\n") for one in first] == [True]
        go_on.set()
        assert {(await one).split()[1] for one in waiting} == {b"200"}
        await opened.stop()

    asyncio.run(run())


def test_the_file_of_a_role_that_was_killed_is_replaced(environment):
    os.mkdir(environment.own_runtime_folders[0], 0o700)
    path = os.path.join(environment.own_runtime_folders[0], "standalone.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)

    async def run() -> Any:
        with pytest.raises(errors.NotRunning):
            await ask(environment, "GET /echo?number=1")
        async with listening(environment) as opened:
            assert opened.path == path
            return await ask(environment, "GET /echo?number=1")

    assert asyncio.run(run()) == {"number": 1}


@pytest.mark.parametrize("standby", [True, False])
def test_a_second_process_of_a_role_has_a_socket_of_its_own(environment, standby):
    async def run() -> None:
        async with (
            listening(environment) as first,
            listening(environment, standby=standby) as second,
        ):
            assert os.path.basename(second.path) == f"standalone-{os.getpid()}.sock"
            request = "GET /echo?number=2"
            found = await asyncio.to_thread(
                control.ask_all, environment, "standalone", request, 5.0
            )
            assert len(found) == 2
            assert await ask(environment, request) == {"number": 2}
            assert os.path.exists(first.path)

    asyncio.run(run())


def test_another_role_is_not_asked_for_one_that_is_named(environment):
    async def run() -> None:
        async with listening(environment):
            with pytest.raises(errors.NotRunning):
                await asyncio.to_thread(control.ask_all, environment, "worker", "GET /echo", 5.0)

    asyncio.run(run())


def make_folder_for_all(own: str) -> None:
    """One that others can look into."""
    os.mkdir(own)
    os.chmod(own, 0o750)  # noqa: S103 - that is what must be refused


def make_link(own: str) -> None:
    """A link to a private folder."""
    os.mkdir(f"{own}-target", 0o700)
    os.symlink(f"{own}-target", own)


@pytest.mark.parametrize("make", [make_folder_for_all, make_link, lambda own: Path(own).touch()])
def test_a_folder_that_a_stranger_may_have_made_is_not_used(environment, make):
    make(environment.own_runtime_folders[0])
    with heard() as log:
        assert (
            asyncio.run(control_server.listen(environment, "worker", COMMANDS, standby=False))
            is None
        )
    assert log.events == [("error", "control_socket_not_available")]


def test_a_folder_of_another_user_is_not_used(environment, monkeypatch):
    os.mkdir(environment.own_runtime_folders[0], 0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with heard() as log:
        assert (
            asyncio.run(control_server.listen(environment, "worker", COMMANDS, standby=False))
            is None
        )
    assert "belongs to another user" in log.text


def test_the_service_managers_folder_is_used_where_it_is(environment, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    folders = (str(tmp_path / "missing"), str(given), environment.own_runtime_folders[0])
    managed = Environment(folders, (environment.own_runtime_folders[0],), "", "")

    async def run() -> None:
        async with listening(managed) as opened:
            assert opened.path == str(given / "standalone.sock")
            assert await ask(managed, "GET /echo?number=3") == {"number": 3}

    asyncio.run(run())
    assert not os.path.exists(environment.own_runtime_folders[0])


def test_stopping_gives_up_a_question_that_is_being_answered(environment):
    async def run() -> bytes:
        never = asyncio.Event()
        begun = asyncio.Event()

        async def wait(_: Mapping[str, str]) -> object:
            begun.set()
            return await never.wait()

        opened = await control_server.listen(
            environment, "standalone", {"GET /wait": wait}, standby=False
        )
        asking = asyncio.create_task(exchange(opened.path, head("GET /wait")))
        await asyncio.wait_for(begun.wait(), 60)
        await opened.stop()
        return await asking

    assert asyncio.run(run()) == b""


def test_instances_are_asked_too_those_that_see_the_reports_first(environment, tmp_path):
    folders = [tmp_path / f"tixd-{name}" for name in ("alpha", "beta")]
    for folder in folders:
        folder.mkdir()
    roles = [Environment((str(folder),), (), "", "") for folder in folders]

    async def run() -> None:
        first = await control_server.listen(roles[0], "dispatcher", COMMANDS, standby=False)
        second = await control_server.listen(
            roles[1], "worker", {"GET /echo": fails}, standby=False
        )
        assert first
        assert second
        asker = replace(environment, instances=str(tmp_path / "tixd-*"))
        with pytest.raises(errors.NotDone, match="No space"):
            await ask(asker, "GET /echo?number=1")
        await second.stop()
        assert await ask(asker, "GET /echo?number=1") == {"number": 1}
        await first.stop()

    asyncio.run(run())


@pytest.mark.parametrize("removed", ["file", "folder", "replaced"])
def test_a_socket_that_somebody_removes_is_made_again(environment, monkeypatch, removed):
    monkeypatch.setattr(control_server, "LOOK_SECONDS", 0.01)

    async def run() -> None:
        async with listening(environment) as opened:
            if removed == "folder":
                shutil.rmtree(os.path.dirname(opened.path))
            else:
                os.unlink(opened.path)
            if removed == "replaced":
                Path(opened.path).touch()
            await until(lambda: log.events)
            assert await ask(environment, "GET /echo?number=7") == {"number": 7}
        assert os.listdir(environment.own_runtime_folders[0]) == []

    with heard() as log:
        asyncio.run(run())
    assert log.events == [("warning", "control_socket_replaced")]


def test_a_socket_that_cannot_be_made_again_is_told_of_once_and_tried_on(environment, monkeypatch):
    monkeypatch.setattr(control_server, "LOOK_SECONDS", 0.01)

    async def run() -> None:
        async with listening(environment) as opened:
            folder = os.path.dirname(opened.path)
            shutil.rmtree(folder)
            Path(folder).touch()
            await until(lambda: log.events)
            os.unlink(folder)
            await until(lambda: os.path.exists(opened.path))
            assert await ask(environment, "GET /echo?number=7") == {"number": 7}

    with heard() as log:
        asyncio.run(run())
    assert log.events == [
        ("error", "control_socket_not_available"),
        ("warning", "control_socket_replaced"),
    ]


def test_a_handler_that_fails_unexpectedly_is_told_of_to_asker_and_log(environment):
    async def breaks(_: Mapping[str, str]) -> object:
        raise RuntimeError("as was planned")

    async def run() -> bytes:
        opened = await control_server.listen(
            environment, "standalone", {"GET /break": breaks}, standby=False
        )
        assert opened
        try:
            return await exchange(opened.path, head("GET /break"))
        finally:
            await opened.stop()

    with heard() as log:
        assert b"RuntimeError: as was planned: unexpected, see the log" in asyncio.run(run())
    assert log.events == [("error", "control_request_failed")]
