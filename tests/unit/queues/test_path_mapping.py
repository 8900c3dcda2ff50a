"""Paths in messages of other hosts: under the base, or refused."""

from __future__ import annotations

import pytest

from tixd.errors import BadTask
from tixd.queues.celery_message import InstallationTask, PathMapping, ScanTask


@pytest.mark.parametrize(
    ("path", "sender_base", "base"),
    [
        ("/r/1/2", "/r", "/r"),
        ("/r/1/2/", "/r/", "/r"),
        ("/r//1/2", "/r", "/r//"),
        ("/tmp/reports/1/2", "/tmp/reports", "/r"),
        ("/r/1/2", "/tmp/reports", "/r"),
    ],
)
def test_a_path_under_either_base_is_one_under_the_own(
    path: str, sender_base: str, base: str
) -> None:
    found = PathMapping(base, sender_base).translate(InstallationTask("t", path, 1, 2))
    assert found == base.rstrip("/") + "/1/2"


def test_the_root_of_a_volume_can_be_the_base() -> None:
    assert PathMapping("/", "/").translate(InstallationTask("t", "/1/2", 1, 2)) == "/1/2"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/1/2",
        "/r/1/3",
        "/r/2/1",
        "/r/1/2/3",
        "/r/1",
        "/r",
        "r/1/2",
        "/r/../r/1/2",
        "/r/1/../1/2",
        "/r/./1/2",
        "/r/01/2",
        "/tmp/reports/../../r/1/2",
        "/R/1/2",
    ],
)
def test_a_path_elsewhere_or_of_another_installation_is_refused(path: str) -> None:
    with pytest.raises(BadTask, match="not the folder of 1/2 under the base"):
        PathMapping("/r", "/tmp/reports").translate(InstallationTask("t", path, 1, 2))


def test_a_base_is_the_own_one_or_the_senders() -> None:
    paths = PathMapping("/r", "/tmp/reports")
    for named in ("/r", "/r/", "/tmp/reports", "/tmp//reports/"):
        paths.check_base(ScanTask("t", named))
    for named in ("/", "/r/1", "/tmp", "r", "/r/..", "/tmp/reports/../../etc"):
        with pytest.raises(BadTask, match="not the base"):
            paths.check_base(ScanTask("t", named))
