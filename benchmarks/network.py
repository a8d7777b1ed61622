"""A network of the run's own: nothing but loopback, and in it the queue length of Unix datagram sockets.

A Unix datagram socket's queue is as long as net.unix.max_dgram_qlen was when the socket was made: 10 where nobody says
otherwise, 512 on a host that systemd has started. It decides how often sender and reader have to wake each other.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

QUEUE: Final = Path("/proc/sys/net/unix/max_dgram_qlen")
QUEUE_OF_SYSTEMD: Final = 512
_CLONE_NEWNET: Final = 0x4000_0000
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


def enter(queue: int) -> int:
    """Moves this process, and what it starts from now on, into a network of its own; returns the queue length there.

    That needs root. Without it this process stays where it is, with the host's queue length.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) == 0:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
        QUEUE.write_text(str(queue))
    elif os.geteuid() == 0:
        raise OSError(ctypes.get_errno(), "no network of its own for this run")
    return int(QUEUE.read_text())
