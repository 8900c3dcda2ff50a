"""Programs for users who may not look into root's home, where Python or the checkout may lie."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.program import ROOT

#: In a mount namespace: the folders $3... are seen in an otherwise empty $2 that all may enter.
_OPEN = """
stage=$(mktemp -d) && n=0
closed=$1 && shift
for folder in "$@"; do
  [ "$folder" = -- ] && break
  n=$((n + 1)) && mkdir "$stage/$n" && mount --bind "$folder" "$stage/$n"
done
mount -t tmpfs -o mode=755 tmpfs "$closed" && n=0
while [ "$1" != -- ]; do
  n=$((n + 1)) && mkdir -p "$1" && mount --move "$stage/$n" "$1" && rmdir "$stage/$n" && shift
done
rmdir "$stage" && shift && exec "$@"
"""


def by_all() -> tuple[str, ...]:
    """What stands before a command (of root) so that every user may run Python and the checkout."""
    needed = [Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT]
    closed = {folder: _closed(folder) for folder in dict.fromkeys(needed)}
    shut = sorted({top for top in closed.values() if top})
    if not shut:
        return ()
    assert len(shut) == 1, f"several folders are closed to others: {shut}"
    inner = [str(folder) for folder, top in closed.items() if top]
    words = ("unshare", "--mount", "--propagation", "private", "sh", "-euc", _OPEN, "sh")
    return (*words, str(shut[0]), *inner, "--")


def _closed(folder: Path) -> Path | None:
    """The topmost folder above that others may not enter."""
    tops = [top for top in (*reversed(folder.parents), folder) if not top.stat().st_mode & 0o001]
    return tops[0] if tops else None
