"""The life of an arena under the real intake, step by step, and beside it a model that says before each step what the
arena may hold while the step is being made. It is lived in a child that is stopped at its stores; the parent reads the
model's word from memory that they share.
"""

import functools
import mmap
import pickle
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ingestd.hotpath.arena import Arena, Batch, BatchState
from ingestd.hotpath.intake import BLOCKED, SEALED, Intake, ListenerSpec
from ingestd.hotpath.records import halved
from ingestd.hotpath.splitting import split
from ingestd.metrics import Failed, Rejected
from tests.model.arena_kit import ACCEPTED, DELIVERED, NOW_MS, RECEIVED, small_arena
from tests.reference.batch_decoder import decode_batch
from tests.reference.native_frame import WireRecord, confirm_frame, raw_records_frame, record

TICK_MS = 5_000
BATCH_BYTES = 3_000
PAGES = 18
MALFORMED = b"\x01\x00\x00\x00\x20"
GZIP = 1
BYTES = ("received_bytes", "accepted_bytes", "delivered_bytes")
CONNECTION, SESSION, UDP4 = 1, 2, 4
Item = tuple[int, bytes, bytes] | None  # partition, key, value of a record; None is a malformed one
SessionRow = tuple[int, tuple[tuple[int, int], ...], int]  # last sequence, rejections, when it was disconnected


class Held(NamedTuple):
    """A record as it lies in a batch; ``sender`` is a connection's number or a session's row."""

    kind: int
    sender: bytes | int
    sequence: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Stamp(NamedTuple):
    """What a batch is sent under; -1 and 0 where it has no numbers (it may have flags). One that is sealed once more
    keeps them.
    """

    stamped: bool = False
    producer_id: int = -1
    epoch: int = -1
    base_sequence: int = -1
    flags: int = 0
    attempts: int = 0
    first_send_ms: int = 0


class World(NamedTuple):
    """Everything in an arena that its users could tell apart after recovery."""

    books: dict[str, int]
    records: dict[tuple[int, int], list[tuple[Held, Stamp]]]  # by topic and partition, in order
    sessions: dict[bytes, SessionRow]
    topics: list[tuple[str, bytes, int]]
    cluster_id: str


class Promise(NamedTuple):
    """What is known to everybody outside (``stands``), and what the arena may hold, in this order, while ``step`` is
    being made.
    """

    number: int
    step: str
    stands: World
    may: tuple[World, ...] = ()
    in_parts: int = 0  # the latest step before that had to commit what it took in parts; others may store nothing


