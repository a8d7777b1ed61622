"""Records of this process into the arena, and a batch's provenance back to its records."""

import random

import pytest

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.batch import encode_headers
from ingestd.hotpath.handover import Handover, Outgoing
from ingestd.hotpath.intake import ACCEPTED, BLOCKED, BLOCKED_BY_ARENA, OPENED, REJECTED, SEALED, Intake
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.hotpath.local import LocalIntake
from ingestd.hotpath.partition import partition_for_key
from ingestd.metrics import Rejected

NOW = 1_700_000_000_000
ANY_TIME = 1 << 62


class Rig:
    def __init__(self, buffer_bytes: int = 1 << 20, partitions: int = 3, batch_bytes: int = 16384) -> None:
        self.arena = Arena.create(None, buffer_bytes=buffer_bytes, session_capacity=1, topic_capacity=8, now_ms=NOW)
        self.intake = Intake(self.arena, None, seed=1)
        self.topic = self.arena.topic_add("t")
        self.intake.add_topic(self.topic, batch_bytes=batch_bytes, linger_ms=5, record_bytes_max=1 << 20)
        if partitions:
            self.intake.set_partitions(self.topic, b"\1" * partitions)
        own = ListenerSpec(0, "frames", timestamp=1, timestamp_past_ms=ANY_TIME, timestamp_future_ms=ANY_TIME)
        self.intake.add_listener(own)
        self.handover = Handover(1 << 30, 1 << 30, lambda: None)
        self.local = LocalIntake(self.intake, 0, self.handover)

    def record(
        self,
        value: bytes | None = b"v",
        key: bytes | None = None,
        partition: int = -1,
        timestamp_ms: int = NOW,
        headers: tuple[tuple[str, bytes | None], ...] = (),
    ) -> Outgoing:
        encoded = encode_headers(headers) if headers else None
        record = Outgoing(None, "t", self.topic, partition, timestamp_ms, key, value, encoded, len(headers), None)
        self.handover.put(record)
        return record

    def append(self, records: list[Outgoing]) -> int:
        """Takes all of them; returns the flags."""
        self.handover.take()
        at, flags = self.local.append(records, 0, [], NOW, 0)
        assert at == len(records)
        return flags

    def batches(self) -> list[int]:
        self.intake.seal_all()
        return [batch.entry for batch in self.arena.take_sealed()]


def test_what_was_handed_over_is_in_the_arena_as_it_was() -> None:
    rig = Rig()
    headers = (("a", b"1"), ("b", None), ("a", b""))
    records = [
        rig.record(b"value", b"key", headers=headers),
        rig.record(None, b"key", timestamp_ms=0),
        rig.record(b"", b"key", timestamp_ms=NOW * 2),
    ]
    assert rig.append(records) & (ACCEPTED | OPENED) == ACCEPTED | OPENED
    [entry] = rig.batches()
    assert rig.arena.batch(entry).partition == partition_for_key(b"key", 3)
    found = list(rig.arena.records(entry))
    assert [(record.key, record.value, record.timestamp_ms) for record in found] == [
        (b"key", b"value", NOW),
        (b"key", None, 0),
        (b"key", b"", NOW * 2),
    ]
    assert found[0].headers == ((b"a", b"1"), (b"b", None), (b"a", b""))
    assert rig.handover.bytes == 0


def test_limits_of_the_daemons_formats_do_not_bind_a_program() -> None:
    rig = Rig(buffer_bytes=4 << 20)
    headers = tuple((f"{number:02000}", b"x") for number in range(100))
    rig.append([rig.record(b"v", bytes(70_000), headers=headers)])
    [entry] = rig.batches()
    [found] = rig.arena.records(entry)
    assert (len(found.key or b""), len(found.headers)) == (70_000, 100)


