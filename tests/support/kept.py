"""Reports that somebody kept: made ones in folders and in archives, for tests of reading them."""

from __future__ import annotations

import functools
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tixd.simulation.probing import Direction, Scenario
from tixd.simulation.report_files import reports

#: When the first made report begins.
START = 1_700_000_000

_SCENARIO = Scenario(
    start=START,
    duration_seconds=31 * 61,
    upstream=Direction(1e6, 0.3, (0.1,)),
    downstream=Direction(10e6, 0.15, (0.5,)),
    propagation_seconds=0.01,
    jitter_seconds=0.0005,
    loss=0.0,
    client_offset_seconds=0.0,
    client_skew_ppm=0.0,
)


@functools.cache
def made_reports(source: str = "192.0.2.1") -> tuple[tuple[str, bytes], ...]:
    """Name and content of 31 reports of 60 observations each: two windows, of 19 reports each."""
    return tuple(reports(_SCENARIO, 1, 1, 1, source))


def lay_out(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write the files into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        (folder / name).write_bytes(content)
    return folder


def member(name: str, content: bytes = b"", **header: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive; `header` overrides fields of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in header.items():
        setattr(info, field, value)
    return info, content


def pack(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write a .tar.gz of these members as they are, sensible or not."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path
