"""The description.yml of the shared archives."""

from __future__ import annotations

import tarfile

from tests.support.shared import shared_data


def of_experiment(experiment: str) -> bytes:
    """The content of an archive's description.yml."""
    with tarfile.open(shared_data(f"tix/{experiment}.tar.gz")) as archive:
        member = next(each for each in archive if each.name.endswith("description.yml"))
        return archive.extractfile(member).read()
