"""A Unix stream listener of one worker: accepts on its sockets, bounds what connections may cost."""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from ingestd.hotpath.intake import Stream
from ingestd.listeners.connection import Connection
from ingestd.listeners.room import Room

logger = logging.getLogger(__name__)

ACCEPTS_MAX: Final = 4
"""Connections taken per wake-up: all workers wait on the shared path, and the others should get some too."""
_OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Greet = Callable[[Connection, Stream], None]


class ReserveDescriptor:
    """A descriptor kept back, so that a connection can still be taken, and closed, when there are no others.

    Without it such a connection would stay in the backlog and wake the loop for ever.
    """

    def __init__(self) -> None:
        self._fd = self._open()

    @staticmethod
    def _open() -> int:
        try:
            return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def turn_away(self, listening: socket.socket) -> None:
        """Takes one connection and closes it."""
        if self._fd >= 0:
            os.close(self._fd)
        with contextlib.suppress(OSError):
            listening.accept()[0].close()
        self._fd = self._open()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class StreamListener:
    """The sockets of one listener that this worker accepts on (the shared path's and its own), and its connections.

    ``begin`` completes a fresh connection where the format has a conversation.
    """

    def __init__(
        self,
        room: Room,
        reserve: ReserveDescriptor,
        name: str,
        index: int,
        connections_max: int,
        begin: Greet | None,
    ) -> None:
        self._room = room
        self._reserve = reserve
        self._name = name
        self._index = index
        self._connections_max = connections_max
        self._begin = begin
        self._sockets: list[socket.socket] = []
        self._next_number = 1
        self.connections: set[Connection] = set()

    def listen(self, listening: socket.socket) -> None:
        """Accepts on ``listening`` from now on; the socket itself belongs to the supervisor."""
        listening.setblocking(False)
        self._sockets.append(listening)
        self._room.loop.add_reader(listening.fileno(), self._acceptable, listening)

    def _acceptable(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_MAX):
            if not self._accept(listening):
                return

    def _accept(self, listening: socket.socket) -> bool:
        """Takes one connection; False: there is none (another worker was faster), or none can be had now."""
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _OUT_OF_FILES:
                raise
            self._room.hooks.errors(1)
            logger.error(
                "listener %s: no descriptor left for a connection (raise LimitNOFILE); turned away", self._name
            )
            self._reserve.turn_away(listening)
            return False
        if len(self.connections) >= self._connections_max:
            self._room.hooks.errors(1)
            logger.warning(
                "listener %s: connections_max = %d reached: one turned away", self._name, self._connections_max
            )
            accepted.close()
            return True
        accepted.setblocking(False)
        self._open(accepted)
        return True

    def _open(self, accepted: socket.socket) -> None:
        stream = self._room.intake.stream(accepted.fileno(), self._index, self._next_number)
        self._next_number = self._next_number % 0xFFFF_FFFF + 1
        connection = Connection(self._room, accepted, stream, self._closed)
        self.connections.add(connection)
        self._room.hooks.connections(1)
        if self._begin is not None:
            self._begin(connection, stream)
        connection.start()

    def _closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._room.hooks.connections(-1)
        if connection.spoke_otherwise:
            logger.warning(
                "listener %s: what a sender has written was no frame (whoever writes lines needs a listener of lines)",
                self._name,
            )

    def sweep(self, tick_ms: int) -> None:
        """Once a second: ends connections whose unfinished frame or line makes no progress, or whose peer is gone."""
        for connection in list(self.connections):
            if connection.overdue(tick_ms):
                logger.warning("listener %s: closed a connection whose record did not arrive in time", self._name)
                connection.stalled()
            elif connection.abandoned:
                connection.close()

    def drain(self) -> None:
        """Takes what waits in the backlogs, then nothing more; all connections are read to their end."""
        for listening in self._sockets:
            self._room.loop.remove_reader(listening.fileno())
            while len(self.connections) < self._connections_max and self._accept(listening):
                pass
        for connection in list(self.connections):
            connection.drain()

    @property
    def drained(self) -> bool:
        """Whether all that was sent on its connections was taken in."""
        return all(connection.drained for connection in self.connections)

    def close(self) -> None:
        """Closes what is still open."""
        for connection in list(self.connections):
            connection.close()
