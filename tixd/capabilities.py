"""What a process may do beyond what its user may: the kernel's capabilities(7).

In: numbers of capabilities. Out: a process that has these of them that it had, and no others, and
whose children get no more. Rules: Python has no call for it, so libc's are called; nothing that is
executed from then on brings new rights (PR_SET_NO_NEW_PRIVS).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

#: Read, write and enter what belongs to others, whatever its mode (linux/capability.h).
DAC_OVERRIDE = 1

#: Delete in folders with the sticky bit, and set modes, as the owner may.
FOWNER = 3

#: Listen on a port below 1024.
NET_BIND_SERVICE = 10

#: Versions of capget(2) and capset(2) that know capabilities of 64 bits, in two halves.
_VERSION_3 = 0x20080522

#: prctl(2): children and programs that are executed get no more than this process has.
_SET_NO_NEW_PRIVS = 38


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def keep_only(wanted: Iterable[int]) -> None:
    """Give up all others for good; raises OSError where the kernel or a filter refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl, _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, halves = _Header(_VERSION_3, 0), (_Half * 2)()
    _call(libc.capget, ctypes.byref(header), halves)
    mask = sum(1 << number for number in wanted)
    for half in halves:
        half.permitted &= mask & 0xFFFFFFFF
        half.effective, half.inheritable = half.permitted, 0
        mask >>= 32
    _call(libc.capset, ctypes.byref(header), halves)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
