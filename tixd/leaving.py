"""How a process ends that has left worker processes behind.

In: an exit code. Out: the end. Rules: `multiprocessing` would wait at the end of Python for every
process that it has started, but one that is stuck in the kernel, as on a volume that hangs, may
never end; it does so by itself as soon as the volume answers, for it has been killed already.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process now; what has been written to its streams and log goes out first."""
    sys.stdout.flush()
    logging.shutdown()
    os._exit(code)