def test_a_batch_finds_its_records_with_their_offsets(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig(buffer_bytes=4 << 20, batch_bytes=2000)
    records = []
    for _ in range(5):
        some = [rig.record(b"%d" % chance.randrange(1 << 30), b"%d" % chance.randrange(9)) for _ in range(200)]
        rig.append(some)
        records += some
    left = set(records)
    for entry in rig.batches():
        values = [record.value for record in rig.arena.records(entry)]
        partition = rig.arena.batch(entry).partition
        base = chance.randrange(1 << 40)
        mine = [record for record in left if record.partition == -1]
        rig.local.delivered(rig.arena, entry, partition, base, NOW + 1)
        settled = sorted((record for record in mine if record.done()), key=lambda record: record.offset)
        assert [record.offset - base for record in settled] == list(range(len(values)))
        assert {(record.partition, record.timestamp_ms, record.error) for record in settled} == {
            (partition, NOW + 1, None)
        }
        left.difference_update(settled)
    assert not left
    assert rig.handover.outstanding == 0


def test_an_unknown_offset_stays_unknown_and_the_time_the_records_own() -> None:
    rig = Rig()
    records = [rig.record(), rig.record()]
    rig.append(records)
    [entry] = rig.batches()
    rig.local.delivered(rig.arena, entry, 0, -1, -1)
    assert [(record.offset, record.timestamp_ms, record.done()) for record in records] == [(-1, NOW, True)] * 2


def test_single_records_fail_and_the_others_take_the_offsets_of_what_is_left() -> None:
    rig = Rig(partitions=1)
    records = [rig.record(b"%d" % number) for number in range(6)]
    rig.append(records)
    [entry] = rig.batches()
    error = ValueError("refused")

    def tell() -> None:
        rig.local.failed(rig.arena, entry, error, {1, 4})

    rig.arena.stamp(entry, 1, 0, 0, 0, NOW)
    batch = rig.arena.repair(entry, [1, 4], 1, None, tell)
    assert [record.error for record in records] == [None, error, None, None, error, None]
    rig.local.delivered(rig.arena, batch.entry, 0, 50, -1)
    assert [record.offset for record in records] == [50, -1, 51, 52, -1, 53]


def test_a_whole_batch_fails() -> None:
    rig = Rig()
    records = [rig.record(), rig.record()]
    rig.append(records)
    [entry] = rig.batches()
    error = ValueError()
    rig.local.failed(rig.arena, entry, error)
    assert [record.error for record in records] == [error, error]
    assert rig.handover.outstanding == 0


def test_an_impossible_partition_is_refused_with_its_reason() -> None:
    rig = Rig()
    good, bad = rig.record(), rig.record(partition=3)
    flags = rig.append([good, bad])
    assert flags & REJECTED
    assert rig.local.take_refused() == [(bad, Rejected.INVALID_PARTITION)]
    assert rig.local.take_refused() == []
    assert not good.done()


def test_records_of_a_held_partition_are_parked_in_order_and_others_go_on() -> None:
    rig = Rig()
    rig.intake.hold(rig.topic, 1, True)
    records = [rig.record(b"%d" % number, partition=number % 3) for number in range(9)]
    rig.handover.take()
    parked: list[Outgoing] = []
    at, flags = rig.local.append(records, 0, parked, NOW, 0)
    assert (at, flags & BLOCKED, parked) == (9, 0, records[1::3])
    assert rig.handover.bytes == 0
    rig.intake.hold(rig.topic, 1, False)
    at, _ = rig.local.append(parked, 0, [], NOW, 0)
    assert at == 3
    found = [record.value for entry in rig.batches() for record in rig.arena.records(entry)]
    assert found == [b"0", b"3", b"6", b"2", b"5", b"8", b"1", b"4", b"7"]


def test_a_full_arena_stops_it_and_it_goes_on_where_it_stopped() -> None:
    rig = Rig(buffer_bytes=256 << 10, partitions=1, batch_bytes=60_000)
    records = [rig.record(bytes(9000)) for _ in range(60)]
    rig.handover.take()
    at, flags = rig.local.append(records, 0, [], NOW, 0)
    assert 0 < at < 60
    assert flags & BLOCKED and flags & SEALED
    assert rig.local.blocked_reason == BLOCKED_BY_ARENA
    assert rig.handover.bytes == sum(record.size_bytes for record in records[at:])
    while at < 60:
        for entry in rig.batches():
            rig.arena.stamp(entry, 1, 0, 0, 0, NOW)
            rig.local.delivered(rig.arena, entry, 0, 0, -1)
            rig.arena.done(entry)
        before = at
        at, _ = rig.local.append(records, at, [], NOW, 0)
        assert at > before
    assert [record.done() for record in records].count(True) < 60


def test_what_is_left_can_be_abandoned() -> None:
    rig = Rig()
    records = [rig.record(), rig.record()]
    rig.append(records)
    error = ValueError()
    rig.local.abandon(error)
    assert [record.error for record in records] == [error, error]
    [entry] = rig.batches()
    assert rig.local.delivered(rig.arena, entry, 0, 0, -1) == []


def test_a_topic_without_a_count_waits() -> None:
    rig = Rig(partitions=0)
    records = [rig.record()]
    rig.handover.take()
    at, _ = rig.local.append(records, 0, [], NOW, 0)
    assert at == 0
    rig.intake.set_partitions(rig.topic, b"\1")
    assert rig.local.append(records, 0, [], NOW, 0)[0] == 1


def test_a_topic_that_the_intake_does_not_know_is_a_mistake() -> None:
    rig = Rig()
    record = Outgoing(None, "other", 5, -1, NOW, None, b"v", None, 0, None)
    rig.handover.put(record)
    with pytest.raises(ValueError, match="other is not known"):
        rig.local.append([record], 0, [], NOW, 0)