class Told:
    """The model's latest word, in memory that the child writes and the parent reads."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 8 << 20)

    def write(self, promise: Promise) -> None:
        """Called between two steps: nothing stops the child within it."""
        data = pickle.dumps(promise)
        self.memory[:8] = len(data).to_bytes(8, "little")
        self.memory[8 : 8 + len(data)] = data

    def read(self) -> Promise:
        """Called while the child is stopped."""
        size = int.from_bytes(self.memory[:8], "little")
        promise = pickle.loads(self.memory[8 : 8 + size])
        assert isinstance(promise, Promise)
        return promise


class ModelBatch:
    """A sealed or stamped batch."""

    def __init__(self, entry: int, records: list[Held]) -> None:
        self.entry = entry
        self.records = records
        self.line = Stamp()  # as it is stored
        self.compressed = False

    def stamp(self) -> Stamp:
        """As it is shown: attempts are those of this stamp, the first send is told once there was one."""
        line = self.line
        if not line.stamped:
            return line._replace(attempts=0)
        return line if line.attempts else line._replace(first_send_ms=0)


class Life:
    """An arena in a file with two topics and one session, an intake over it, and the model of both.

    ``hasty``: the fault planted for the tests of these tests: an outcome is told before it is in the arena.
    """

    def __init__(self, path: Path) -> None:
        self.arena = small_arena(path, pages=PAGES)
        self.intake = Intake(self.arena, None, seed=1)
        self.told = Told()
        self.hasty = False
        self.steps = 0
        self.in_parts = 0
        self.books: Counter[str] = Counter()
        self.batches: dict[tuple[int, int], list[ModelBatch]] = {}
        self.open: dict[tuple[int, int], list[Held]] = {}
        self.sessions: dict[bytes, SessionRow] = {}
        self.topics = [(name, bytes(16), 0) for name in ("orders", "clicks")]
        self.cluster_id = ""
        for topic in (0, 1):
            self.intake.add_topic(topic, batch_bytes=BATCH_BYTES, linger_ms=5, record_bytes_max=100_000)
            self.intake.set_partitions(topic, b"\1" * (2 - topic))
        self.intake.add_listener(ListenerSpec(index=0, format="frames", topics=(0, 1), timestamp=1))
        self.intake.add_listener(ListenerSpec(index=1, format="lines", topic=1))
        self.intake.add_listener(ListenerSpec(index=2, format="raw", topic=1))
        self.native = self.intake.stream(-1, 0, 7)
        self.lines = self.intake.stream(-1, 1, 8)
        self.udp = self.intake.datagram_fed(2, b"", True)
        self.waiting: Sequence[Item] = ()
        self.session = b""
        self.row = -1
        self.told.write(Promise(0, "nothing yet", self.world()))

    def world(self) -> World:
        """The model as it is now."""
        records: dict[tuple[int, int], list[tuple[Held, Stamp]]] = {}
        for key in sorted(self.batches.keys() | self.open.keys()):
            held = [(one, batch.stamp()) for batch in self.batches.get(key, []) for one in batch.records]
            held += [(one, Stamp()) for one in self.open.get(key, [])]
            if held:
                records[key] = held
        books = {name: count for name, count in self.books.items() if count}
        return World(books, records, dict(self.sessions), list(self.topics), self.cluster_id)

    def all_batches(self) -> list[ModelBatch]:
        """Those that are sealed or stamped."""
        return [batch for batches in self.batches.values() for batch in batches]

    def _step(self, name: str, operation: Callable[[], object], *changes: Callable[[], object]) -> None:
        # The changes are made in the model one by one; what is there in between may be seen, too.
        stands = self.world()
        may = []
        for change in changes:
            change()
            may.append(self.world())
        self._make(name, operation, stands, may)
        if len(changes) > 1:
            self.in_parts = self.steps
        self._finished(name)

    def _make(self, name: str, operation: Callable[[], object], stands: World, may: Sequence[World]) -> None:
        self.steps += 1
        if self.hasty and may:
            stands, may = may[-1], ()
        self.told.write(Promise(self.steps, name, stands, tuple(may), self.in_parts))
        operation()

    def _finished(self, name: str) -> None:
        for sealed in self.arena.take_sealed():
            key = (sealed.topic, sealed.partition)
            batch = ModelBatch(sealed.entry, self.open[key][: sealed.record_count])
            del self.open[key][: sealed.record_count]
            self.batches.setdefault(key, []).append(batch)
        self.told.write(Promise(self.steps, f"after {name}", self.world(), (), self.in_parts))

    # --- tables

    def set_cluster_id(self, cluster_id: str) -> None:
        """What the brokers said."""
        self._step(
            "cluster id",
            lambda: self.arena.set_cluster_id(cluster_id),
            lambda: setattr(self, "cluster_id", cluster_id),
        )

    def topic_add(self, name: str) -> None:
        """A row of the topic table."""
        self._step("topic add", lambda: self.arena.topic_add(name), lambda: self.topics.append((name, bytes(16), 0)))

    def topic_update(self, index: int, topic_id: bytes, count: int) -> None:
        """What metadata said."""
        row = (self.topics[index][0], topic_id, count)
        self._step(
            "topic update",
            lambda: self.arena.topic_update(index, topic_id, count),
            lambda: self.topics.__setitem__(index, row),
        )

    def session_open(self, session_id: bytes) -> None:
        """A session, on the native connection from now on."""
        self._step(
            "session open",
            lambda: self.arena.session_open(session_id, NOW_MS),
            lambda: self.sessions.__setitem__(session_id, (0, (), 0)),
        )
        found = self.arena.session_find(session_id)
        assert found is not None
        self.session, self.row = session_id, found.index
        self.native = self.intake.stream(-1, 0, 7)
        self.native.set_session(self.row, 2)

    def session_close(self) -> None:
        """The client says goodbye; what it sent stays."""
        self.native.set_session(-1, 0)
        self._step("session close", lambda: self.arena.session_close(self.row), lambda: self.sessions.pop(self.session))

    def session_confirm(self, sequence: int) -> None:
        """Rejections seen, in its client's frame."""
        last, rejections, disconnected_ms = self.sessions[self.session]
        left = tuple(item for item in rejections if item[0] > sequence)

        def confirm() -> None:
            self.native.feed(confirm_frame(sequence), NOW_MS, TICK_MS)
            assert len(self.native.take_control()) == 1
            self.arena.session_confirm(self.row, sequence)
            self.native.resume(NOW_MS, TICK_MS)

        row = (last, left, disconnected_ms)
        self._step("session confirm", confirm, lambda: self.sessions.__setitem__(self.session, row))

    def session_disconnected(self, now_ms: int) -> None:
        """Its connection is gone, or back (0)."""
        row = (*self.sessions[self.session][:2], now_ms)
        self._step(
            "session disconnected",
            lambda: self.arena.session_disconnected(self.row, now_ms),
            lambda: self.sessions.__setitem__(self.session, row),
        )

    # --- intake

    def read(self, items: Sequence[Item], repeated: int = 0) -> None:
        """A read of one RECORDS frame. It begins with ``repeated`` sequences that the session has already."""
        first = self.sessions[self.session][0] + 1 - repeated
        known = [record(WireRecord(b"again", b"k", 0))] * repeated
        encoded = [MALFORMED if item is None else record(WireRecord(item[2], item[1], item[0])) for item in items]
        data = raw_records_frame(known + encoded, topic=b"orders", first_sequence=first)

        def feed() -> int:
            flags, taken = self.native.feed(data, NOW_MS, TICK_MS)
            assert taken == len(data)
            return flags

        self._take("read", feed, items, repeated)

    def resume(self) -> None:
        """Goes on with what had to wait for pages."""
        self._take("resume", lambda: self.native.resume(NOW_MS, TICK_MS), self.waiting, 0)

    def _take(self, name: str, operation: Callable[[], int], items: Sequence[Item], repeated: int) -> None:
        # A read is one commit, but for one that has to seal a batch in between: then any part may be seen, in order.
        last = self.sessions[self.session][0]
        stands = self.world()
        self.books["repeated"] += repeated
        states = [self._intake_state()]
        may = [self.world()] if repeated and not items else []
        for sequence, item in enumerate(items, last + 1):
            self._arrived(sequence, item)
            states.append(self._intake_state())
            may.append(self.world())
        flags = 0

        def remembered() -> None:
            nonlocal flags
            flags = operation()

        self._make(name, remembered, stands, may)
        taken = self.native.accepted_sequence - last
        self.books, self.open, self.sessions = states[taken]
        self.waiting = items[taken:]
        assert bool(self.waiting) == bool(flags & BLOCKED)
        if flags & (SEALED | BLOCKED):
            self.in_parts = self.steps
        self._finished(name)

    def _intake_state(self) -> tuple[Counter[str], dict[tuple[int, int], list[Held]], dict[bytes, SessionRow]]:
        return Counter(self.books), {key: list(held) for key, held in self.open.items()}, dict(self.sessions)

    def _arrived(self, sequence: int, item: Item) -> None:
        _, rejections, disconnected_ms = self.sessions[self.session]
        self.books["received"] += 1
        if item is None:
            self.books["rejected"] += 1
            self.books[f"rejected.{int(Rejected.MALFORMED)}"] += 1
            rejections += ((sequence, int(Rejected.MALFORMED)),)
        else:
            self.books["accepted"] += 1
            held = Held(SESSION, self.row, sequence, NOW_MS, item[1], item[2])
            self.open.setdefault((0, item[0]), []).append(held)
        self.sessions[self.session] = (sequence, rejections, disconnected_ms)

    def lines_read(self, values: Sequence[bytes]) -> None:
        """A read of lines on a connection without answers, into the other topic's one partition."""
        data = b"".join(value + b"\n" for value in values)
        held = [Held(CONNECTION, 8, 0, NOW_MS, None, value) for value in values]
        self._step("lines", lambda: self.lines.feed(data, NOW_MS, TICK_MS), lambda: self._accepted(held))

    def datagrams_read(self, values: Sequence[bytes]) -> None:
        """A read of UDP datagrams, each from another port."""
        sources = [
            struct.pack("=H", socket.AF_INET) + struct.pack(">H", 9 + at) + bytes(12) for at in range(len(values))
        ]
        held = [Held(UDP4, bytes(4) + struct.pack("<H", 9 + at), 0, NOW_MS, None, one) for at, one in enumerate(values)]
        self._step(
            "datagrams",
            lambda: self.udp.feed(list(values), NOW_MS, TICK_MS, sources),
            lambda: self._accepted(held),
        )

    def _accepted(self, held: list[Held]) -> None:
        self.books.update({"received": len(held), "accepted": len(held)})
        self.open.setdefault((1, 0), []).extend(held)

    def kernel_dropped(self, count: int) -> None:
        """The kernel's own counter has moved."""
        self._step(
            "kernel drops",
            lambda: self.udp.note_drops(self.udp.drops_seen + count, NOW_MS, TICK_MS),
            lambda: self.books.update({"kernel_dropped": count}),
        )

    def seal(self) -> None:
        """Everything that is open."""
        self._step("seal", self.intake.seal_all)

    # --- sending

    def compress(self, batch: ModelBatch) -> None:
        """Other bytes, the same records."""
        with self.arena.view(batch.entry) as view:
            payload = zlib.compress(view[61:])
        self._step("compress", lambda: self.arena.compress(batch.entry, payload, GZIP))
        batch.compressed = True

    def stamp(self, batch: ModelBatch, numbers: tuple[int, int, int], flags: int, verb: str) -> None:
        """``stamp``, ``dispatch`` or ``restamp``."""
        entry = batch.entry

        def dispatch() -> None:
            self.arena.dispatch(entry, *numbers, flags, NOW_MS).release()

        operation = {
            "stamp": lambda: self.arena.stamp(entry, *numbers, flags, NOW_MS),
            "restamp": lambda: self.arena.restamp(entry, *numbers, flags, NOW_MS),
            "dispatch": dispatch,
        }[verb]
        new = Stamp(True, *numbers, flags, int(verb == "dispatch"), NOW_MS)
        self._step(verb, operation, lambda: setattr(batch, "line", new))

    def attempted(self, batch: ModelBatch, now_ms: int) -> None:
        """Once more."""
        old = batch.line
        new = old._replace(attempts=old.attempts + 1, first_send_ms=old.first_send_ms if old.attempts else now_ms)
        self._step(
            "attempted",
            lambda: self.arena.attempted(batch.entry, now_ms),
            lambda: setattr(batch, "line", new),
        )

    def done(self, batch: ModelBatch, *, viewed: bool = False) -> None:
        """In Kafka; ``viewed``: a transport still has its bytes."""

        def operation() -> None:
            view = self.arena.view(batch.entry) if viewed else None
            self.arena.done(batch.entry)
            if view is not None:
                view.release()

        self._step("done", operation, lambda: self._settled(batch, "delivered"))

    def fail(self, batch: ModelBatch) -> None:
        """Given up."""
        word = f"failed.{int(Failed.DELIVERY_TIMEOUT)}"
        self._step(
            "fail",
            lambda: self.arena.fail(batch.entry, Failed.DELIVERY_TIMEOUT),
            lambda: self._settled(batch, "failed", word),
        )

    def _settled(self, batch: ModelBatch, *words: str) -> None:
        for word in words:
            self.books[word] += len(batch.records)
        for batches in self.batches.values():
            if batch in batches:
                batches.remove(batch)

    def repair(self, batch: ModelBatch, bad: set[int]) -> None:
        """Without the records that a broker refused."""
        word = f"failed.{int(Failed.RECORD_REFUSED)}"

        def change() -> None:
            self.books.update({"failed": len(bad), word: len(bad)})
            batch.records = [held for index, held in enumerate(batch.records) if index not in bad]
            batch.line, batch.compressed = batch.line._replace(stamped=False), False

        self._step("repair", lambda: self.arena.repair(batch.entry, bad, Failed.RECORD_REFUSED, decompressed), change)

    def split(self, batch: ModelBatch, flags: int) -> None:
        """Two of one, each with its own of the numbers."""
        made: list[Batch] = []
        old = self.arena.batch(batch.entry)
        with self.arena.view(batch.entry) as view:
            payload = decompressed(GZIP, view[61:]) if batch.compressed else bytes(view[61:])
        runs = self.arena.provenance(batch.entry)
        cut = halved(payload, old.record_count, old.base_timestamp_ms, runs)[0].record_count
        rest = ModelBatch(-1, batch.records[cut:])

        def change() -> None:
            line = batch.line._replace(stamped=False, flags=flags, attempts=0)
            numbered = line.producer_id >= 0
            batch.line, batch.compressed, batch.records = line, False, batch.records[:cut]
            rest.line = line._replace(base_sequence=line.base_sequence + cut & 0x7FFFFFFF) if numbered else line
            batches = self.batches[old.topic, old.partition]
            batches.insert(batches.index(batch) + 1, rest)

        self._step("split", lambda: made.extend(split(self.arena, batch.entry, flags, decompressed)), change)
        first, second = made
        assert (first.entry, first.record_count) == (batch.entry, cut)
        rest.entry = second.entry

    # --- books

    def possible_duplicates(self, count: int) -> None:
        """Perhaps written twice."""
        self._step(
            "possible duplicates",
            lambda: self.arena.possible_duplicates(count),
            lambda: self.books.update({"possible_duplicates": count}),
        )

    def absorb(self, session_id: bytes) -> None:
        """Books and a session of a drained arena, twice asked for."""
        other = small_arena(None)
        for word in (RECEIVED, ACCEPTED, DELIVERED):
            other.book(word, 10)
        other.session_open(session_id, NOW_MS)

        def absorb() -> None:
            self.arena.absorb(other)
            self.arena.absorb(other)

        self._step(
            "absorb",
            absorb,
            lambda: self.sessions.__setitem__(session_id, (0, (), 0)),
            lambda: self.books.update({"received": 10, "accepted": 10, "delivered": 10}),
        )


