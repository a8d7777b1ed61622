"""``python -m ingestd.admin``: the admin process; only the supervisor starts it.

It maps the scoreboard for reading, serves the socket that it was given, and says so: ``ready``, then ``beat`` once a
second, into the pipe to the supervisor.
"""

import argparse
import asyncio
import faulthandler
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from ingestd import prctl
from ingestd.admin.server import CONNECTIONS_MAX, Server
from ingestd.admin.site import Answer, Site
from ingestd.errors import ExitStatus
from ingestd.log import configure_from_environment
from ingestd.scoreboard import Reader

BEAT_SECONDS: Final = 1.0
_OPEN_FILES_MAX: Final = CONNECTIONS_MAX + 64


def main() -> int:
    """Serves until SIGTERM."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="ingestd.admin")
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--status-fd", type=int, required=True)
    parser.add_argument("--supervisor-pid", type=int, required=True)
    parser.add_argument("--scoreboard", type=Path, required=True)
    arguments = parser.parse_args()
    configure_from_environment("admin")
    prctl.die_with_parent(arguments.supervisor_pid)
    prctl.set_name("ingestd-admin")
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES_MAX, _OPEN_FILES_MAX))
    for file_descriptor in (arguments.socket_fd, arguments.status_fd):
        os.set_inheritable(file_descriptor, False)
    os.set_blocking(arguments.status_fd, False)
    with Reader.open(arguments.scoreboard) as board:
        asyncio.run(_serve(Site(board), socket.socket(fileno=arguments.socket_fd), arguments.status_fd))
    return int(ExitStatus.DONE)


async def _serve(site: Site, listening: socket.socket, status_fd: int) -> None:
    def answer(path: str, accept: str) -> Answer:
        return site.answer(path, accept, time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)

    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = Server(answer)
    listening.setblocking(False)
    await server.start(listening)
    _tell(status_fd, b"ready\n")
    while not stopping.is_set():
        _tell(status_fd, b"beat\n")
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await stopping.wait()
        except TimeoutError:
            continue
    server.close()


def _tell(status_fd: int, line: bytes) -> None:
    """A supervisor that does not read for hours has other troubles than a full pipe."""
    with suppress(BlockingIOError):
        os.write(status_fd, line)


if __name__ == "__main__":
    sys.exit(main())
