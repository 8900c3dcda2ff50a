"""Faults of the volume: full, read-only, folders away, odd files, a journal that is damaged."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from soaking.plan import NotActed
from soaking.processing import Processing
from soaking.registry import PROCESSING, fault
from soaking.world import shows
from tests.support.made import UNUSABLE
from tests.support.volumes import remount
from tixd import errors
from tixd.directory import Folder
from tixd.reports.model import LOCK_FILE

#: Contents that no report may have, but for those that others give by their age or size.
_BAD = {name: content for name, (content, _) in UNUSABLE.items() if len(content) < 2**20}


@fault("faults 17", roles=PROCESSING)
def volume_full(world: Processing, random: Random) -> str:
    before = world.load.refused["ENOSPC"]
    world.fill_volume()
    proof = shows(lambda: world.load.refused["ENOSPC"] > before, "ENOSPC")
    time.sleep(random.uniform(1, 8))
    return f"{proof}, {world.load.refused['ENOSPC'] - before} reports refused"


@fault("faults 18", roles=PROCESSING)
def volume_read_only(world: Processing, random: Random) -> str:
    before = world.load.refused["EROFS"]
    _until_remounted(world)
    shows(lambda: world.load.refused["EROFS"] > before, "EROFS")
    time.sleep(random.uniform(1, 8))
    return f"EROFS, {world.load.refused['EROFS'] - before} reports refused"


def _until_remounted(world: Processing) -> None:
    """A volume becomes read-only only while nobody has a file open for writing."""
    ends = time.monotonic() + 20
    while True:
        try:
            return remount(world.volume, "ro")
        except subprocess.CalledProcessError as error:
            if time.monotonic() > ends:
                raise NotActed(f"mount: {error}") from error
        time.sleep(0.01)


@fault("faults 18", roles=PROCESSING)
def reports_folder_away(world: Processing, random: Random) -> str:
    before = world.load.refused["ENOENT"]
    return _away(world, world.base, random, before)


@fault("faults 18", "G4", roles=PROCESSING)
def installation_folder_away(world: Processing, random: Random) -> str:
    before = world.load.refused["ENOENT"]
    return _away(world, world.installation(random), random, before)


def _away(world: Processing, folder: Path, random: Random, before: int) -> str:
    elsewhere = world.volume / "away"
    os.rename(folder, elsewhere)
    try:
        shows(lambda: world.load.refused["ENOENT"] > before, "ENOENT", 20)
        time.sleep(random.uniform(0, 4))
    finally:
        if folder.exists():
            raise RuntimeError(f"somebody made {folder} anew")
        os.rename(elsewhere, folder)
    return f"{folder.name}: ENOENT, {world.load.refused['ENOENT'] - before} reports refused"


@fault("faults 12", "faults 13", "faults 14", "G3", "G5", "G9", roles=PROCESSING)
def unusable_report(world: Processing, random: Random) -> str:
    name = random.choice(sorted(_BAD))
    return shows(world.add_unusable(random, _BAD[name]).exists, f"in bad-reports: {name}")


@fault("faults 16", "G5", roles=PROCESSING)
def report_of_two_gigabytes(world: Processing, random: Random) -> str:
    """Most of it is a hole: the volume has no room for it."""
    return shows(world.add_unusable(random, b"{", 2**31).exists, "in bad-reports: 2 GiB")


@fault("faults 15", "G4", "G14", roles=PROCESSING)
def odd_files(world: Processing, random: Random) -> str:
    """What is no report at all, in the place of one; removed at the end."""
    folder = world.installation(random)
    path = folder / f"tix-report-{random.randrange(10**9, 15 * 10**8)}.json"
    make = random.choice([_pipe, _link, _folder, _odd_name])
    mark = world.mark(next(iter(world.roles.values())))
    path = make(path)
    try:
        time.sleep(4)
        if not os.path.lexists(path):
            raise RuntimeError(f"{path.name} was touched")
    finally:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    told = world.said(mark, "file_ignored", "warnings_omitted")
    return f"{make.__name__[1:]} left alone for 4 s, {'a' if told else 'no'} line in the log"


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _link(path: Path) -> Path:
    path.symlink_to("/etc/passwd")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _odd_name(path: Path) -> Path:
    odd = path.with_name("tix-report-\n1.json")
    odd.touch()
    return odd


@fault("G2", "faults 19", roles=PROCESSING, repeats=1)
def journal_damaged(world: Processing, random: Random) -> str:
    """Random bytes over a journal that nobody holds: one window of it may be posted again."""
    marks = [world.mark(role) for role in world.roles.values()]
    folder = world.installation(random)
    _while_free(folder, lambda path: _overwrite(path, random))
    os.utime(folder, (time.time() + 3600,) * 2)
    proof = f"{folder.parent.name}/1: journal_unreadable"
    return shows(lambda: any(world.said(mark, "journal_unreadable") for mark in marks), proof)


def _overwrite(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        file.write(random.randbytes(8192))


@fault("faults 4", "G4", roles=PROCESSING)
def installation_locked_by_another(world: Processing, random: Random) -> str:
    """Another process holds an installation, as a worker of another host does."""
    folder, seconds = world.installation(random), random.uniform(4, 8)
    held = []

    def hold(_: Path) -> None:
        posts = [post for post in world.api.posts if str(post.user) == folder.parent.name]
        time.sleep(seconds)
        later = [post for post in world.api.posts if str(post.user) == folder.parent.name]
        held.append(len(later) - len(posts))

    _while_free(folder, hold)
    if held != [0]:
        raise RuntimeError(f"{held} posts of {folder.parent.name}/1 while another had its lock")
    return f"{folder.parent.name}/1 locked for {seconds:.1f} s, no post of it meanwhile"


def _while_free(folder: Path, do: Callable[[Path], None]) -> None:
    """Do something while no worker has the installation."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        try:
            with Folder(str(folder)) as opened:
                file = opened.open_locked(LOCK_FILE)
                try:
                    return do(folder / LOCK_FILE)
                finally:
                    file.close()
        except errors.VolumeError:
            time.sleep(0.02)
    raise NotActed("the installation was never free")


@fault("G2", "G4", roles=PROCESSING)
def kept_result_unreadable(world: Processing, random: Random) -> str:
    """A kept result that was cut, or is none; it may hold up no other."""
    folder = world.installation(random) / "failed-results"
    marks = [world.mark(role) for role in world.roles.values()]
    folder.mkdir(exist_ok=True)
    file = folder / f"failed-report-{random.randrange(10**9, 15 * 10**8)}.json"
    file.write_bytes(random.choice([b"", b"{", b"[]", b'{"timestamp": 1}', random.randbytes(500)]))
    try:
        os.utime(folder.parent, (time.time() + 3600,) * 2)
        words = ("kept_result_unreadable", "failed_result_rejected")
        return shows(lambda: any(world.said(m, *words) for m in marks), "rejected, with a reason")
    finally:
        for path in world.base.glob(f"*/*/failed-results/**/{file.name}*"):
            path.unlink()
