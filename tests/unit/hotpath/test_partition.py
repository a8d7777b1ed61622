"""Which partition a record gets: by key as in Java's producer and in librdkafka, in turn, sticky (KIP-794)."""

import zlib
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.partition import murmur2, partition_for_key, partition_for_key_crc32, weights
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.record_encoder import murmur2 as murmur2_slow
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push

HEADER_BYTES = 61
COUNTS = (3, 6, 10, 12, 100)
# What Kafka's Utils.murmur2 itself puts out.
VECTORS = [
    (b"", 0x106E08D9, (0, 3, 1, 9, 81)),
    (b"a", 0xA2D0B27C, (1, 4, 4, 4, 24)),
    (b"ab", 0x12D8262A, (2, 2, 4, 2, 34)),
    (b"abc", 0x1C94221B, (0, 3, 7, 3, 7)),
    (b"abcd", 0xB11AB5F4, (2, 2, 0, 8, 0)),
    (b"21", 0xC5F2F8EC, (0, 0, 0, 0, 40)),
    (b"foobar", 0xD0E47BBE, (0, 0, 6, 6, 66)),
    (b"a-little-bit-long-string", 0xC53B1DA0, (2, 2, 2, 8, 12)),
    (b"a-little-bit-longer-string", 0xA768C9C3, (2, 5, 9, 11, 19)),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 0xFC7D49CD, (2, 5, 7, 5, 77)),
    (b"\0", 0x166197BC, (2, 2, 8, 8, 88)),
    (b"\xff" * 5, 0xEA504362, (0, 0, 6, 6, 26)),
    (bytes.fromhex("80818283848586"), 0xFD2567EA, (1, 4, 4, 10, 34)),
    (bytes(range(256)), 0x8BDE9476, (1, 4, 4, 10, 74)),
    ("clé-ключ-鍵".encode(), 0x06F18DBF, (0, 3, 9, 3, 59)),
    (b"user-42", 0x5700682C, (1, 4, 0, 4, 60)),
]


@pytest.mark.parametrize(("key", "expected", "partitions"), VECTORS)
def test_golden_vectors(key: bytes, expected: int, partitions: tuple[int, ...]) -> None:
    assert murmur2(key) == expected
    assert tuple(partition_for_key(key, count) for count in COUNTS) == partitions


@given(st.binary(max_size=300), st.integers(1, 2**31 - 1))
def test_as_the_slow_one(key: bytes, count: int) -> None:
    assert murmur2(key) == murmur2_slow(key)
    assert partition_for_key(key, count) == (murmur2_slow(key) & 0x7FFFFFFF) % count


@pytest.mark.parametrize("count", [0, -1])
def test_a_topic_has_partitions(count: int) -> None:
    with pytest.raises(ValueError, match="at least one partition"):
        partition_for_key(b"k", count)


@pytest.mark.parametrize(
    ("key", "count", "partition"),
    # librdkafka's rd_crc32 is zlib's: 2097592435, 3904355907, 2666930069 of these keys.
    [(b"user-42", 12, 7), (b"a", 100, 7), (b"foobar", 100, 69)],
)
def test_crc32_golden_vectors(key: bytes, count: int, partition: int) -> None:
    assert partition_for_key_crc32(key, count) == partition


@given(st.binary(min_size=1, max_size=300), st.integers(1, 2**31 - 1))
def test_crc32_as_zlib(key: bytes, count: int) -> None:
    assert partition_for_key_crc32(key, count) == zlib.crc32(key) % count


def test_weights_as_in_kafkas_comment() -> None:
    # BuiltInPartitioner.updatePartitionLoadStats: queues 0 3 1 -> weights 4 1 3 -> running sum 4 5 8
    assert weights([0, 3, 1]) == [(0, 4), (1, 5), (2, 8)]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([5], []),
        ([2, 2, 2], []),
        ([-1, 2, 2], [(1, 1), (2, 2)]),
        ([-1, 7], [(1, 1)]),
        ([-1, -1], []),
        ([0, -1, 9], [(0, 10), (2, 11)]),
    ],
)
def test_weights_at_their_edges(lengths: list[int], expected: list[tuple[int, int]]) -> None:
    assert weights(lengths) == expected


@given(st.lists(st.integers(-1, 2**31 - 1), max_size=50))
def test_weights_never_overflow(lengths: list[int]) -> None:
    found = weights(lengths)
    sums = [0, *(total for _, total in found)]
    assert all(before < after <= 2**32 - 1 for before, after in pairwise(sums))
    assert all(lengths[partition] >= 0 for partition, _ in found)


def frame(items: Sequence[WireRecord], topic: bytes = b"t0") -> bytes:
    return records_frame(items, topic=topic)


def by_key(rig: Rig) -> dict[bytes | None, set[int]]:
    found: dict[bytes | None, set[int]] = {}
    for item in rig.drain():
        found.setdefault(item.key, set()).add(item.partition)
    return found


def test_crc32_takes_keys_and_an_empty_key_is_none() -> None:
    rig = Rig(partitions=12, partitioner="crc32", batch_bytes=300)
    keys = [b"user-42", b"a", b"foobar", b""]
    push(rig.stream("frames"), frame([WireRecord(b"x" * 100, key) for key in keys * 60]))
    found = by_key(rig)
    assert {key: found[key] for key in keys[:3]} == {key: {zlib.crc32(key) % 12} for key in keys[:3]}
    assert len(found[b""]) > 6


def test_sticky_ignores_keys() -> None:
    rig = Rig(partitions=12, partitioner="sticky", batch_bytes=1000)
    push(rig.stream("frames"), frame([WireRecord(b"x" * 100, b"same") for _ in range(300)]))
    assert len(by_key(rig)[b"same"]) > 6


