"""Format `frames`: the native protocol's records."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.intake import BLOCKED, BROKEN, CONTROL, READ_MORE, REJECTED, Stream
from ingestd.metrics import Rejected
from tests.reference.native_frame import (
    CLOSE,
    HELLO,
    RECORDS,
    WireRecord,
    frame,
    raw_records_frame,
    record,
    records_frame,
    topic_frame,
)
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push

V = WireRecord(b"v")


def test_all_fields() -> None:
    rig = Rig(partitions=4)
    headers = ((b"a", b"1"), (b"", None), (b"a", b""))
    items = [WireRecord(b"v", b"k", 3, NOW_MS - 5, headers), WireRecord(None, b"", 3), WireRecord(b"", None, 3)]
    push(rig.stream("frames", sender=99), records_frame(items, topic=b"t0"))
    found = [tuple(item)[1:] for item in rig.drain()]
    assert found == [
        (3, NOW_MS - 5, b"k", b"v", headers, 1, 0, 99, 0),
        (3, NOW_MS, b"", None, (), 1, 0, 99, 0),
        (3, NOW_MS, None, b"", (), 1, 0, 99, 0),
    ]
    rig.check()


def test_topic_by_id_and_control_frames_first() -> None:
    rig = Rig(topics=2)
    stream = rig.stream("frames", topics=(0, 1))
    hello = frame(HELLO, b"hello", 1)
    data = hello + topic_frame(5, b"t1") + records_frame([V], topic_id=5) + frame(CLOSE, b"")
    assert push(stream, data) == CONTROL
    assert stream.read(NOW_MS, TICK_MS) == CONTROL  # nothing goes on before they were taken
    assert stream.take_control() == [(1, 1, b"hello"), (3, 0, struct.pack("<HH", 5, 2) + b"t1")]
    stream.set_topic_id(5, 1)
    assert stream.resume(NOW_MS, TICK_MS) & CONTROL
    assert stream.take_control() == [(5, 0, b"")]
    assert stream.resume(NOW_MS, TICK_MS) == 0
    assert [item.topic for item in rig.drain()] == [1]
    assert stream.held_bytes == 0


def test_topics_that_are_not_to_be_had() -> None:
    rig = Rig(topics=2)
    stream = rig.stream("frames")
    stream.set_topic_id(1, -1)
    stream.set_topic_id(2, -2)
    stream.set_session(-1, 1)
    frames = [
        records_frame([V], topic_id=0, first_sequence=1),
        records_frame([V], topic_id=1, first_sequence=2),
        records_frame([V], topic_id=2, first_sequence=3),
        records_frame([V], topic_id=65_535, first_sequence=4),
        records_frame([V], topic=b"t1", first_sequence=5),
        records_frame([V, V], topic=b"t/0", first_sequence=6),
        records_frame([V], topic=b"", first_sequence=8),
        records_frame([V], topic=b"..", first_sequence=9),
        records_frame([V], topic=b"a" * 250, first_sequence=10),
        records_frame([V], topic=b"a" * 249, first_sequence=11),
        records_frame([V], topic="é".encode(), first_sequence=12),
        records_frame([V], topic=b"t0", first_sequence=13),
    ]
    assert push(stream, b"".join(frames)) & REJECTED
    assert stream.take_rejections() == [
        (1, 1, Rejected.INVALID_TOPIC),
        (2, 1, Rejected.TOPIC_NOT_ALLOWED),
        (3, 2, Rejected.INVALID_TOPIC),
        (5, 1, Rejected.TOPIC_NOT_ALLOWED),
        (6, 5, Rejected.INVALID_TOPIC),
        (11, 1, Rejected.TOPIC_NOT_ALLOWED),
        (12, 1, Rejected.INVALID_TOPIC),
    ]
    assert stream.take_rejections() == []
    assert stream.accepted_sequence == 13
    assert len(rig.drain()) == 1
    rig.check()


def short(body: bytes) -> bytes:
    """A record of these bytes."""
    return struct.pack("<I", len(body)) + body


REFUSED = {
    "unknown flag": (short(b"\x20"), Rejected.MALFORMED),
    "partition missing": (short(b"\x01\0\0\0"), Rejected.MALFORMED),
    "timestamp missing": (short(b"\x02\0\0\0\0\0\0\0"), Rejected.MALFORMED),
    "key length missing": (short(b"\x04\0\0\0"), Rejected.MALFORMED),
    "all missing": (short(b"\x07" + bytes(15)), Rejected.MALFORMED),
    "key too long for its record": (short(b"\x14\x05\0\0\0key"), Rejected.MALFORMED),
    "key length of four gigabytes": (short(b"\x14\xff\xff\xff\xffkey"), Rejected.MALFORMED),
    "header count missing": (short(b"\x18\x01"), Rejected.MALFORMED),
    "header name missing": (short(b"\x18\x01\0\x05\0"), Rejected.MALFORMED),
    "header name too long for its record": (short(b"\x18\x01\0\xff\xff" + bytes(9)), Rejected.MALFORMED),
    "header value length below -1": (short(b"\x18\x01\0\0\0\xfe\xff\xff\xff"), Rejected.MALFORMED),
    "header value too long for its record": (short(b"\x18\x01\0\0\0\x02\0\0\0x"), Rejected.MALFORMED),
    "bytes behind a tombstone": (short(b"\x00x"), Rejected.MALFORMED),
    "partition that is not there": (record(V._replace(partition=3)), Rejected.INVALID_PARTITION),
    "partition below zero": (record(V._replace(partition=-1)), Rejected.INVALID_PARTITION),
    "year 2099": (record(V._replace(timestamp_ms=4_070_908_800_000)), Rejected.TIMESTAMP_OUT_OF_BOUNDS),
    "end of time": (record(V._replace(timestamp_ms=2**63 - 1)), Rejected.TIMESTAMP_OUT_OF_BOUNDS),
    "beginning of time": (record(V._replace(timestamp_ms=-(2**63))), Rejected.TIMESTAMP_OUT_OF_BOUNDS),
    "before 1970": (record(V._replace(timestamp_ms=-1)), Rejected.TIMESTAMP_OUT_OF_BOUNDS),
    "eight days old": (record(V._replace(timestamp_ms=NOW_MS - 8 * 86_400_000)), Rejected.TIMESTAMP_OUT_OF_BOUNDS),
    "key above 65535": (record(V._replace(key=b"k" * 65_536)), Rejected.KEY_TOO_LARGE),
    "too many headers": (record(V._replace(headers=((b"h", b""),) * 64)), Rejected.TOO_MANY_HEADERS),
    "header name not UTF-8": (record(V._replace(headers=((b"\xff", b""),))), Rejected.INVALID_HEADER),
    "header name too long": (record(V._replace(headers=((b"h" * 1025, b""),))), Rejected.INVALID_HEADER),
    "value above the limit": (record(V._replace(value=b"x" * 100_000)), Rejected.RECORD_TOO_LARGE),
    "far above the limit": (record(V._replace(value=b"x" * 400_000)), Rejected.RECORD_TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_record_in_a_good_frame(name: str) -> None:
    bad, reason = REFUSED[name]
    rig = Rig(window_bytes=65_536)
    stream = rig.stream(
        "frames", timestamp_refuse=True, headers=b"\x02s\x02v", header_count=1, record_bytes_max=100_000
    )
    stream.set_session(-1, 1)
    good = record(WireRecord(b"good", b"k"))
    flags = push(stream, raw_records_frame([good, bad, bad, good], topic=b"t0"))
    assert flags & ~READ_MORE & (REJECTED | BROKEN) == REJECTED
    assert stream.take_rejections() == [(2, 2, reason)]
    assert stream.accepted_sequence == 4
    assert rig.values() == [b"good", b"good"]
    assert rig.rejected() == {reason: 2}
    assert rig.intake.held_bytes == 0
    rig.check()


def test_limits_are_allowed() -> None:
    rig = Rig(record_bytes_max=200_000)
    items = [
        V._replace(key=b"k" * 65_535),
        V._replace(headers=((b"h" * 1024, b""),) * 64),
        V._replace(timestamp_ms=NOW_MS - 7 * 86_400_000),
        V._replace(timestamp_ms=NOW_MS + 50 * 60_000),
    ]
    push(rig.stream("frames", timestamp_refuse=True), records_frame(items, topic=b"t0"))
    assert len(rig.drain()) == 4
    assert rig.rejected() == {}


def test_timestamps_out_of_bounds_become_the_arrival() -> None:
    rig = Rig(partitions=1)
    stream = rig.stream("frames")
    push(
        stream, records_frame([V._replace(timestamp_ms=at) for at in (0, NOW_MS + 3_000_001, NOW_MS - 1)], topic=b"t0")
    )
    assert [item.timestamp_ms for item in rig.drain()] == [NOW_MS, NOW_MS, NOW_MS - 1]
    assert rig.arena.ledger()["timestamps_replaced"] == 2


def test_a_replaced_timestamp_is_counted_once_however_often_its_record_is_offered() -> None:
    rig = Rig(partitions=2)
    stream = rig.stream("frames")
    rig.intake.hold(0, 1, True)
    items = [V._replace(timestamp_ms=at, partition=part) for at, part in ((0, 0), (None, 0), (0, 1), (NOW_MS, 1))]
    assert push(stream, records_frame(items, topic=b"t0")) & BLOCKED
    for _ in range(3):
        assert stream.resume(NOW_MS, TICK_MS) & BLOCKED
    assert rig.arena.ledger()["timestamps_replaced"] == 1
    rig.intake.hold(0, 1, False)
    stream.resume(NOW_MS, TICK_MS)
    assert rig.arena.ledger()["timestamps_replaced"] == 2
    assert len(rig.drain()) == 4


def test_arrival_only() -> None:
    rig = Rig(partitions=1)
    push(rig.stream("frames", timestamp=0), records_frame([V._replace(timestamp_ms=1)], topic=b"t0"))
    assert [item.timestamp_ms for item in rig.drain()] == [NOW_MS]


HEAD = struct.pack("<HHIQ", 0, 0, 1, 1)
BROKEN_FRAMES = {
    "length below its head": (struct.pack("<IBBH", 3, 2, 0, 0), Rejected.BAD_FRAMING),
    "length of zero": (bytes(8), Rejected.BAD_FRAMING),
    "length above the limit": (struct.pack("<IBBH", (2 << 20) + 1, 2, 0, 0), Rejected.FRAME_TOO_LARGE),
    "length of four gigabytes": (b"\xff" * 8, Rejected.FRAME_TOO_LARGE),
    "control frame above its limit": (struct.pack("<IBBH", 65_537, 1, 0, 0), Rejected.FRAME_TOO_LARGE),
    "records frame shorter than its head": (frame(RECORDS, HEAD[:-1]), Rejected.BAD_FRAMING),
    "topic name without its length": (frame(RECORDS, HEAD + b"\x02", 1), Rejected.BAD_FRAMING),
    "topic name longer than its frame": (frame(RECORDS, HEAD + b"\x03\0ab", 1), Rejected.BAD_FRAMING),
    "no record where one was promised": (frame(RECORDS, HEAD), Rejected.BAD_FRAMING),
    "record of no bytes": (frame(RECORDS, HEAD + bytes(8)), Rejected.BAD_FRAMING),
    "record longer than its frame": (frame(RECORDS, HEAD + b"\x06\0\0\0\x10abcd"), Rejected.BAD_FRAMING),
    "bytes behind the last record": (frame(RECORDS, HEAD + record(V) + b"x"), Rejected.BAD_FRAMING),
}


@pytest.mark.parametrize("name", BROKEN_FRAMES)
def test_broken_framing_keeps_what_came_before(name: str) -> None:
    bad, reason = BROKEN_FRAMES[name]
    rig = Rig()
    stream = rig.stream("frames")
    flags = push(stream, records_frame([V], topic=b"t0") + bad + bytes(100))
    assert flags & BROKEN
    assert stream.error_reason == reason
    assert "frame" in stream.error_text
    # The record in front of surplus bytes was whole, but in this test it names no topic.
    surplus = {Rejected.INVALID_TOPIC: 1} if name == "bytes behind the last record" else {}
    assert rig.rejected() == {reason: 1, **surplus}
    assert rig.values() == [b"v"]
    assert stream.held_bytes == 0
    rig.check()


def test_cut_by_the_end() -> None:
    for end in range(1, len(records_frame([V], topic=b"t0"))):
        rig = Rig()
        stream = rig.stream("frames")
        push(stream, records_frame([V], topic=b"t0") * 2)
        push(stream, records_frame([V], topic=b"t0")[:end])
        assert stream.finish(False, NOW_MS, TICK_MS) & REJECTED
        assert rig.rejected() == {Rejected.CUT: 1}
        assert len(rig.drain()) == 2
        rig.check()


def some_stream(records: list[WireRecord], per_frame: int) -> bytes:
    """Frames of these records with control frames and refused ones between them."""
    data = b""
    for at in range(0, len(records), per_frame):
        part = records[at : at + per_frame]
        encoded = [record(item) for item in part] + [short(b"\x20")]
        data += raw_records_frame(encoded, topic=b"t0", first_sequence=1 + at + at // per_frame)
        data += frame(9, b"note %d" % at)
    return data


def through(stream: Stream, data: bytes, cuts: list[int]) -> list[tuple[int, int, bytes]]:
    """Feeds all of it, as a worker would; returns the control frames."""
    control, at = [], 0
    for cut in [*sorted(cuts), len(data)]:
        while at < cut:
            flags, taken = stream.feed(data[at:cut], NOW_MS, TICK_MS)
            at += taken
            while flags & CONTROL:
                control += stream.take_control()
                flags = stream.resume(NOW_MS, TICK_MS)
    return control


wire = st.builds(
    WireRecord,
    st.none() | st.binary(max_size=60),
    st.none() | st.binary(max_size=10),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(NOW_MS - 1000, NOW_MS + 1000),
    st.none() | st.lists(st.tuples(st.binary(max_size=3), st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
)


@given(st.lists(wire, max_size=20), st.integers(1, 7), st.lists(st.integers(0, 3000), max_size=12))
def test_the_same_however_it_is_cut(records: list[WireRecord], per_frame: int, cuts: list[int]) -> None:
    data = some_stream(records, per_frame)
    results = []
    for places in ([], [cut for cut in cuts if cut <= len(data)]):
        rig = Rig()
        stream = rig.stream("frames")
        stream.set_session(-1, 1)
        control = through(stream, data, places)
        refused = [(first + step, why) for first, count, why in stream.take_rejections() for step in range(count)]
        results.append((control, refused, stream.accepted_sequence, sorted(rig.drain(), key=repr)))
        assert rig.intake.held_bytes == 0
        assert rig.arena.ledger()["received_bytes"] == len(data)
        rig.check()
    assert results[0] == results[1]


def test_byte_by_byte() -> None:
    rig = Rig(partitions=1)
    data = some_stream([WireRecord(b"value %d" % at, b"k") for at in range(9)], 4)
    assert len(through(rig.stream("frames"), data, list(range(len(data))))) == 3
    assert rig.values() == [b"value %d" % at for at in range(9)]
    assert rig.rejected() == {Rejected.MALFORMED: 3}
