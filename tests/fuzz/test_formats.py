"""Foreign bytes of every kind: accepted, or refused with a reason, and the books balance.

Most telling under `make sanitize`.
"""

import os
import random
import struct
from typing import Final

import pytest

from ingestd.hotpath.intake import BLOCKED, BROKEN, CONTROL, TOPIC_WAIT, Datagram, Stream
from tests.reference.native_frame import WireRecord, confirm_frame, frame, record, records_frame, topic_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig

ROUNDS: Final = {"sample": 100, "usual": 500, "thorough": 10_000}[os.environ.get("INGESTD_HYPOTHESIS_PROFILE", "usual")]
UNKNOWN: Final = 2
"""The topic whose partition count is not known at first."""
INTERESTING: Final = (0, 1, 2, 3, 4, 5, 7, 8, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)


def some_record(chance: random.Random) -> WireRecord:
    """Often legal."""
    size = chance.choice([0, 1, 7, 100, 1000, 70_000]) if chance.random() < 0.05 else chance.randrange(200)
    headers = tuple((chance.randbytes(chance.randrange(4)), None) for _ in range(chance.choice([0, 1, 3, 65])))
    return WireRecord(
        chance.choice([None, chance.randbytes(size)]),
        chance.choice([None, chance.randbytes(chance.randrange(12))]),
        chance.choice([None, None, chance.randrange(-1, 5)]),
        chance.choice([None, NOW_MS, chance.getrandbits(63), -chance.getrandbits(63)]),
        headers if chance.random() < 0.2 else None,
    )


def some_frames(chance: random.Random) -> bytes:
    """A stream as a client might send it, of several kinds of frames."""
    data, sequence = b"", 1
    for _ in range(chance.randrange(1, 12)):
        kind = chance.random()
        if kind < 0.7:
            records = [some_record(chance) for _ in range(chance.choice([0, 1, 2, 30]))]
            topic = chance.choice([None, b"t0", b"t1", b"t2", b"\xff", b"x" * 300])
            data += records_frame(records, topic=topic, topic_id=chance.randrange(4), first_sequence=sequence)
            sequence += len(records) - chance.choice([0, 0, 0, 1, 5])
            sequence = max(1, sequence)
        elif kind < 0.8:
            data += topic_frame(chance.randrange(1200), b"t1")
        elif kind < 0.9:
            data += confirm_frame(chance.randrange(sequence + 1))
        else:
            data += frame(chance.randrange(256), chance.randbytes(chance.randrange(100)), chance.randrange(256))
    return data


def bent(chance: random.Random, data: bytes) -> bytes:
    """``data`` with some bytes, lengths and ends that it should not have."""
    out = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 8])):
        if not out:
            break
        at = chance.randrange(len(out))
        kind = chance.randrange(5)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at + 4 <= len(out):
            struct.pack_into("<I", out, at, chance.choice(INTERESTING))
        elif kind == 2:
            del out[at : at + chance.randrange(1, 9)]
        elif kind == 3:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        else:
            del out[at:]
    return bytes(out)


def some_lines(chance: random.Random) -> bytes:
    """Lines of all lengths."""
    sizes = [chance.choice([0, 1, 2, 50, 5000, 70_000, 250_000]) for _ in range(chance.randrange(8))]
    pieces = [chance.randbytes(size) if size < 100 else bytes([chance.randrange(256)]) * size for size in sizes]
    return chance.choice([b"\n", b"\r\n", b"\n\n"]).join(pieces)


def go_on(rig: Rig, stream: Stream, flags: int, session: int) -> int:
    """Does what a worker does next; whatever it is to wait for is named."""
    for _ in range(100_000):
        assert (stream.wanted_topic >= 0) == bool(flags & TOPIC_WAIT)
        assert (stream.blocked_reason > 0) == bool(flags & BLOCKED)
        if flags & BLOCKED and not flags & CONTROL:
            if stream.blocked_reason == 3:
                rig.arena.session_confirm(session, 1 << 47)
            rig.drain()
            rig.records.clear()
        for kind, _, body in stream.take_control():
            if kind == 3 and len(body) >= 2:
                topic_id = body[0] | body[1] << 8
                if topic_id < 1024:
                    stream.set_topic_id(topic_id, topic_id % 4 - 2)
        stream.take_rejections()
        if flags & TOPIC_WAIT and stream.held_bytes % 2:
            rig.intake.set_topic_refused(stream.wanted_topic, True)
        elif flags & TOPIC_WAIT:
            rig.intake.set_partitions(stream.wanted_topic, b"\1\0\1")
        if not flags & (BLOCKED | CONTROL | TOPIC_WAIT):
            return flags
        flags = stream.resume(NOW_MS, TICK_MS)
    raise AssertionError("goes round in circles")


