"""What is measured on: reports that tixd.simulation makes, and real ones where they are present.

Real archives are looked for in $TIXD_SHARED/data/tix, or in shared/data/tix beside the project, as
the tests do; they are read, never copied into the project.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tixd.reports.decode import decode
from tixd.reports.window import next_step
from tixd.simulation.probing import PACKETS_PER_REPORT, LinkDirection, Scenario
from tixd.simulation.report_files import reports

#: Reports of a window at one packet a second without loss: 19 x 60 observations.
REPORTS_PER_WINDOW = 19

#: First epoch second of the first simulated installation: a full minute in November 2023.
_BEGIN = 1_700_000_040

_REAL = re.compile(r"/?(\d{10})/(tix-report-(\d+)\.json)")


#: Reports that each further window needs: the ones that the window before it consumes.
REPORTS_MORE = REPORTS_PER_WINDOW // 2

#: Different installations among many; the others are these again under ids of their own.
DIFFERENT = 20

#: Installations of a user.
PER_USER = 10


@dataclass(frozen=True, slots=True)
class Kept:
    """The report files of one installation, in memory: they can be laid out again and again."""

    user_id: int
    installation_id: int
    files: tuple[tuple[str, bytes], ...]

    def lay_out(self, base: Path) -> Path:
        """Write them below `base`, as the condenser leaves them; reports left there go first."""
        folder = base / str(self.user_id) / str(self.installation_id)
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("tix-report-*.json"):
            left.unlink()
        for name, content in self.files:
            (folder / name).write_bytes(content)
        return folder


def simulated(count: int, windows: int = 1) -> list[Kept]:
    """So many windows for each of `count` installations: lines, loads and clocks all differ."""
    return [_simulated(number, windows) for number in range(1, count + 1)]


def many(count: int, windows: int = 1) -> Iterator[Kept]:
    """The same for many installations, PER_USER of each user, of which only some differ."""
    different = simulated(min(count, DIFFERENT), windows)
    for number in range(count):
        yield _renumbered(different[number % DIFFERENT], *divmod(number, PER_USER))


def _renumbered(kept: Kept, user: int, installation: int) -> Kept:
    """The reports of another installation under these ids, counted from 0."""
    ids = b'"userId":%d,"installationId":%d}'
    old, new = ids % (kept.user_id, kept.installation_id), ids % (user + 1, installation + 1)
    files = tuple((name, content.replace(old, new)) for name, content in kept.files)
    return Kept(user + 1, installation + 1, files)


def _simulated(number: int, windows: int) -> Kept:
    scenario = Scenario(
        start=_BEGIN + number * 3600,
        duration_seconds=(REPORTS_PER_WINDOW + REPORTS_MORE * (windows - 1)) * PACKETS_PER_REPORT,
        upstream=LinkDirection(1e6, 1.0, (number % 11 / 10,)),
        downstream=LinkDirection(1e7, 0.2, (number % 7 / 6,)),
        propagation_seconds=0.01,
        jitter_seconds=0.0005,
        loss=0.0,
        client_offset_seconds=number * 60.0,
        client_skew_ppm=number % 41 - 20.0,
    )
    return Kept(1, number, tuple(reports(scenario, 0, 1, number, "192.0.2.1")))


def real() -> list[Kept]:
    """The first window's reports of each folder of the real archives; none where they are absent.

    Each folder is an installation of its own here, numbered as it is named.
    """
    shared = os.environ.get("TIXD_SHARED") or Path(__file__).resolve().parents[3] / "shared"
    found = sorted(Path(shared, "data", "tix").glob("batch-test-report*.tar.gz"))
    return [kept for archive in found for kept in _real_of(archive)]


def _real_of(path: Path) -> list[Kept]:
    folders: dict[str, list[tuple[int, str, bytes]]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            match = _REAL.fullmatch(member.name)
            file = archive.extractfile(member) if match else None
            if match and file:
                folders.setdefault(match[1], []).append((int(match[3]), match[2], file.read()))
    return [
        Kept(2, int(folder), _first_window([(name, content) for _, name, content in sorted(files)]))
        for folder, files in folders.items()
    ]


def _first_window(files: list[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """The files that make the first window, 19 mostly."""
    step = next_step(decode(name, content) for name, content in files)
    return tuple(files[: len(step.reports) if step else 0])


def file_system(path: Path) -> str:
    """The type of the file system that `path` lies on."""
    best, found = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point, kind = line.split()[4], line.partition(" - ")[2].split()[0]
        if path.resolve().is_relative_to(point) and len(point) >= len(best):
            best, found = point, kind
    return found
