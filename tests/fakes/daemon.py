"""A small daemon that speaks the native protocol over a real Unix socket, and does what a test tells it.

It reads frames with code of its own, keeps sessions and everything it accepted across restarts, and can end a
connection at any byte in either direction. One thread per connection; all state behind one lock.
"""

import contextlib
import itertools
import socket
import struct
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ingestd.client import answers
from ingestd.client.answers import Run

HELLO, RECORDS, TOPIC, CONFIRM, CLOSE = 1, 2, 3, 4, 5
PARTITIONS = 3


@dataclass
class Taken:
    """A record that was accepted."""

    sequence: int
    topic: str
    partition: int | None
    timestamp_ms: int | None
    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    value: bytes | None


@dataclass
class FakeSession:
    session_id: bytes
    last_accepted: int = 0
    records: list[Taken] = field(default_factory=list)
    undelivered: list[Taken] = field(default_factory=list)
    rejections: dict[int, int] = field(default_factory=dict)
    connection: "Connection | None" = None


def read_records(body: bytes, flags: int, topics: dict[int, str]) -> list[Taken]:
    """The records of a RECORDS frame, read as PROTOCOL.md says."""
    topic_id, _, count, sequence = struct.unpack_from("<HHIQ", body)
    at = 16
    if flags & 1:
        (size,) = struct.unpack_from("<H", body, at)
        topic = body[at + 2 : at + 2 + size].decode()
        at += 2 + size
    else:
        topic = topics[topic_id]
    records = []
    for index in range(count):
        (length,) = struct.unpack_from("<I", body, at)
        records.append(_read_record(body[at + 4 : at + 4 + length], sequence + index, topic))
        at += 4 + length
    if at != len(body):
        raise AssertionError(f"{len(body) - at} bytes behind the records")
    return records


def _read_record(data: bytes, sequence: int, topic: str) -> Taken:
    flags, at = data[0], 1
    partition = timestamp_ms = key = None
    headers: list[tuple[str, bytes | None]] = []
    if flags & 1:
        (partition,) = struct.unpack_from("<i", data, at)
        at += 4
    if flags & 2:
        (timestamp_ms,) = struct.unpack_from("<q", data, at)
        at += 8
    if flags & 4:
        (size,) = struct.unpack_from("<I", data, at)
        key = data[at + 4 : at + 4 + size]
        at += 4 + size
    if flags & 8:
        (count,) = struct.unpack_from("<H", data, at)
        at += 2
        for _ in range(count):
            (size,) = struct.unpack_from("<H", data, at)
            name = data[at + 2 : at + 2 + size].decode()
            at += 2 + size
            (size,) = struct.unpack_from("<i", data, at)
            at += 4
            headers.append((name, None if size < 0 else data[at : at + size]))
            at += max(size, 0)
    if not flags & 16 and at != len(data):
        raise AssertionError("a tombstone with a value")
    return Taken(sequence, topic, partition, timestamp_ms, key, headers, data[at:] if flags & 16 else None)


class Connection:
    """One accepted connection and its thread."""

    def __init__(self, daemon: "FakeDaemon", sock: socket.socket) -> None:
        self.daemon = daemon
        self.sock = sock
        self.session: FakeSession | None = None
        self.answer = 0
        self.topics: dict[int, str] = {}
        self.sequences_from: int | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def send(self, *frames: answers.Answer) -> None:
        """Sends frames, unless a cut that a test ordered falls into them."""
        data = b"".join(frame.encode() for frame in frames)
        budget = self.daemon.cut_sent_bytes
        with contextlib.suppress(OSError):
            if budget is not None:
                if len(data) >= budget:
                    self.daemon.cut_sent_bytes = None
                    self.sock.sendall(data[:budget])
                    self.close()
                    return
                self.daemon.cut_sent_bytes = budget - len(data)
            self.sock.sendall(data)

    def _run(self) -> None:
        pending = b""
        with contextlib.suppress(OSError):
            while True:
                self.daemon.reading.wait()
                data = self.sock.recv(65536)
                if not data:
                    if self.daemon.keep_open:
                        return
                    break
                with self.daemon.lock:
                    budget = self.daemon.cut_received_bytes
                    cut = budget is not None and len(data) >= budget
                    if budget is not None:
                        self.daemon.cut_received_bytes = None if cut else budget - len(data)
                    pending = self._frames(pending + (data[:budget] if cut else data))
                    if cut:
                        break
        self.close()

    def _frames(self, data: bytes) -> bytes:
        while len(data) >= 8:
            length, kind, flags, _ = struct.unpack_from("<IBBH", data)
            if len(data) < 4 + length:
                break
            self.daemon.on_frame(self, kind, flags, data[8 : 4 + length])
            data = data[4 + length :]
        return data


