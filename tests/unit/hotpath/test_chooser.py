"""Partitions that Python chooses: asked once per read, whatever the read holds, and taken in step."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.intake import BLOCKED, BLOCKED_BY_ARENA, SEALED, TOPIC_WAIT, Stream
from ingestd.metrics import Rejected
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push

Bytes = bytes | None


class Asked:
    """A partitioner that remembers what it was asked; ``choose(key, value, count)`` answers for one record."""

    def __init__(self, choose: Callable[[Bytes, Bytes, int], int]) -> None:
        self.calls: list[list[tuple[Bytes, Bytes]]] = []
        self._choose = choose

    def __call__(self, keys: list[Bytes], values: list[Bytes], count: int) -> Sequence[int]:
        self.calls.append(list(zip(keys, values, strict=True)))
        return [self._choose(key, value, count) for key, value in self.calls[-1]]


def by_length(key: Bytes, value: Bytes, count: int) -> int:
    """A choice that the built-in ones would not make."""
    return (len(value or b"") + 10 * len(key or b"")) % count


def taken(rig: Rig) -> list[tuple[Bytes, Bytes, int]]:
    return [(item.key, item.value, item.partition) for item in rig.drain()]


def test_one_call_for_all_lines_of_a_read() -> None:
    asked = Asked(by_length)
    rig = Rig(partitions=7, partitioner=asked)
    lines = [b"x" * length for length in range(1, 60)]
    push(rig.stream("lines"), b"\n".join(lines) + b"\n")
    assert asked.calls == [[(None, line) for line in lines]]
    assert sorted(taken(rig)) == sorted((None, line, len(line) % 7) for line in lines)
    rig.check()


def test_frames_mix_topics_and_explicit_partitions() -> None:
    asked = Asked(by_length)
    rig = Rig(topics=2, partitions=5, partitioner=["murmur2", asked])
    stream = rig.stream("frames", topics=(0, 1))
    mine = [WireRecord(b"v" * at, b"k" * (at % 3), at % 5 if at % 4 == 0 else None) for at in range(40)]
    other = [WireRecord(b"%d" % at, b"k") for at in range(40)]
    data = b"".join(
        records_frame(items[at : at + 10], topic=topic, first_sequence=1)
        for at in range(0, 40, 10)
        for items, topic in ((other, b"t0"), (mine, b"t1"))
    )
    push(stream, data)
    assert asked.calls == [[(item.key, item.value) for item in mine if item.partition is None]]
    found = [item for item in rig.drain() if item.topic == 1]
    expected = [
        (item.value, by_length(item.key, item.value, 5) if item.partition is None else item.partition) for item in mine
    ]
    assert sorted((item.value, item.partition) for item in found) == sorted(expected)
    assert len(rig.records) == 80
    rig.check()


def test_two_topics_with_partitioners_of_their_own() -> None:
    one, two = Asked(lambda *_: 0), Asked(lambda *_: 1)
    rig = Rig(topics=2, partitioner=[one, two])
    stream = rig.stream("frames", topics=(0, 1))
    for name in (b"t0", b"t1", b"t0"):
        push(stream, records_frame([WireRecord(name), WireRecord(b"x")], topic=name))
    push(stream, b"".join(records_frame([WireRecord(name)], topic=name) for name in (b"t1", b"t0", b"t1")))
    assert {(item.topic, item.partition) for item in rig.drain()} == {(0, 0), (1, 1)}
    assert len(one.calls) == 3
    assert two.calls[-1] == [(None, b"t1"), (None, b"t1")]


def test_a_session_counts_what_was_taken_and_nothing_of_the_look_ahead() -> None:
    asked = Asked(by_length)
    rig = Rig(partitioner=asked, record_bytes_max=500)
    session = rig.arena.session_open(b"\1" * 16, NOW_MS)
    stream = rig.stream("frames", record_bytes_max=500)
    stream.set_session(session.index, 1)
    items = [WireRecord(b"x" * (600 if at == 3 else at)) for at in range(8)]
    # The second frame repeats half of the first: skipped, and not asked for twice.
    push(
        stream,
        records_frame(items, topic=b"t0", first_sequence=1) + records_frame(items, topic=b"t0", first_sequence=5),
    )
    assert stream.accepted_sequence == 12
    assert stream.take_rejections() == [(4, 1, Rejected.RECORD_TOO_LARGE)]
    assert [len(call) for call in asked.calls] == [12]
    assert rig.arena.ledger()["repeated"] == 4
    rig.check()


def test_more_records_than_are_noted_at_a_time() -> None:
    asked = Asked(by_length)
    rig = Rig(partitions=3, partitioner=asked, batch_bytes=4096)
    lines = [b"%d" % at for at in range(9000)]
    push(rig.stream("lines"), b"\n".join(lines) + b"\n")
    assert [len(call) for call in asked.calls] == [4096, 4096, 808]
    assert sorted(taken(rig)) == sorted((None, line, len(line) % 3) for line in lines)


def test_a_failed_choice_refuses_its_record_and_no_other() -> None:
    rig = Rig(partitioner=Asked(lambda _, value, count: -1 if value == b"bad" else count if value == b"far" else 0))
    push(rig.stream("lines"), b"a\nbad\nb\nfar\nc\n")
    assert rig.values() == [b"a", b"b", b"c"]
    assert rig.rejected() == {Rejected.PARTITIONER_FAILED: 1, Rejected.INVALID_PARTITION: 1}
    rig.check()


def test_what_waits_is_asked_for_again_and_taken_once() -> None:
    asked = Asked(by_length)
    rig = Rig(buffer_bytes=1 << 20, partitions=2, partitioner=asked)
    stream = rig.stream("lines")
    lines = [b"%06d" % at + b"x" * 3000 for at in range(600)]
    data = b"\n".join(lines) + b"\n"
    at = 0
    for _ in range(10_000):
        flags, took = stream.feed(data[at:], NOW_MS, TICK_MS) if at < len(data) else (stream.resume(NOW_MS, TICK_MS), 0)
        at += took
        if flags & BLOCKED:
            assert stream.blocked_reason == BLOCKED_BY_ARENA
            rig.drain()
        elif at == len(data):
            break
    assert sorted(taken(rig)) == sorted((None, line, by_length(None, line, 2)) for line in lines)
    rig.check()


def test_no_count_no_question() -> None:
    asked = Asked(by_length)
    rig = Rig(partitioner=asked)
    rig.intake.set_partitions(0, b"")
    stream = rig.stream("lines")
    assert push(stream, b"a\nb\n") & TOPIC_WAIT
    assert not asked.calls
    rig.intake.set_partitions(0, b"\1\1")
    stream.resume(NOW_MS, TICK_MS)
    assert len(asked.calls) == 1
    assert rig.values() == [b"a", b"b"] or len(rig.records) == 2


def test_one_call_for_all_datagrams_of_a_read() -> None:
    asked = Asked(by_length)
    rig = Rig(partitions=5, partitioner=asked)
    socket = rig.intake.datagram_fed(rig.listener("lines", key=1), b"", True)
    sources = [bytes([2, 0, 0x15, at, 127, 0, 0, 1]) + bytes(8) for at in range(20)]
    socket.feed([b"%d\nsecond" % at for at in range(20)], NOW_MS, TICK_MS, sources)
    assert [len(call) for call in asked.calls] == [40]
    expected = [(b"127.0.0.1:%d" % (0x1500 + at), value) for at in range(20) for value in (b"%d" % at, b"second")]
    assert asked.calls[0] == expected
    assert sorted(taken(rig)) == sorted((key, value, by_length(key, value, 5)) for key, value in expected)
    rig.check()


@pytest.mark.parametrize("format_", ["raw", "lines", "frames"])
def test_datagrams_that_wait(format_: str) -> None:
    asked = Asked(by_length)
    rig = Rig(buffer_bytes=1 << 20, partitions=3, partitioner=asked)
    socket = rig.intake.datagram_fed(rig.listener(format_), b"/path", False)
    values = [b"%05d" % at + b"y" * 9000 for at in range(300)]
    for at in range(0, 300, 60):
        part = values[at : at + 60]
        given = [records_frame([WireRecord(value)], topic=b"t0") for value in part] if format_ == "frames" else part
        flags = socket.feed(given, NOW_MS, TICK_MS)
        for _ in range(1000):
            if not flags & BLOCKED:
                break
            rig.drain()
            flags = socket.resume(NOW_MS, TICK_MS)
    assert sorted(taken(rig)) == sorted((None, value, by_length(None, value, 3)) for value in values)
    assert not rig.rejected()
    rig.check()


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=30), st.none() | st.binary(max_size=5), st.booleans()), max_size=60
    ),
    st.data(),
)
def test_as_if_each_had_been_asked_for_alone(records: list[tuple[bytes, Bytes, bool]], data: st.DataObject) -> None:
    rig = Rig(topics=2, partitions=4, partitioner=["murmur2", Asked(by_length)])
    stream: Stream = rig.stream("frames", topics=(0, 1))
    wire = b"".join(
        records_frame([WireRecord(value, key, None)], topic=b"t1" if python else b"t0")
        for value, key, python in records
    )
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=5))
    assert not push(stream, wire, cuts) & SEALED
    found = [item for item in rig.drain() if item.topic == 1]
    expected = [(key, value, by_length(key, value, 4)) for value, key, python in records if python]
    for partition in range(4):
        assert [(item.key, item.value, item.partition) for item in found if item.partition == partition] == [
            item for item in expected if item[2] == partition
        ]
    rig.check()