@pytest.mark.parametrize("key", [None, b"same"])
def test_round_robin_takes_turns_among_the_available(key: bytes | None) -> None:
    rig = Rig(partitions=5, partitioner="round_robin")
    stream = rig.stream("frames")
    items = [WireRecord(b"%d" % at, key) for at in range(11)]
    push(stream, frame(items))
    assert {item.value: item.partition for item in rig.drain()} == {b"%d" % at: at % 5 for at in range(11)}
    rig.records.clear()
    rig.intake.set_partitions(0, b"\1\0\1\0\1")
    push(stream, frame(items))
    # The counter goes on from 11: the third of the three available ones comes first.
    assert {item.value: item.partition for item in rig.drain()} == {
        b"%d" % at: (0, 2, 4)[(11 + at) % 3] for at in range(11)
    }
    rig.records.clear()
    rig.intake.set_partitions(0, bytes(5))
    push(stream, frame(items))
    assert Counter(item.partition for item in rig.drain()).keys() == set(range(5))


def test_a_named_partition_comes_before_any_partitioner() -> None:
    for partitioner in ("murmur2", "crc32", "sticky", "round_robin"):
        rig = Rig(partitions=7, partitioner=partitioner)
        push(rig.stream("frames"), frame([WireRecord(b"%d" % at, b"key", 3) for at in range(20)]))
        assert {item.partition for item in rig.drain()} == {3}


class Switches:
    """Kafka's rule with Kafka's words (RecordAccumulator.append, BuiltInPartitioner.updatePartitionInfo), and nothing
    of how it is done here: when a new sticky partition is drawn, for records of given sizes that come in given
    batches."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.produced_bytes = 0
        self.draws = 1
        self.drawn_behind = False
        """The last append ended with a draw, which is made here when the next record needs it."""
        self.open_bytes = 0
        """Of the partition's last batch, 0: none is open."""

    def append(self, record_bytes: int) -> None:
        if self.open_bytes and self.open_bytes + record_bytes > self.batch_size:
            self.open_bytes = 0  # tryAppend closes it
        if self.open_bytes == 0:
            self.update(0, True)
        draws = self.draws
        appended = record_bytes + (0 if self.open_bytes else HEADER_BYTES)
        self.open_bytes += appended
        self.update(appended, self.open_bytes >= self.batch_size)
        self.drawn_behind = self.draws > draws

    def update(self, appended_bytes: int, enable_switch: bool) -> None:
        self.produced_bytes += appended_bytes
        full = self.produced_bytes >= self.batch_size
        if (full and enable_switch) or self.produced_bytes >= 2 * self.batch_size:
            self.produced_bytes = 0
            self.draws += 1

    def lingered(self) -> None:
        self.open_bytes = 0


@given(
    st.integers(4200, 8000),
    st.lists(st.integers(0, 3000) | st.integers(0, 9000) | st.none(), min_size=1, max_size=120),
)
def test_sticky_switches_exactly_as_kafka_does(batch_size: int, steps: list[int | None]) -> None:
    """None: what is open lingers out. With one partition every draw finds it again, with its open batch."""
    rig = Rig(partitions=1, batch_bytes=batch_size, buffer_bytes=16 << 20)
    stream = rig.stream("lines")
    model = Switches(batch_size)
    for step in steps:
        if step is None:
            rig.drain()
            model.lingered()
            continue
        before = rig.arena.ledger()["accepted_bytes"]
        push(stream, b"x" * (step + 1) + b"\n")
        model.append(rig.arena.ledger()["accepted_bytes"] - before)
        assert rig.intake.draws(0) == model.draws - model.drawn_behind


def drawn(rig: Rig, count: int) -> Counter[int]:
    """Partitions of ``count`` draws: with batch.size 0 each record is one."""
    stream = rig.stream("lines")
    for _ in range(count // 500):
        push(stream, b"x\n" * 500)
        rig.drain()
    return Counter(item.partition for item in rig.records)


def test_shorter_queues_are_drawn_more_often() -> None:
    rig = Rig(partitions=3, batch_bytes=0, seed=11)
    rig.intake.weigh(0, array("i", [0, 3, 1]))
    found = drawn(rig, 8000)
    assert {partition: round(found[partition] / 1000) for partition in range(3)} == {0: 4, 1: 1, 2: 3}


def test_what_is_left_out_gets_nothing_until_it_is_weighed_again() -> None:
    rig = Rig(partitions=3, batch_bytes=0)
    rig.intake.weigh(0, array("i", [0, -1, 0]))
    assert drawn(rig, 1000).keys() == {0, 2}
    rig.records.clear()
    rig.intake.weigh(0, None)
    stream = rig.intake.stream(-1, 0, 9)
    push(stream, b"x\n" * 500)
    assert {item.partition for item in rig.drain()} == {0, 1, 2}


def test_holds_and_leaders_go_before_weights() -> None:
    rig = Rig(partitions=3, batch_bytes=0)
    rig.intake.weigh(0, array("i", [9, 9, 0]))
    rig.intake.hold(0, 2, True)
    assert drawn(rig, 500).keys() == {0, 1}
    rig.records.clear()
    rig.intake.weigh(0, array("i", [9, 0, 0]))
    rig.intake.set_partitions(0, b"\1\0\1\1")
    rig.intake.weigh(0, array("i", [0, 0, 0]))  # of three, and there are four: not taken
    stream = rig.intake.stream(-1, 0, 9)
    push(stream, b"x\n" * 500)
    assert {item.partition for item in rig.drain()} == {0, 3}


def test_draws_are_counted() -> None:
    rig = Rig(partitions=2)
    assert rig.intake.draws(0) == 0
    rig.stream("lines").feed(b"x\n", NOW_MS, TICK_MS)
    assert rig.intake.draws(0) == 1
