"""What only prctl(2) can ask of the kernel."""

import ctypes
import os
import signal
from typing import Final

from ingestd.errors import DaemonError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


def _prctl(option: int, argument: int | bytes) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    if library.prctl(option, value, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def die_with_parent(parent_pid: int) -> None:
    """The kernel kills this process when its parent dies; DaemonError if that has happened already.

    SIGKILL, since nothing accepted can be lost by it, and a successor must not find us alive.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise DaemonError(f"the supervisor (pid {parent_pid}) is gone")


def set_name(name: str) -> None:
    """How ps and top call this process (at most 15 bytes)."""
    _prctl(_PR_SET_NAME, name.encode()[:15])
