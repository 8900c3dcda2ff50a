"""What folders say of installations while somebody removes one of them."""

import shutil

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
