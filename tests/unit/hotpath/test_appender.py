"""Open batches: commit per read, sealing, prediction of runs, sticky partitions, provenance."""

import re
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.intake import OPENED, SEALED
from ingestd.limits import BATCH_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES_MAX
from ingestd.metrics import Rejected
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.record_encoder import PlainRecord, encode_record, murmur2
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push


def test_a_read_that_touches_more_batches_than_an_intent_holds() -> None:
    rig = Rig(buffer_bytes=16 << 20, partitions=400)
    session = rig.arena.session_open(b"\1" * 16, NOW_MS)
    stream = rig.stream("frames")
    stream.set_session(session.index, 1)
    items = [WireRecord(b"%d" % at, None, at * 7 % 400) for at in range(2000)]
    push(stream, records_frame(items, topic=b"t0"))
    rig.check()
    assert stream.accepted_sequence == 2000
    assert len(rig.drain()) == 2000
    for partition in range(400):
        values = [item.value for item in rig.records if item.partition == partition]
        assert values == [item.value for item in items if item.partition == partition]
    rig.check()


def test_runs_grow_with_what_fills_them() -> None:
    rig = Rig(buffer_bytes=8 << 20, partitions=1)
    stream = rig.stream("lines")
    line = b"x" * 999 + b"\n"
    for _ in range(40):
        assert push(stream, line * 20)
        rig.intake.seal_due(TICK_MS)  # nothing is due yet
    rig.drain()
    steps = [size for size in rig.sizes if size > 8000]
    assert steps[0] <= 16384 < steps[1] <= 32768 < steps[2] <= 65536 < steps[3] <= 131072
    assert max(rig.sizes) <= 131072


def test_batch_size_holds() -> None:
    rig = Rig(partitions=1, batch_bytes=5000)
    push(rig.stream("lines"), (b"x" * 99 + b"\n") * 500)
    rig.drain()
    assert max(rig.sizes) <= 5000
    assert min(rig.sizes[:-1]) > 5000 - 120


def test_a_batch_has_no_more_records_than_it_could_be_split_into() -> None:
    rig = Rig(buffer_bytes=256 << 20, partitions=1, batch_bytes=64 << 20)
    stream = rig.stream("lines")
    for _ in range(80):
        stream.feed(b"x\n" * 65536, NOW_MS, TICK_MS)
    rig.intake.seal_all()
    counts = [batch.record_count for batch in rig.arena.take_sealed()]
    assert sum(counts) == 80 * 65536
    assert max(counts) == 1 << 20


def test_a_batch_takes_its_first_record_whatever_its_size() -> None:
    rig = Rig(partitions=1, batch_bytes=0)
    values = [b"a", b"x" * 300_000, b"b"]
    push(rig.stream("lines"), b"\n".join(values) + b"\n")
    assert rig.values() == values
    assert len(rig.sizes) == 3


def test_linger() -> None:
    rig = Rig(topics=2, linger_ms=10)
    first = rig.stream("lines")
    second = rig.stream("lines", index=1, topic=1)
    assert rig.intake.seal_due(0) == -1
    assert first.feed(b"a\n", NOW_MS, 1000)[0] & OPENED
    assert not first.feed(b"b\n", NOW_MS, 1004)[0] & OPENED
    assert second.feed(b"c\n", NOW_MS, 1006)[0] & OPENED
    assert rig.intake.seal_due(1007) == 3
    assert rig.intake.seal_due(1010) == 6
    assert [batch.record_count for batch in rig.arena.take_sealed()] == [2]
    assert rig.intake.seal_due(1016) == -1
    assert [batch.topic for batch in rig.arena.take_sealed()] == [1]
    assert rig.arena.take_sealed() == []


def test_what_has_lingered_half_its_time_goes_along_with_what_is_due() -> None:
    rig = Rig(topics=3, linger_ms=10)
    for index, opened_ms in enumerate((1000, 1005, 1006)):
        assert rig.stream("lines", index=index, topic=index).feed(b"a\n", NOW_MS, opened_ms)[0] & OPENED
    assert rig.intake.seal_due(1009) == 1
    assert rig.arena.take_sealed() == []
    assert rig.intake.seal_due(1010) == 6
    assert [batch.topic for batch in rig.arena.take_sealed()] == [0, 1]
    assert rig.intake.seal_due(1015) == 1


