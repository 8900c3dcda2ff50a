"""Volumes whose kernel locks do not reach other hosts are named."""

from __future__ import annotations

import pytest

from tixd.dispatch.mounts import lock_reach, lock_warning

ROOT = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("30 22 0:40 / /data rw shared:9 - nfs4 host:/x rw,vers=4.2,local_lock=none", ""),
        ("30 22 0:40 / /data rw shared:9 - nfs host:/x rw,nolock,vers=3", "nolock"),
        ("30 22 0:40 / /data rw - nfs host:/x rw,vers=3,local_lock=all", "local_lock=all"),
        ("30 22 0:40 / /data rw - nfs host:/x rw,vers=3,local_lock=flock", "local_lock=flock"),
        ("30 22 0:40 / /data rw - cifs //host/x rw", "cifs"),
        ("30 22 0:40 / /data rw - fuse.sshfs host:/x rw", "fuse.sshfs"),
        ("30 22 0:40 / /elsewhere rw - cifs //host/x rw", ""),
        ("30 22 0:40 / /dat rw - cifs //host/x rw", ""),
        ("damaged", ""),
    ],
)
def test_a_volume_that_keeps_locks_to_itself_is_named(line: str, word: str) -> None:
    warning = lock_warning("/data/reports", ROOT + line + "\n")
    assert (warning is None) == (word == "")
    assert word in (warning or "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("30 22 0:40 / /data rw - nfs4 host:/x rw,vers=4.2", "locks reach other hosts"),
        ("30 22 0:40 / /data rw - ceph host:/x rw", "locks reach other hosts"),
        ("30 22 0:40 / /data rw - cifs //host/x rw", "do not reach other hosts"),
        ("30 22 0:40 / /data rw - xfs /dev/vdb rw", "a volume of this host (xfs)"),
        ("30 22 0:40 / /data rw - nfs host:/x rw,nolock", "keeps locks on this host"),
        ("30 22 0:40 / /data rw - gpfs x rw", "whether locks on gpfs reach other hosts is unknown"),
    ],
)
def test_how_far_locks_reach_is_said_of_every_volume(line: str, words: str) -> None:
    assert words in lock_reach("/data/reports", ROOT + line + "\n")
    assert "unknown" in lock_reach("/data/reports", "")


def test_the_deepest_mount_and_of_equal_ones_the_last_counts() -> None:
    cifs = "30 22 0:40 / /data rw - cifs //host/x rw\n"
    ext4 = "31 30 0:41 / /data/reports rw - ext4 /dev/vdb rw\n"
    assert lock_warning("/data/reports/1", ROOT + ext4 + cifs) is None
    over = "32 30 0:42 / /data/reports rw - cifs //host/y rw\n"
    assert "cifs" in (lock_warning("/data/reports", ROOT + ext4 + over) or "")


def test_blanks_in_a_mount_point_are_understood() -> None:
    line = "30 22 0:40 / /my\\040data rw - cifs //host/x rw\n"
    assert "cifs" in (lock_warning("/my data/reports", ROOT + line) or "")