def decompressed(codec: int, payload: bytes | memoryview) -> bytes:
    """Of a batch that ``Life.compress`` made."""
    assert codec == GZIP
    return zlib.decompress(payload)


# Slow, and the same batch is in many images.
decoded = functools.lru_cache(1024)(decode_batch)


def look(arena: Arena) -> World:
    """What is in an arena that was just recovered; fails where a batch contradicts itself or another."""
    records: dict[tuple[int, int], list[tuple[Held, Stamp]]] = {}
    batches = arena.recovered()
    assert batches or arena.free_pages == arena.page_count
    assert len({batch.entry for batch in batches}) == len({batch.number for batch in batches}) == len(batches)
    for batch in batches:
        found = [
            Held(one.kind, one.sender, one.sequence, one.timestamp_ms, one.key, one.value)
            for one in arena.records(batch.entry, decompressed)
        ]
        assert len(found) == batch.record_count
        assert batch.max_timestamp_ms == max(held.timestamp_ms for held in found)
        if batch.state == BatchState.STAMPED:
            with arena.view(batch.entry) as view:
                sent = decoded(bytes(view))
            numbers = (sent.producer_id, sent.producer_epoch, sent.base_sequence)
            assert numbers == (batch.producer_id, batch.producer_epoch, batch.base_sequence)
            assert sent.record_count == batch.record_count
        stamp = Stamp(
            batch.state == BatchState.STAMPED,
            batch.producer_id,
            batch.producer_epoch,
            batch.base_sequence,
            batch.stamp_flags,
            batch.attempts,
            batch.first_send_ms,
        )
        records.setdefault((batch.topic, batch.partition), []).extend((held, stamp) for held in found)
    sessions = {
        session.session_id: (session.last_accepted, session.rejections, session.disconnected_ms)
        for session in arena.sessions()
    }
    topics = [(topic.name, topic.topic_id, topic.partition_count) for topic in arena.topics()]
    books = {name: count for name, count in arena.ledger().items() if count and name not in BYTES}
    return World(books, records, sessions, topics, arena.cluster_id)
