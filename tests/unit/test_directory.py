"""What the file system refuses is told in plain words, with what to do; nothing else leaves."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from tixd import errors
from tixd.directory import Folder

#: Words that the operator is given for a number; any other number has the kernel's words alone.
WORDS = {
    "EMFILE": "LimitNOFILE",
    "ENFILE": "LimitNOFILE",
    "EFBIG": "LimitFSIZE",
    "ENAMETOOLONG": "rename the file",
    "ENOMEM": "no memory",
    "ENOSPC": "free some",
    "EDQUOT": "quota",
    "EROFS": "mount it writable",
    "EACCES": "owner and mode",
    "EPERM": "lsattr",
    "ENOLCK": "no locks",
    "EXDEV": "another volume",
    "ESTALE": "mount it again",
    "EIO": "check the disk",
}


@pytest.fixture
def folder(tmp_path):
    with Folder(str(tmp_path)) as opened:
        yield opened


@pytest.mark.parametrize("name", errno.errorcode.values())
def test_every_number_is_an_error_of_the_volume_with_the_words_that_fit(folder, monkeypatch, name):
    number = getattr(errno, name)

    def failing(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(errors.VolumeError) as raised:
        folder.load("a", 10)
    told = str(raised.value)
    assert os.strerror(number) in told
    assert WORDS.get(name, "") in told
    assert ("check the disk" in told) == (name == "EIO")


def test_a_process_without_descriptors_says_so(folder):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
    try:
        folder.open_file("a")
    except errors.VolumeError as error:
        told = error
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert isinstance(told, errors.NoDescriptors)


def test_a_name_that_is_too_long_is_told_as_that(folder):
    with pytest.raises(errors.NameTooLong):
        folder.write("x" * 255, b"")


def test_a_file_larger_than_what_is_read_is_told_with_both_sizes(folder):
    folder.write("a", b"x" * 11)
    assert folder.load("a", 11) == b"x" * 11
    with pytest.raises(errors.TooLong, match="11 bytes, at most 10"):
        folder.load("a", 10)


def test_a_folder_in_the_place_of_a_temporary_file_stops_no_write(folder, tmp_path):
    (tmp_path / "a.tmp" / "full").mkdir(parents=True)
    folder.write("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert sorted(os.listdir(tmp_path)) == ["a", "a.tmp"]
