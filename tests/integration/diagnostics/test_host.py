"""HTTP address, control socket and log file as --connect tries them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.stand_in_api import closed_port
from tests.support.volumes import remount, tmpfs
from tixd import errors
from tixd.config.environment import Environment
from tixd.diagnostics import host as host_module
from tixd.runtime import control_server


def environment_of(folder: Path) -> Environment:
    return Environment((str(folder),), (), "", "")


#: The setting of an address, and a role that does not run.
NOBODY = ("X", environment_of(Path("/nowhere")), "worker")


def test_an_address_that_is_free_stays_so():
    address = f"127.0.0.1:{closed_port()}"
    assert host_module.check_http_address(address, *NOBODY) == f"{address} is free"
    assert host_module.check_http_address(address, *NOBODY) == f"{address} is free"


def test_no_address_is_needed_where_it_is_off():
    assert host_module.check_http_address("off", *NOBODY).startswith("off: ")


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_an_address_that_somebody_else_has_is_wrong(monkeypatch, host):
    monkeypatch.setattr(host_module, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"{host}:{other.getsockname()[1]}"
        with pytest.raises(errors.Unusable, match="in use: end what has it, or correct X"):
            host_module.check_http_address(address, *NOBODY)


def test_a_socket_that_can_be_had_is_gone_after_the_try(tmp_path):
    text = host_module.check_control_socket(environment_of(tmp_path), "worker")
    assert text == f"can be made in {tmp_path}; no worker runs here"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_tixd_would_make_is_fine_and_not_left_behind(tmp_path):
    text = host_module.check_control_socket(environment_of(tmp_path / "run"), "worker")
    assert text.startswith(f"can be made in {tmp_path / 'run'}; ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_or_is_too_far_down_is_wrong(tmp_path):
    with pytest.raises(errors.Unusable, match="not there, or it belongs to another user: tixd st"):
        host_module.check_control_socket(environment_of(tmp_path / "none" / "run"), "worker")
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(errors.Unusable, match="path too long"):
        host_module.check_control_socket(environment_of(deep), "worker")


def test_a_role_that_runs_here_is_named_and_keeps_its_socket(tmp_path):
    async def main() -> None:
        async def status(_: object) -> object:
            return {"pid": 123}

        there = environment_of(tmp_path)
        commands = {"GET /status": status}
        asked = await control_server.listen(there, "worker", commands, standby=False)
        assert asked
        text = await asyncio.to_thread(host_module.check_control_socket, there, "worker")
        assert text.endswith("; a worker runs here, pid 123")
        assert [path.name for path in tmp_path.iterdir()] == ["worker.sock"]
        await asked.stop()

    asyncio.run(main())


def test_a_log_file_that_can_be_made_is_not_made(tmp_path):
    path = str(tmp_path / "log")
    assert f"{path}: can be made by " in host_module.check_log_file(path, by_root=False)
    assert host_module.check_log_file(path, by_root=True) == f"{path}: root makes it"
    assert list(tmp_path.iterdir()) == []


def test_a_log_file_in_a_folder_that_is_missing_is_wrong(tmp_path):
    missing = f"the folder {tmp_path}/none is not there: make it, or correct "
    for by_root in (False, True):
        with pytest.raises(errors.Unusable) as caught:
            host_module.check_log_file(str(tmp_path / "none" / "log"), by_root=by_root)
        assert str(caught.value) == f"{missing}TIX_LOG_FILE or -l"
    with pytest.raises(errors.Unusable) as caught:
        host_module.check_history(str(tmp_path / "none" / "h.sqlite"), "TIX_HISTORY")
    assert str(caught.value) == f"{missing}TIX_HISTORY"


def test_a_history_that_can_be_made_is_not_made(tmp_path):
    path = str(tmp_path / "h.sqlite")
    assert f"{path}: can be made by " in host_module.check_history(path, "TIX_HISTORY")
    assert list(tmp_path.iterdir()) == []


def test_a_history_on_a_read_only_volume_names_the_place_for_it(tmp_path):
    with tmpfs(tmp_path / "disk", 64) as disk:
        (disk / "h.sqlite").touch()
        remount(disk, "ro")
        with pytest.raises(errors.Unusable, match=r"name a file in /var/lib/tixd, .*TIX_HISTORY"):
            host_module.check_history(str(disk / "h.sqlite"), "TIX_HISTORY")


def test_a_log_file_on_a_read_only_volume_names_the_sandbox(tmp_path):
    with tmpfs(tmp_path / "disk", 64) as disk:
        remount(disk, "ro")
        with pytest.raises(
            errors.Unusable, match="is read-only here, for a service by its sandbox"
        ):
            host_module.check_log_file(str(disk / "log"), by_root=False)