def test_no_more_than_128_go_along() -> None:
    rig = Rig(buffer_bytes=32 << 20, partitions=200, linger_ms=10)
    stream = rig.stream("frames")
    for opened_ms, partitions in ((1000, [0]), (1005, range(1, 200))):
        items = [WireRecord(b"v", partition=each) for each in partitions]
        stream.feed(records_frame(items, topic=b"t0"), NOW_MS, opened_ms)
    assert rig.intake.seal_due(1010) == 5
    assert [batch.partition for batch in rig.arena.take_sealed()] == list(range(129))
    assert rig.intake.seal_due(1015) == -1
    assert len(rig.arena.take_sealed()) == 71


def test_sealed_in_the_middle_of_a_read() -> None:
    rig = Rig(partitions=1)
    stream = rig.stream("lines")
    flags = push(stream, (b"x" * 99 + b"\n") * 1000)
    assert flags & SEALED
    rig.check()
    sealed = rig.arena.take_sealed()
    assert len(sealed) >= 2
    assert rig.arena.buffered() == 1000


def test_sticky_goes_on_after_a_batch_size() -> None:
    rig = Rig(buffer_bytes=32 << 20, partitions=5, batch_bytes=32768)
    stream = rig.stream("lines")
    partitions = []
    for _ in range(2000):
        push(stream, b"x" * 999 + b"\n")
    rig.intake.seal_all()
    for batch in rig.arena.take_sealed():
        partitions += [batch.partition] * batch.size_bytes
    # About two megabytes in batches of 32 KiB: some sixty draws among five.
    shares = Counter(partitions)
    assert len(shares) == 5
    assert max(shares.values()) < len(partitions) * 0.45


def test_sticky_stays_while_a_batch_lingers() -> None:
    rig = Rig(partitions=50)
    stream = rig.stream("lines")
    for _ in range(100):
        push(stream, b"x" * 99 + b"\n")
    assert len({item.partition for item in rig.drain()}) == 1


def test_sticky_avoids_partitions_without_leader_and_held_ones() -> None:
    rig = Rig(partitions=4, batch_bytes=4096, buffer_bytes=16 << 20)
    rig.intake.set_partitions(0, b"\0\1\1\0")
    stream = rig.stream("lines")
    push(stream, (b"x" * 999 + b"\n") * 400)
    assert {item.partition for item in rig.drain()} == {1, 2}
    rig.records.clear()
    rig.intake.hold(0, 1, True)
    push(stream, (b"x" * 999 + b"\n") * 400)
    assert {item.partition for item in rig.drain()} == {2}
    rig.records.clear()
    rig.intake.set_partitions(0, bytes(4))
    rig.intake.hold(0, 1, False)
    push(stream, (b"x" * 999 + b"\n") * 400)
    assert {item.partition for item in rig.drain()} == {0, 1, 2, 3}


def test_keys_go_to_partitions_without_leader_too() -> None:
    rig = Rig(partitions=6)
    rig.intake.set_partitions(0, b"\1\0\0\0\0\0")
    push(rig.stream("frames"), records_frame([WireRecord(b"", b"foobar"), WireRecord(b"", b"")], topic=b"t0"))
    assert sorted((item.key, item.partition) for item in rig.drain()) == [(b"", 3), (b"foobar", 0)]


def test_partitions_grow_and_go() -> None:
    rig = Rig(partitions=2)
    stream = rig.stream("frames")
    push(stream, records_frame([WireRecord(b"a", None, 1)], topic=b"t0"))
    rig.intake.set_partitions(0, b"\1" * 40)
    push(stream, records_frame([WireRecord(b"b", None, 39), WireRecord(b"c", None, 1)], topic=b"t0"))
    rig.intake.set_partitions(0, b"\1")
    assert [batch.partition for batch in rig.arena.take_sealed()] == [1, 39]
    push(stream, records_frame([WireRecord(b"d", None, 1), WireRecord(b"e", None, 0)], topic=b"t0"))
    assert rig.rejected() == {Rejected.INVALID_PARTITION: 1}
    assert rig.values() == [b"e"]


