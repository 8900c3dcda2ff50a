"""What systemd says by the environment: folders, the journal, the watchdog."""

import pytest

from tixd import config, surroundings


def read(**environ: str) -> surroundings.Surroundings:
    """The surroundings of process 7 of user 1000."""
    return surroundings.read(environ, uid=1000, pid=7)


def test_without_a_service_manager_there_are_two_runtime_folders():
    found = read()
    assert found.runtime_folders == ("/run/tixd", "/tmp/tixd-1000")
    assert found.own_runtime_folder == "/tmp/tixd-1000"
    assert (found.journal_stream, found.notify_socket, found.watchdog_seconds) == ("", "", None)


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


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(environ, seconds):
    assert read(**environ).watchdog_seconds == seconds


def test_the_configuration_tells_the_surroundings(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "absent.toml")
    loaded = config.load({}, {"NOTIFY_SOCKET": "@systemd", "JOURNAL_STREAM": "8:9"}, None)
    found = loaded.surroundings
    assert (found.notify_socket, found.journal_stream) == ("@systemd", "8:9")
