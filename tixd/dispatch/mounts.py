"""Checks that the reports folder is there, and whether locks on its volume reach other hosts."""

from __future__ import annotations

import os
import re

from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.directory import why_no_base

#: File systems whose locks stay on this host, whatever their options.
_LOCAL_TYPES = frozenset({"cifs", "smb3", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"})

#: File systems of several hosts, whose locks reach them all unless an option says otherwise.
_SHARED_TYPES = frozenset(
    {"nfs", "nfs4", "ceph", "fuse.ceph", "fuse.glusterfs", "lustre", "gfs2", "ocfs2", "beegfs"}
)

#: File systems of one host, in memory or on its disks. Of others it is not known.
_HOST_TYPES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "ramfs", "overlay"}
)

#: Mount options that keep locks on this host (nfs(5)).
_LOCAL_OPTIONS = frozenset({"nolock", "local_lock=all", "local_lock=flock"})


def check_reports_folder(settings: Settings) -> None:
    """Check the reports folder before the start; raises CannotStart where it is missing."""
    base = settings.reports_base_path
    if problem := why_no_base(base):
        raise errors.CannotStart(f"reports folder {problem}")
    warning = lock_warning(base, read_mountinfo())
    if warning:
        logs.warning("locks_not_shared", folder=base, reason=warning)


def lock_warning(path: str, mountinfo: str) -> str | None:
    """Return why several hosts cannot share the reports at `path`; None where they can."""
    kind, options = _mount_of(os.path.realpath(path), mountinfo)
    if kind in _LOCAL_TYPES:
        return f"locks on {kind} do not reach other hosts: let one host alone work on it"
    local = sorted(_LOCAL_OPTIONS & options)
    if local:
        return f"mount option {local[0]} keeps locks on this host: let one host alone work on it"
    return None


def lock_reach(path: str, mountinfo: str) -> str:
    """Describe how far locks on the volume of `path` reach, for check-config."""
    if warning := lock_warning(path, mountinfo):
        return warning
    kind, _ = _mount_of(os.path.realpath(path), mountinfo)
    if kind in _SHARED_TYPES:
        return "locks reach other hosts"
    if kind in _HOST_TYPES:
        return f"a volume of this host ({kind})"
    on_it = f" on {kind}" if kind else ""
    return f"whether locks{on_it} reach other hosts is unknown"


def read_mountinfo() -> str:
    """Return the kernel's list of mounts, empty where there is none."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _mount_of(path: str, mountinfo: str) -> tuple[str, frozenset[str]]:
    """Return file system type and options of the mount of `path`: the deepest, then the last."""
    best = -1
    found = ("", frozenset[str]())
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, behind = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(behind) < 3:
            continue
        point = _unescaped(fields[4])
        if _lies_below(path, point) and len(point) >= best:
            options = frozenset(fields[5].split(",")) | frozenset(behind[2].split(","))
            best = len(point)
            found = (behind[0], options)
    return found


def _lies_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """Decode the octal numbers that the kernel writes for blanks and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
