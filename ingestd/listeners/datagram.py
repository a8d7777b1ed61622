"""A datagram socket of one worker: Unix datagram or UDP."""

import socket
from time import monotonic_ns, time_ns
from typing import Final

from ingestd.hotpath import intake as path
from ingestd.hotpath.intake import Datagram
from ingestd.listeners.room import Room, clock

READS_MAX: Final = 8
"""Reads per turn of the loop; then the others get it."""
GATHER_SECONDS: Final = 0.001
"""Pause between drains of a busy socket: datagrams gather, and one system call takes many. Halves the cost."""
GATHER_BUFFER_BYTES: Final = 400_000
"""The pause needs a receive buffer that holds what arrives in it: a small datagram takes up 768 bytes, and the kernel
reports twice what was asked for (socket(7)). The usual cap of net.core.rmem_max, fully used, is just enough."""
GATHER_QUEUE: Final = 256
"""Likewise the queue of a Unix path, in datagrams. The kernel's own is 10: senders would only stand and wait."""
_NOTEWORTHY: Final = path.SEALED | path.OPENED | path.BLOCKED | path.ERRNO | path.READ_MORE


def unix_queue() -> int:
    """How many datagrams a Unix socket made now would queue, counted as far as GATHER_QUEUE.

    It is tried: /proc/sys is hidden from a hardened service, and nothing else tells. Not on a pair of sockets: where
    each is the other's peer, the kernel sets no limit.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_UNIX, kind) as reader, socket.socket(socket.AF_UNIX, kind) as writer:
        reader.bind("")  # a name that nobody else knows (unix(7): autobind)
        writer.connect(reader.getsockname())
        for count in range(GATHER_QUEUE):
            try:
                writer.send(b"")
            except BlockingIOError:
                return count
    return GATHER_QUEUE


class DatagramSocket:
    """Reads one socket; where its listener blocks, what does not fit is kept and the socket is not read.

    ``queue``: how many datagrams it queues, if it is a Unix socket (:func:`unix_queue`).
    """

    def __init__(self, room: Room, sock: socket.socket, datagram: Datagram, queue: int) -> None:
        self._room = room
        self._socket = sock
        self._datagram = datagram
        self._reading = False
        self._just_reads = False
        """When the queue is empty nothing is to be done but to wait: the common case of a wake-up."""
        self._started = False
        self._parked = False
        self._draining = False
        self.drained = False
        if sock.family == socket.AF_UNIX:
            self._gathers = queue >= GATHER_QUEUE
        else:
            self._gathers = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= GATHER_BUFFER_BYTES

    def start(self) -> None:
        """Begins to read; where :meth:`drain` came first, only what is queued."""
        self._started = True
        if self._draining:
            self._room.loop.call_soon(self._readable)
        else:
            self._listen(wanted=True)

    def _listen(self, *, wanted: bool) -> None:
        if wanted == self._reading:
            return
        self._reading = wanted
        self._just_reads = wanted and not self._gathers and not self._draining
        if wanted:
            self._room.loop.add_reader(self._socket.fileno(), self._readable)
        else:
            self._room.loop.remove_reader(self._socket.fileno())

    def _readable(self) -> None:
        """Reads until the socket is empty or its turn is over."""
        if self._parked or self.drained:
            return
        took_some = False
        for _ in range(READS_MAX):
            flags = self._datagram.read(time_ns() // 1_000_000, monotonic_ns() // 1_000_000)
            if self._just_reads and not flags & _NOTEWORTHY:
                return
            self._room.note(flags)
            if flags & path.BLOCKED:
                self._park(flags)
                return
            if flags & path.ERRNO:
                self._room.hooks.errors(1)
            if flags & (path.AGAIN | path.ERRNO):
                self._empty(took_some)
                return
            took_some = True
            if not flags & path.READ_MORE:
                self._empty(took_some)
                return
        if not self._reading:
            self._room.loop.call_soon(self._readable)

    def _empty(self, took_some: bool) -> None:
        """The queue was read to its end: waits for the next datagram, or first lets some gather."""
        if self._draining:
            self._listen(wanted=False)
            self.drained = True
        elif took_some and self._gathers:
            self._listen(wanted=False)
            self._room.loop.call_later(GATHER_SECONDS, self._readable)
        else:
            self._listen(wanted=True)

    def _park(self, flags: int) -> None:
        self._parked = True
        self._listen(wanted=False)
        self._room.park(self, flags, self._datagram.blocked_reason, -1)

    def resume(self) -> bool:
        """Goes on with what is held; False: it is blocked again."""
        if not self._parked:
            return True
        self._parked = False
        now_ms, tick_ms = clock()
        flags = self._datagram.resume(now_ms, tick_ms)
        self._room.note(flags)
        if flags & path.BLOCKED:
            self._park(flags)
            return False
        self._room.loop.call_soon(self._readable)
        return True

    @property
    def drops_seen(self) -> int:
        """The kernel's drop count when this process began to read, or as far as it was booked since."""
        return self._datagram.drops_seen

    def poll_drops(self, now_ms: int, tick_ms: int) -> int:
        """Books what the kernel dropped; returns its count since the socket was made, as far as it is booked."""
        return self._datagram.poll_drops(now_ms, tick_ms)

    def drain(self) -> None:
        """Reads what the kernel has queued up to now, then nothing more."""
        self._draining = True
        self._just_reads = False
        if self._started:
            self._room.loop.call_soon(self._readable)

    def close(self) -> None:
        """Stops reading; the socket belongs to the supervisor."""
        if self._draining and not self._started:
            # Its topics have not become known in time. What a turn reads is refused for that, and counted.
            self._readable()
        self._listen(wanted=False)
        self.drained = True
        self._room.forget(self)
        now_ms, tick_ms = clock()
        self._room.note(self._datagram.finish(now_ms, tick_ms))