def run_stream(rig: Rig, chance: random.Random, stream: Stream, data: bytes, session: int) -> None:
    """Feeds it in pieces to its end."""
    at, flags = 0, 0
    while at < len(data) and not flags & BROKEN:
        size = chance.choice([1, 3, 17, 300, 5000, 70_000, 1 << 20])
        flags, taken = stream.feed(data[at : at + size], NOW_MS, TICK_MS)
        assert taken or flags & BLOCKED
        assert stream.blocked_reason != 4, "held up by nobody but itself"
        at += taken
        flags = go_on(rig, stream, flags, session)
        assert stream.held_bytes <= rig.intake.held_bytes
        rig.check()
    cut = chance.random() < 0.3
    while flags := stream.finish(cut, NOW_MS, TICK_MS):
        go_on(rig, stream, flags, session)
    assert rig.intake.held_bytes == 0
    rig.drain()
    rig.check()


def small_rig(chance: random.Random) -> Rig:
    """With little room, so that every wait is met."""
    rig = Rig(
        buffer_bytes=1 << 20,
        topics=3,
        partitions=chance.choice([1, 3]),
        batch_bytes=chance.choice([0, 4096, 131_072]),
        window_bytes=chance.choice([4096, 65_536, 262_144]),
        hold_bytes=chance.choice([1 << 19, 16 << 20]),
        record_bytes_max=200_000,
    )
    rig.intake.set_partitions(UNKNOWN, b"")
    return rig


def test_frames_on_streams(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        rig = small_rig(chance)
        stream = rig.stream("frames", topics=(0, 1, 2), timestamp_refuse=chance.random() < 0.5)
        session = rig.arena.session_open(b"\1" * 16, NOW_MS).index
        stream.set_session(chance.choice([-1, session]), chance.randrange(3))
        data = some_frames(chance)
        run_stream(rig, chance, stream, bent(chance, data) if chance.random() < 0.7 else data, session)


def test_lines_on_streams(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        rig = small_rig(chance)
        spec = {"topic": chance.choice([0, UNKNOWN]), "key": chance.randrange(3), "key_field": chance.randrange(1, 5)}
        stream = rig.stream("lines", **spec, key_delimiter=b"\x20")
        run_stream(rig, chance, stream, some_lines(chance), -1)


@pytest.mark.parametrize("format_", ["raw", "lines", "frames"])
def test_datagrams(format_: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        rig = small_rig(chance)
        listener = rig.listener(format_, key=chance.randrange(3), key_field=2, shed=chance.random() < 0.3)
        udp = chance.random() < 0.5
        datagram: Datagram = rig.intake.datagram_fed(listener, b"/run/some.sock", udp)
        for _ in range(chance.randrange(1, 4)):
            datagrams = [
                bent(chance, some_frames(chance) if format_ == "frames" else some_lines(chance))
                for _ in range(chance.randrange(1, 10))
            ]
            sources = [b"\2\0" + chance.randbytes(14) if at % 2 else b"\12\0" + chance.randbytes(26) for at in range(9)]
            flags = datagram.feed(datagrams, NOW_MS, TICK_MS, sources if udp else None)
            while flags & BLOCKED:
                rig.check()
                rig.drain()
                rig.records.clear()
                flags = datagram.resume(NOW_MS, TICK_MS)
            rig.check()
        assert rig.intake.held_bytes == datagram.held_bytes == 0


def test_records_alone(seed: int) -> None:
    """Every byte string as the inside of one record, so that its parser is met behind an intact frame."""
    chance = random.Random(seed)
    for _ in range(ROUNDS // 4):
        rig = small_rig(chance)
        stream = rig.stream("frames")
        stream.set_topic_id(0, 0)
        bodies = []
        for _ in range(60):
            body = bytearray(bent(chance, record(some_record(chance))[4:])[:300] or b"\0")
            bodies.append(struct.pack("<I", len(body)) + body)
        head = struct.pack("<HHIQ", 0, 0, len(bodies), 1)
        run_stream(rig, chance, stream, frame(2, head + b"".join(bodies)), -1)
        ledger = rig.arena.ledger()
        assert ledger["received"] == 60
        assert set(rig.rejected()) <= {1, 4, 5, 9, 10, 17}
