"""The admin process: its socket, and the slot in which it lives. Watched like a worker, but nothing hangs on it."""

import errno
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from ingestd.config import admin_address
from ingestd.config.admin_address import AdminAddress
from ingestd.errors import ConfigurationError, Fault, HostError, HostResourceInUseError
from ingestd.scoreboard import Row
from ingestd.supervisor.processes import PYTHON, PidfdChild
from ingestd.supervisor.restarts import Restarts
from ingestd.supervisor.slot import Slot
from ingestd.supervisor.sockets import NOBODY, Bound, Patience, adopt, bind_path, port_pid

COMMAND: Final = (*PYTHON, "-m", "ingestd.admin")
MODE: Final = 0o660
"""Of a Unix socket: owner and group of the daemon."""
BACKLOG: Final = 64
STOP_TIMEOUT_MS: Final = 1_000
STARTING_SILENT_MS: Final = 30_000


def bind_admin(listen: str, descriptors: Sequence[int], *, wait_ms: int = 0) -> Bound:
    """The socket of ``admin.listen``: bound, or the inherited one. HostResourceInUseError names who keeps it."""
    address = admin_address.parse(listen)
    if len(descriptors) > 1:
        raise _wrong_socket(address, "two sockets of this name")
    if descriptors:
        return _adopt(address, descriptors[0])
    return Patience(wait_ms).bind(partial(_bind, address))


def _bind(address: AdminAddress) -> Bound:
    if not address.path:
        return Bound(-1, "admin", NOBODY, _bind_port(address), "", ours=True)
    fresh = bind_path(address.path, socket.SOCK_STREAM, MODE)
    return Bound(-1, "admin", NOBODY, fresh, address.path, ours=True, inode=Path(address.path).lstat().st_ino)


def _bind_port(address: AdminAddress) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise HostError(f"cannot find the host of admin.listen = {address}: {error.strerror}") from error
    family, _, _, _, where = found[0]
    fresh = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        fresh.bind(where)
        fresh.listen(BACKLOG)
    except OSError as error:
        fresh.close()
        if error.errno == errno.EADDRINUSE:
            owner_pid = port_pid("tcp", (str(where[0]), int(where[1])))
            raise HostResourceInUseError(f"admin.listen = {address}", owner_pid) from error
        raise HostError(f"cannot bind admin.listen = {address}: {error.strerror}") from error
    return fresh


def _adopt(address: AdminAddress, descriptor: int) -> Bound:
    families = (socket.AF_UNIX,) if address.path else (socket.AF_INET, socket.AF_INET6)
    wrong = partial(_wrong_socket, address)
    adopted = adopt(descriptor, families, socket.SOCK_STREAM, address.path, address.port, wrong)
    return Bound(-1, "admin", NOBODY, adopted, address.path, ours=False)


def _wrong_socket(address: AdminAddress, text: str) -> ConfigurationError:
    cure = f"Make the socket unit listen on {address}, or change admin.listen."
    return ConfigurationError([Fault("daemon.admin.listen", str(address), text, cure)])


def admin_slot(bound: Bound, row: Row, scoreboard_path: Path, supervisor_pid: int) -> Slot:
    """The slot of the process that serves ``bound``; it gets two descriptors and the name of the scoreboard."""

    def spawn(_: int) -> PidfdChild:
        def command(status_fd: int) -> list[str]:
            numbers = {
                "--socket-fd": bound.socket.fileno(),
                "--status-fd": status_fd,
                "--supervisor-pid": supervisor_pid,
                "--scoreboard": scoreboard_path,
            }
            return [*COMMAND, *(str(word) for pair in numbers.items() for word in pair)]

        return PidfdChild.spawn(command, [bound.socket.fileno()])

    return Slot(
        0,
        row,
        spawn,
        stop_timeout_ms=STOP_TIMEOUT_MS,
        starting_silent_ms=STARTING_SILENT_MS,
        name="the admin process",
        restarts=Restarts(helper=True),
    )
