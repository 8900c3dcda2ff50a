"""Observations: one numpy structured array from a report's bytes to the result.

`OBSERVATION` is the row as it stands in a report's message, so decoding copies nothing; columns
are turned into native integers once, when a window is analysed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: One packet's record on the wire, 45 bytes, big-endian (client log format of TiX).
#: second: epoch second of reception; kind: b"S" or b"L"; size: bytes of the packet;
#: t1 client sends, t2 server receives, t3 server sends back, t4 client receives: nanoseconds
#: since local midnight of whoever notes it.
OBSERVATION = np.dtype(
    [
        ("second", ">i8"),
        ("kind", "u1"),
        ("size", ">i4"),
        ("t1", ">i8"),
        ("t2", ">i8"),
        ("t3", ">i8"),
        ("t4", ">i8"),
    ]
)

#: The two kinds that tixd knows, as bytes: S for short packets, L for long ones.
SHORT, LONG = ord("S"), ord("L")

#: An array of OBSERVATION rows, shape (n,).
Observations = npt.NDArray[np.void]
