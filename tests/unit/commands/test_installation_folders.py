"""What folders say of installations while somebody removes one of them."""

import shutil

import pytest

from tests.support import made
from tixd.commands.installation_folders import walked


def test_an_installation_that_is_removed_meanwhile_hides_no_other(tmp_path):
    for user, number in [(7, 1), (7, 2), (7, 3), (8, 1)]:
        made.installation(tmp_path, 1_700_000_000, reports=1, user=user, number=number)
    found = walked(str(tmp_path))
    seen = [next(found)]
    shutil.rmtree(tmp_path / "7/2")
    seen += found
    assert [(state.user, state.installation) for state in seen] == [(7, 1), (7, 3), (8, 1)]


@pytest.mark.parametrize("second", [10**12, 10**18, 10**19 - 1, 10**19])
def test_a_report_may_be_named_by_no_second(tmp_path, second):
    folder = made.installation(tmp_path, 1_700_000_000, reports=2)
    (folder / f"tix-report-{second}.json").write_bytes(b"{}")
    [state] = walked(str(tmp_path))
    assert (state.reports, state.newest) == (3, 1_700_000_060)


def test_what_the_daemon_ignores_is_no_installation(tmp_path):
    made.installation(tmp_path, 1_700_000_000, reports=1)
    for name in ("0", "01", "9" * 200, "-1"):
        shutil.copytree(tmp_path / "1", tmp_path / name)
    (tmp_path / "77").symlink_to(tmp_path / "1")
    assert [(state.user, state.installation) for state in walked(str(tmp_path))] == [(1, 2)]
