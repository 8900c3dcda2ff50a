"""What systemd says by the environment: folders, the journal, its socket."""

import pytest

from tixd.config import environment, loader


def read(**environ: str) -> environment.Environment:
    """The environment of a process of user 1000."""
    return environment.read(environ, uid=1000)


def test_without_a_service_manager_there_are_three_runtime_folders():
    found = read()
    assert found.runtime_folders == ("/run/tixd", "/tmp/tixd-1000", "/dev/shm/tixd-1000")
    assert found.own_runtime_folders == ("/tmp/tixd-1000", "/dev/shm/tixd-1000")
    assert (found.journal_stream, found.notify_socket) == ("", "")


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/a"),
        ({"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1"),
        ({"XDG_RUNTIME_DIR": ""}, "/run/tixd"),
    ],
)
def test_the_folder_that_the_service_manager_gives_comes_first(environ, first):
    assert read(**environ).runtime_folders[0] == first


def test_where_the_service_manager_names_a_folder_no_other_is_looked_at():
    assert read(RUNTIME_DIRECTORY="/run/a", XDG_RUNTIME_DIR="/run/user/1").runtime_folders == (
        "/run/a",
    )


def test_instances_of_the_service_are_asked_by_others_alone():
    assert read().instances == "/run/tixd-*"
    assert read(RUNTIME_DIRECTORY="/run/tixd-worker").instances == ""


def test_the_configuration_tells_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "DEFAULT_FILE", tmp_path / "absent.toml")
    loaded = loader.load({}, {"NOTIFY_SOCKET": "@systemd", "JOURNAL_STREAM": "8:9"}, None)
    found = loaded.environment
    assert (found.notify_socket, found.journal_stream) == ("@systemd", "8:9")