def test_a_full_arena_seals_what_is_open() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=40)
    stream = rig.stream("frames", shed=True)
    push(stream, records_frame([WireRecord(b"x", None, at) for at in range(40)], topic=b"t0"))
    # Predicted runs of four pages each are most of the arena; one page each is enough for what is in them.
    push(stream, records_frame([WireRecord(b"y" * 9_000, None, at) for at in range(40)], topic=b"t0"))
    assert rig.rejected() == {}
    assert len(rig.drain()) == 80


def test_provenance_goes_on_while_the_sender_does() -> None:
    rig = Rig(partitions=1)
    listener = rig.listener("lines")
    one, two = (rig.intake.stream(-1, listener, sender) for sender in (1, 2))
    for stream, count in ((one, 3), (one, 2), (two, 1), (one, 1)):
        push(stream, b"v\n" * count)
    rig.intake.seal_all()
    (batch,) = rig.arena.take_sealed()
    runs = [(run.kind, run.listener, run.sender, run.record_count) for run in rig.arena.provenance(batch.entry)]
    assert runs == [(1, 0, 1, 5), (1, 0, 2, 1), (1, 0, 1, 1)]


def test_accepted_bytes_are_those_of_the_batches() -> None:
    rig = Rig()
    push(rig.stream("lines", key=2, key_field=1), b"".join(b"k%d\tvalue\n" % at for at in range(1000)))
    rig.drain()
    ledger = rig.arena.ledger()
    assert ledger["accepted_bytes"] == ledger["delivered_bytes"] == sum(rig.sizes) - 61 * len(rig.sizes)


@given(st.integers(0, 5000), st.none() | st.binary(max_size=20))
def test_record_bytes_max_is_exact(size: int, key: bytes | None) -> None:
    alone = 61 + len(encode_record(PlainRecord(NOW_MS, key, b"x" * size), NOW_MS, 0))
    frame = records_frame([WireRecord(b"x" * size, key, None, NOW_MS)], topic=b"t0")
    for limit, fits in ((alone, True), (alone - 1, False)):
        rig = Rig()
        push(rig.stream("frames", record_bytes_max=limit), frame)
        assert len(rig.drain()) == fits
        assert rig.rejected() == ({} if fits else {Rejected.RECORD_TOO_LARGE: 1})
        assert all(found <= limit for found in rig.sizes)


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=60), st.integers(1, 70))
def test_equal_keys_keep_their_order(keys: list[bytes], partitions: int) -> None:
    rig = Rig(partitions=partitions)
    items = [WireRecord(b"%d" % at, key) for at, key in enumerate(keys)]
    push(rig.stream("frames"), records_frame(items, topic=b"t0"))
    found = rig.drain()
    for key in set(keys):
        mine = [(item.partition, item.value) for item in found if item.key == key]
        partition = (murmur2(key) & 0x7FFFFFFF) % partitions
        assert mine == [(partition, b"%d" % at) for at, other in enumerate(keys) if other == key]


def test_the_protocols_example_of_the_largest_record() -> None:
    text = " ".join((Path(__file__).parents[3] / "PROTOCOL.md").read_text().split())
    found = re.search(
        r"Where `record_bytes_max` is (\d+), the largest value is (\d+) bytes without a key and (\d+) with a key",
        text,
    )
    assert found
    granted, keyless, keyed = map(int, found.groups())
    for key, largest in ((None, keyless), (b"k", keyed)):
        for size, fits in ((largest, True), (largest + 1, False)):
            rig = Rig()
            stream = rig.stream("frames", record_bytes_max=granted + BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES_MAX)
            push(stream, records_frame([WireRecord(b"x" * size, key, None, NOW_MS)], topic=b"t0"))
            assert len(rig.drain()) == fits
