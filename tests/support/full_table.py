"""A full table of the Internet's ranges: the npm package @ip-location-db/asn, for tests only.

Its data is not part of the project: it is installed into a folder of the test, where npm and its
registry can be reached; else the test is reported as not run.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = "@ip-location-db/asn"

#: How long npm may take.
_INSTALL_SECONDS = 180


def full_table(folder: Path) -> tuple[Path, Path]:
    """Its CSV ranges of IPv4 and of IPv6; skips the test where they cannot be had."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip(f"not run: no npm here to install {PACKAGE}")
    words = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(
            [*words, PACKAGE], capture_output=True, text=True, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"not run: npm did not install {PACKAGE} within {_INSTALL_SECONDS} s")
    if done.returncode:
        pytest.skip(f"not run: npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}")
    package = folder / "node_modules" / PACKAGE
    return package / "asn-ipv4.csv", package / "asn-ipv6.csv"
