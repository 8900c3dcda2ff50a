"""Root hands nothing over at the end of a path that somebody else can lead elsewhere."""

import os
from pathlib import Path

import pytest

from tixd.runtime import privileges
from tixd.runtime.ownership import is_root_controlled

#: A user that no machine has by name.
USER = 41_234

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can hand over")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A folder of root's with a file; `user/link`, in a folder of USER's, leads to it."""
    (tmp_path / "user").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "there.log").touch(mode=0o600)
    (tmp_path / "user" / "link").symlink_to("../precious")
    for path in (tmp_path / "user", tmp_path / "user" / "link"):
        os.lchown(path, USER, USER)
    return tmp_path / "precious"


def hand_over(schedule: Path, log: Path) -> None:
    """What a start does."""
    privileges.chown_to(privileges.Identity(USER, (USER,), ""), [str(schedule)], str(log))


def test_behind_a_link_of_another_user_nothing_is_made_or_given(precious):
    (precious / "empty").mkdir()
    link = precious.parent / "user" / "link"
    for name in ("new", "empty"):
        hand_over(link / name, link / "new.log")
        hand_over(link / name, link / "there.log")
    assert sorted(os.listdir(precious)) == ["empty", "there.log"]
    assert {path.stat().st_uid for path in precious.iterdir()} == {0}


def test_where_only_root_leads_to_a_folder_and_a_file_they_are_given(precious):
    (precious.parent / "link").symlink_to("precious")
    hand_over(precious.parent / "link" / "new", precious.parent / "link" / "there.log")
    assert {path.stat().st_uid for path in precious.iterdir()} == {USER}


@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o775, True), (0o777, False)])
def test_a_folder_that_everybody_may_change_is_safe_with_the_sticky_bit_alone(tmp_path, mode, safe):
    tmp_path.chmod(mode)
    (tmp_path / "log").mkdir()
    assert is_root_controlled(str(tmp_path / "log")) is safe
    tmp_path.chmod(mode | 0o1000)
    assert is_root_controlled(str(tmp_path / "log"))


@pytest.mark.parametrize("name", ["missing", "x" * 300, "log/file"])
def test_what_is_not_there_may_be_somebody_elses_soon(tmp_path, name):
    (tmp_path / "log").touch()
    assert not is_root_controlled(str(tmp_path / name))
