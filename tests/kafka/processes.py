"""Child processes that cannot outlive the test run, and ports that nobody else takes."""

import ctypes
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent(parent_pid: int) -> None:
    """Between fork and exec: the kernel kills this process when pytest dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def spawn(
    command: Sequence[str], *, output: Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts ``command`` with stdout and stderr appended to ``output``; it is killed when the calling process dies.

    Call it from the main thread: the kernel looks at the thread that forked.
    """
    parent_pid = os.getpid()
    with output.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **environment} if environment is not None else None,
            preexec_fn=lambda: _die_with_parent(parent_pid),
        )


def free_ports(count: int) -> list[int]:
    """``count`` loopback ports that are free now and stay free.

    They lie below the range from which the kernel takes source ports. A port from that range can be lost while its
    broker is down: a client that keeps connecting to it is sooner or later given that very port as its own source, is
    connected to itself, and the broker cannot bind it again.
    """
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    highest = lowest_ephemeral if lowest_ephemeral > 12000 else 65000
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(candidate)
            try:
                candidate.bind(("127.0.0.1", random.randrange(10000, highest)))
            except OSError:
                held.pop().close()
        return [candidate.getsockname()[1] for candidate in held]
    finally:
        for candidate in held:
            candidate.close()


def tail(path: Path, lines: int = 40) -> str:
    """The last lines of a log file, for the report of a failure."""
    if not path.exists():
        return f"{path} does not exist\n"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) + "\n"
