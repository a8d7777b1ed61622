"""The sockets of a worker, opened from its plan: every stream listener with its sessions, every datagram socket."""

import socket

from ingestd.config.model import Listener
from ingestd.config.plan import WorkerPlan, own_path
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Stream
from ingestd.listeners.connection import Connection
from ingestd.listeners.conversation import Conversation, Terms
from ingestd.listeners.datagram import DatagramSocket, unix_queue
from ingestd.listeners.room import Room, clock, own_paths_of
from ingestd.listeners.sessions import Sessions
from ingestd.listeners.stream import Greet, ReserveDescriptor, StreamListener
from ingestd.metrics import Ledger
from ingestd.scoreboard import SOCKET_DROPS_MAX, Row
from ingestd.worker.answers import Answers
from ingestd.worker.specs import listener_spec
from ingestd.worker.topics import Topics


def topics_of(listener: Listener) -> tuple[str, ...]:
    """Names of the topics that its records may go to."""
    return listener.topics if listener.topic is None else (*listener.topics, listener.topic)


class Doors:
    """Where records come in."""

    def __init__(self, plan: WorkerPlan, arena: Arena, room: Room, topics: Topics, answers: Answers) -> None:
        self._plan = plan
        self._arena = arena
        self._room = room
        self._topics = topics
        self._reserve = ReserveDescriptor()
        self._sockets: list[socket.socket] = []
        self._streams: dict[int, StreamListener] = {}
        self._datagrams: list[DatagramSocket] = []
        self.sessions = Sessions(arena, plan.index, plan.workers, answers.buffered, answers.unsettled)
        for index, listener in enumerate(plan.config.listeners):
            room.intake.add_listener(listener_spec(index, listener, topics.index))

    def open(self, row: Row) -> None:
        """Accepts from now on, and reads datagrams once their topics have partition counts; books what the kernel
        dropped since a predecessor has looked.
        """
        queue = unix_queue()
        for entry in self._plan.sockets:
            inherited = socket.socket(fileno=entry.fd)
            inherited.set_inheritable(False)
            inherited.setblocking(False)
            self._sockets.append(inherited)
            listener = self._plan.config.listeners[entry.listener]
            if entry.role == "datagram":
                reader = self._room.intake.datagram(entry.fd, entry.listener)
                datagram = DatagramSocket(self._room, inherited, reader, queue)
                if len(self._datagrams) < SOCKET_DROPS_MAX:
                    missed = datagram.drops_seen - row.socket_drops(len(self._datagrams)) & 0xFFFF_FFFF
                    # The kernel's counter has 32 bits; half of them is as much as can be told from a step back.
                    if 0 < missed < 1 << 31:
                        self._arena.book(Ledger.KERNEL_DROPPED, missed)
                self._datagrams.append(datagram)
                topics_by_index = {self._topics.index[name]: name for name in topics_of(listener)}
                self._topics.first_counts.await_counts(listener.name, topics_by_index, datagram.start)
            else:
                self._stream_listener(entry.listener, listener).listen(inherited)

    def _stream_listener(self, index: int, listener: Listener) -> StreamListener:
        found = self._streams.get(index)
        if found is None:
            begin = self._conversations(listener) if listener.format == "frames" else None
            found = StreamListener(self._room, self._reserve, listener.name, index, listener.connections_max, begin)
            self._streams[index] = found
        return found

    def _conversations(self, listener: Listener) -> Greet:
        terms = Terms(
            topics={name.encode(): self._topics.index[name] for name in topics_of(listener)},
            record_bytes_max=listener.record_bytes_max,
            own_paths=own_paths_of([own_path(listener.address.path, n) for n in range(self._plan.workers)]),
        )

        def begin(connection: Connection, stream: Stream) -> None:
            connection.conversation = Conversation(stream, self.sessions, self._arena, terms, connection)

        return begin

    def sweep(self, row: Row, now_ms: int, tick_ms: int) -> None:
        """Once a second: stalled frames, and what the kernel has dropped."""
        for stream in self._streams.values():
            stream.sweep(tick_ms)
        self._book_drops(row, now_ms, tick_ms)

    def _book_drops(self, row: Row, now_ms: int, tick_ms: int) -> None:
        """What a successor must not book again stands in the row."""
        for position, datagram in enumerate(self._datagrams):
            drops = datagram.poll_drops(now_ms, tick_ms)
            if position < SOCKET_DROPS_MAX:
                row.set_socket_drops(position, drops)

    def drain(self) -> None:
        """Takes in what was sent up to now, then nothing more."""
        for stream in self._streams.values():
            stream.drain()
        for datagram in self._datagrams:
            datagram.drain()

    @property
    def drained(self) -> bool:
        return all(stream.drained for stream in self._streams.values()) and all(
            datagram.drained for datagram in self._datagrams
        )

    def close(self, row: Row) -> None:
        """Ends all connections."""
        self._book_drops(row, *clock())
        for stream in self._streams.values():
            stream.close()
        for datagram in self._datagrams:
            datagram.close()
        self._reserve.close()