class FakeDaemon:
    """Start it, talk to it, look at `sessions` and `without_session`."""

    def __init__(self, directory: Path, *, record_bytes_max: int = 1 << 20) -> None:
        self.path = str(directory / "app.sock")
        self.own_path = self.path + ".0"
        self.lock = threading.RLock()
        self.sessions: dict[bytes, FakeSession] = {}
        self.without_session: list[Taken] = []
        self.frames: list[int] = []
        self.frame_sizes: list[int] = []
        self.hellos = 0
        self.ended: list[bytes] = []
        self.record_bytes_max = record_bytes_max
        self.answering = True
        self.granting = True
        self.delivering = True
        self.redirect = ""
        self.refuse: Callable[[Taken], int] = lambda _: 0
        self.fail: Callable[[Taken], int] = lambda _: 0
        self.confirm_limit = 16
        self.skew = 0
        self.keep_open = False
        self.cut_sent_bytes: int | None = None
        self.cut_received_bytes: int | None = None
        self.reading = threading.Event()
        self.reading.set()
        self.connections: list[Connection] = []
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._next_id = 1
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        return f"unix-stream:{self.path}"

    def __enter__(self) -> "FakeDaemon":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        for path in (self.path, self.own_path):
            Path(path).unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            listener.listen(16)
            self._listeners.append(listener)
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Away: nobody listens, connections end. Sessions and records stay for the next start()."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join(5)
        self._listeners.clear()
        self._threads.clear()
        for path in (self.path, self.own_path):
            Path(path).unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Ends all connections."""
        with self.lock:
            connections, self.connections = self.connections, []
        self.reading.set()
        for connection in connections:
            connection.close()
        for connection in connections:
            if connection.thread is not threading.current_thread():
                connection.thread.join(5)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with self.lock:
                    self.connections.append(Connection(self, sock))

    def values(self) -> list[bytes | None]:
        """Of all sessions, in order of acceptance."""
        with self.lock:
            return [record.value for session in self.sessions.values() for record in session.records]

    def deliver(self) -> None:
        """Delivers what waits in the arena."""
        with self.lock:
            for session in self.sessions.values():
                self._deliver(session)

    def forget_sessions(self) -> None:
        with self.lock:
            for session in self.sessions.values():
                session.session_id = b"forgotten"
                session.connection = None

    # --- frames

    def on_frame(self, connection: Connection, kind: int, flags: int, body: bytes) -> None:
        self.frames.append(kind)
        self.frame_sizes.append(len(body))
        if kind == HELLO:
            self._hello(connection, flags, body)
        elif kind == TOPIC:
            topic_id, size = struct.unpack_from("<HH", body)
            connection.topics[topic_id] = body[4 : 4 + size].decode()
        elif kind == RECORDS:
            self._records(connection, read_records(body, flags, connection.topics))
        elif kind == CONFIRM:
            (sequence,) = struct.unpack("<Q", body)
            if connection.session is not None:
                kept = {s: r for s, r in connection.session.rejections.items() if s > sequence}
                connection.session.rejections = kept
        elif kind == CLOSE:
            if connection.session is not None:
                self.ended.append(connection.session.session_id)
            connection.send(answers.Closed())
            connection.close()
        else:
            raise AssertionError(f"frame type {kind}")

    def _hello(self, connection: Connection, flags: int, body: bytes) -> None:
        self.hellos += 1
        version, connection.answer, _, session_id, _ = struct.unpack_from("<HBB16sH", body)
        if version != 1:
            raise AssertionError(f"version {version}")
        if not self.granting:
            return
        if self.redirect:
            path, self.redirect = self.redirect, ""
            connection.send(answers.Redirect(path))
            connection.close()
            return
        limits = (2 << 20, self.record_bytes_max)
        if not flags & 1:
            connection.send(answers.Grant(connection.answer, 0, bytes(16), 0, *limits))
            return
        session = self.sessions.get(session_id)
        if session is None or session.session_id != session_id:
            resumed = 2 if any(session_id) else 0
            new_id = self._next_id.to_bytes(16, "big")
            self._next_id += 1
            session = self.sessions[new_id] = FakeSession(new_id)
        else:
            resumed = 1
            if session.connection is not None:
                session.connection.close()
        session.connection = connection
        connection.session = session
        grant = answers.Grant(
            connection.answer, resumed, session.session_id, session.last_accepted, *limits, self.own_path
        )
        connection.send(grant, *(self._resume_answers(session, connection.answer) if resumed == 1 else ()))

    def _resume_answers(self, session: FakeSession, answer: int) -> list[answers.Answer]:
        out: list[answers.Answer] = [answers.Rejected(s, 1, r) for s, r in sorted(session.rejections.items())]
        if session.last_accepted:
            out.append(answers.Accepted(1, session.last_accepted))
        if answer == 2:
            open_sequences = {record.sequence for record in session.undelivered}
            gone = [s for s in range(1, session.last_accepted + 1) if s not in open_sequences]
            out += [answers.OutcomeUnknown(sequence, sequence) for sequence in gone]
        return out

    def _records(self, connection: Connection, records: list[Taken]) -> None:
        session = connection.session
        if session is None:
            self.without_session += records
            return
        if session.connection is not connection:
            return  # another connection took the session over
        first = session.last_accepted + 1
        if records and records[0].sequence + self.skew > first:
            connection.send(answers.Error(18, "sequence_gap"))
            connection.close()
            return
        out, full = self._take(session, records)
        if session.last_accepted >= first:
            out.append(answers.Accepted(first, session.last_accepted))
        if full:
            out.append(answers.Error(19, "16 rejections are unconfirmed"))
        if self.answering and connection.answer:
            connection.send(*out)
        if full:
            connection.close()
        elif self.delivering and connection.answer == 2:
            self._deliver(session)

    def _take(self, session: FakeSession, records: list[Taken]) -> tuple[list[answers.Answer], bool]:
        """Accepts and refuses; the rejections, and whether one came that has no place any more."""
        out: list[answers.Answer] = []
        for record in records:
            if record.sequence <= session.last_accepted:
                continue
            reason = self.refuse(record)
            if reason and len(session.rejections) >= self.confirm_limit:
                return out, True
            session.last_accepted = record.sequence
            if reason:
                session.rejections[record.sequence] = reason
                out.append(answers.Rejected(record.sequence, 1, reason, 0, "says the test"))
            else:
                session.records.append(record)
                session.undelivered.append(record)
        return out, False

    def _deliver(self, session: FakeSession) -> None:
        places: dict[tuple[str, int], list[Taken]] = defaultdict(list)
        out: list[answers.Answer] = []
        for record in session.undelivered:
            reason = self.fail(record)
            place = record.partition if record.partition is not None else zlib.crc32(record.key or b"") % PARTITIONS
            if reason:
                run = (Run(record.sequence, 1),)
                out.append(answers.Failed(place, reason, 0, reason == 6, record.topic, "says the test", run))
            else:
                places[record.topic, place].append(record)
        for (topic, partition), records in places.items():
            sequences = [record.sequence for record in records]
            gaps = tuple(b - a - 1 for a, b in itertools.pairwise(sequences))
            offset = self._offsets[topic, partition]
            self._offsets[topic, partition] += len(records)
            run = (Run(sequences[0], len(records), 0, gaps if any(gaps) else ()),)
            out.append(answers.Delivered(partition, offset, -1, topic, run))
        session.undelivered = []
        if session.connection is not None and out:
            session.connection.send(*out)
