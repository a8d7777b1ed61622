"""Which batches a session still waits for, and what that costs everybody else."""

import struct
import time
from typing import Any

from ingestd.client import frame
from ingestd.hotpath.arena import Arena, Batch
from ingestd.hotpath.intake import BLOCKED, Stream
from ingestd.worker.answers import Answers
from tests.reference.rig import NOW_MS, TICK_MS, Rig

DELIVERED = 2


def records(first: int, *values: bytes) -> bytes:
    body = struct.pack("<HHIQ", 0, 0, len(values), first)
    for value in values:
        body += struct.pack("<IB", 1 + len(value), 0x10) + value
    return frame.frame(frame.RECORDS, body)


class Setup:
    """Answers over an arena of one's own; ``sent`` are the batches that went to the producer."""

    def __init__(self, **settings: Any) -> None:
        self.rig = Rig(**settings)
        self.rig.listener("frames", topics=tuple(range(settings.get("topics", 1))))
        self.arenas: list[Arena] = [self.rig.arena]
        self.answers = Answers(lambda: self.arenas, self.rig.intake, self._sealed, lambda: None)
        self.sent: list[Batch] = []

    def _sealed(self) -> None:
        self.sent += self.rig.arena.take_sealed()

    def session(self, number: int, topic: int = 0) -> tuple[Stream, int]:
        """A stream that waits for outcomes, and its row."""
        row = self.rig.arena.session_open(bytes([number]) * 16, NOW_MS).index
        stream = self.rig.intake.stream(-1, 0, number)
        stream.set_topic_id(0, topic)
        stream.set_session(row, DELIVERED)
        return stream, row


def test_a_session_that_comes_back_moves_nothing() -> None:
    setup = Setup()
    stream, row = setup.session(1)
    stream.feed(records(1, b"a", b"b"), NOW_MS, TICK_MS)
    assert setup.answers.buffered(row) == [(1, 2)]
    assert not setup.sent
    assert setup.rig.arena.open_batches > 0


def test_a_session_that_ends_sends_off_its_own_batches_only() -> None:
    setup = Setup(topics=2, partitions=1)
    (one, row), (other, other_row) = setup.session(1, 0), setup.session(2, 1)
    one.feed(records(1, b"a"), NOW_MS, TICK_MS)
    other.feed(records(1, b"b", b"c"), NOW_MS, TICK_MS)
    unsettled = setup.answers.unsettled(row)
    assert [batch.topic for batch in setup.sent] == [0]
    assert unsettled == {(id(setup.rig.arena), setup.sent[0].entry)}
    assert setup.answers.unsettled(row) == unsettled
    assert setup.answers.buffered(other_row) == [(1, 2)]
    assert len(setup.sent) == 1
    setup.rig.arena.stamp(setup.sent[0].entry, 1, 0, 0, 0, NOW_MS)
    setup.rig.arena.done(setup.sent[0].entry)
    assert (setup.answers.unsettled(row), setup.answers.buffered(row)) == (set(), [])


def test_what_a_drained_arena_holds_of_a_session_counts_until_it_is_gone() -> None:
    old, setup = Setup(), Setup()
    # Another row than the session will have in the worker's own arena.
    old.session(9)
    stream, _ = old.session(1)
    stream.feed(records(1, b"a", b"b"), NOW_MS, TICK_MS)
    old.rig.intake.seal_all()
    setup.rig.arena.adopt_sessions(old.rig.arena)
    adopted = setup.rig.arena.session_find(bytes([1]) * 16)
    assert adopted is not None
    resumed = setup.rig.intake.stream(-1, 0, 1)
    resumed.set_topic_id(0, 0)
    resumed.set_session(adopted.index, DELIVERED)
    resumed.feed(records(adopted.last_accepted + 1, b"c"), NOW_MS, TICK_MS)
    setup.arenas.append(old.rig.arena)
    assert sorted(setup.answers.buffered(adopted.index)) == [(1, 2), (3, 3)]
    assert {arena for arena, _ in setup.answers.unsettled(adopted.index)} == {id(arena) for arena in setup.arenas}
    setup.arenas.pop()
    setup.answers.forget(old.rig.arena)
    assert setup.answers.buffered(adopted.index) == [(3, 3)]


def test_others_records_cost_a_returning_session_next_to_nothing() -> None:
    setup = Setup(buffer_bytes=16 << 20)
    streams = [setup.session(number)[0] for number in range(1, 41)]
    sequence = flags = 0
    while not flags & BLOCKED:
        sequence += 1
        for stream in streams:
            flags |= stream.feed(records(sequence, b"x" * 20), NOW_MS, TICK_MS)[0]
    batches = len(setup.rig.arena.recovered())
    assert batches > 50
    row = setup.rig.arena.session_open(b"\xfe" * 16, NOW_MS).index
    best_seconds = []
    for _ in range(5):
        began = time.thread_time()
        assert setup.answers.buffered(row) == []
        best_seconds.append(time.thread_time() - began)
    # Far below what a Python object for each of the thousands of runs in a batch takes.
    assert min(best_seconds) / batches < 0.0003
    began = time.thread_time()
    assert len(setup.answers.buffered(0)) == 1
    assert (time.thread_time() - began) / batches < 0.0005
