"""Datagrams: frames and lines in them, senders, waiting, what the kernel dropped. No sockets: fed."""

import gc
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.intake import ACCEPTED, BLOCKED, BLOCKED_BY_ARENA, BROKEN, OPENED, READ_MORE, REJECTED
from ingestd.metrics import Rejected
from tests.reference.native_frame import HELLO, WireRecord, frame, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig

V = WireRecord(b"v")


def ipv4(address: str, port: int) -> bytes:
    """A sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8)


def ipv6(address: str, port: int) -> bytes:
    """A sockaddr_in6."""
    packed = socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed + bytes(4)


def test_lines() -> None:
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("lines"), b"", False)
    datagram.feed([b"a\nb", b"c\n", b"", b"\n", b"d\n\ne"], NOW_MS, TICK_MS)
    assert rig.values() == [b"a", b"b", b"c", b"d", b"e"]
    assert rig.rejected() == {Rejected.EMPTY: 3}
    assert rig.arena.ledger()["received_bytes"] == 10
    rig.check()


def test_frames() -> None:
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("frames"), b"", False)
    good = records_frame([WireRecord(b"good")], topic=b"t0")
    datagrams = [
        good + good,
        good + frame(HELLO, b""),
        good[:-1],
        good + good[:30],
        good + b"\0",
        records_frame([V], topic_id=0),
        records_frame([V], topic=b"other"),
        b"",
        b"\xff" * 100,
        good,
    ]
    flags = datagram.feed(datagrams, NOW_MS, TICK_MS)
    assert flags == ACCEPTED | REJECTED | OPENED
    assert not flags & BROKEN
    assert rig.values() == [b"good"] * 6
    assert rig.rejected() == {
        Rejected.UNSUPPORTED_FRAME: 1,
        Rejected.BAD_FRAMING: 3,
        Rejected.INVALID_TOPIC: 1,
        Rejected.TOPIC_NOT_ALLOWED: 1,
        Rejected.EMPTY: 1,
        Rejected.FRAME_TOO_LARGE: 1,
    }
    rig.check()


def test_truncated() -> None:
    rig = Rig()
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"", False)
    datagram.feed([b"x" * 65_536, b"x" * 65_535], NOW_MS, TICK_MS)
    assert rig.rejected() == {Rejected.TRUNCATED: 1}
    assert len(rig.drain()) == 1
    rig.check()


def test_senders() -> None:
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("raw", key=1), b"", True)
    sources = [
        ipv4("192.0.2.1", 514),
        ipv4("192.0.2.1", 514),
        ipv4("192.0.2.1", 515),
        ipv4("192.0.2.2", 515),
        ipv6("2001:db8::1", 65_535),
        ipv6("2001:db8::1", 65_535),
        ipv6("2001:db8::2", 65_535),
        ipv4("192.0.2.2", 515),
    ]
    datagram.feed([b"%d" % at for at in range(8)], NOW_MS, TICK_MS, sources)
    keys = [
        b"192.0.2.1:514",
        b"192.0.2.1:514",
        b"192.0.2.1:515",
        b"192.0.2.2:515",
        b"[2001:db8::1]:65535",
        b"[2001:db8::1]:65535",
        b"[2001:db8::2]:65535",
        b"192.0.2.2:515",
    ]
    rig.intake.seal_all()
    (batch,) = rig.arena.take_sealed()
    assert [item.key for item in rig.arena.records(batch.entry)] == keys
    runs = rig.arena.provenance(batch.entry)
    assert [(run.kind, run.record_count) for run in runs] == [(4, 2), (4, 1), (4, 1), (5, 2), (5, 1), (4, 1)]
    assert runs[1].sender == socket.inet_aton("192.0.2.1") + struct.pack("<H", 515)
    assert runs[4].sender == socket.inet_pton(socket.AF_INET6, "2001:db8::2") + struct.pack("<H", 65_535)


def test_sources_of_two_families_side_by_side() -> None:
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"", True)
    both = [ipv4("192.0.2.1", 1), ipv6("::1", 1)]
    datagram.feed([b"v"] * 64, NOW_MS, TICK_MS, both * 32)
    assert [item.kind for item in rig.drain()] == [4, 5] * 32


def test_never_waits_for_a_count_or_a_share() -> None:
    rig = Rig(partitions=2)
    datagram = rig.intake.datagram_fed(rig.listener("raw", key=1), b"path", False)
    rig.intake.set_partitions(0, b"")
    datagram.feed([b"v"], NOW_MS, TICK_MS)
    rig.intake.set_partitions(0, b"\1")
    rig.intake.hold(0, 0, True)
    datagram.feed([b"v"], NOW_MS, TICK_MS)
    assert rig.rejected() == {Rejected.TOPIC_UNKNOWN: 1, Rejected.PARTITION_SHARE: 1}
    assert datagram.held_bytes == 0
    rig.check()


def fill(rig: Rig) -> None:
    """Leaves no free page."""
    listener = rig.listener("lines", index=9)
    stream = rig.intake.stream(-1, listener, 1)
    while True:
        flags, _ = stream.feed(b"x" * 3_000 + b"\n", NOW_MS, TICK_MS)
        if flags & BLOCKED:
            return


def test_a_socket_in_a_garbage_cycle_gives_back_what_it_holds() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("lines"), b"", True)
    fill(rig)
    assert datagram.feed([b"a" * 5000], NOW_MS, TICK_MS, [ipv4("192.0.2.1", 9)]) & BLOCKED
    assert rig.intake.held_bytes > 5000
    ring: list[object] = [datagram]
    ring.append(ring)
    del ring, datagram
    gc.collect()
    assert rig.intake.held_bytes == 0


def test_full_arena_holds_what_was_read() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("lines"), b"", True)
    other = rig.intake.datagram_fed(rig.listener("lines", index=1, shed=True), b"", True)
    fill(rig)
    datagrams = [b"a" * 5000 + b"\nb", b"", b"c" * 70_000, b"d\ne"]
    sources = [ipv4("192.0.2.1", at) for at in range(4)]
    flags = datagram.feed(datagrams, NOW_MS, TICK_MS, sources)
    assert flags & BLOCKED
    assert not flags & (ACCEPTED | READ_MORE)
    assert datagram.blocked_reason == BLOCKED_BY_ARENA
    assert datagram.held_bytes > 5000
    received = rig.arena.ledger()["received_bytes"]
    assert datagram.read(NOW_MS, TICK_MS) & BLOCKED
    # Another socket is not held up, and what sheds is refused.
    assert other.feed([b"x" * 5000], NOW_MS, TICK_MS, [ipv6("::1", 9)]) & REJECTED
    rig.check()
    rig.drain()
    rig.records.clear()
    assert datagram.resume(NOW_MS, TICK_MS) & ACCEPTED
    assert rig.values() == [b"a" * 5000, b"b", b"d", b"e"]
    assert [item.sender[4:] for item in rig.records if isinstance(item.sender, bytes)] == [
        struct.pack("<H", at) for at in (0, 0, 3, 3)
    ]
    assert rig.rejected() == {Rejected.EMPTY: 1, Rejected.TRUNCATED: 1, Rejected.SHED: 1}
    assert rig.arena.ledger()["received_bytes"] == received + 5000
    assert datagram.held_bytes == rig.intake.held_bytes == 0
    rig.check()


def test_full_arena_in_the_middle_of_a_datagram() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("frames", timestamp=0), b"", False)
    fill(rig)
    values = [b"%d" % at * 900 for at in range(40)]
    frames = records_frame([WireRecord(value) for value in values[:20]], topic=b"t0")
    frames += records_frame([WireRecord(value) for value in values[20:]], topic=b"t0")
    flags = datagram.feed([frames, frames], NOW_MS, TICK_MS)
    found: list[bytes | None] = []
    sealed = []
    stops = 0
    while flags & BLOCKED:
        # One batch at a time makes room for some of a datagram only.
        stops += 1
        sealed += rig.arena.take_sealed()
        batch = sealed.pop(0)
        found += [item.value for item in rig.arena.records(batch.entry)]
        rig.arena.stamp(batch.entry, 1, 0, 0, 0, NOW_MS)
        rig.arena.done(batch.entry)
        flags = datagram.resume(NOW_MS, TICK_MS)
    for batch in sealed:
        found += [item.value for item in rig.arena.records(batch.entry)]
    found += rig.values()
    assert stops >= 2
    assert [value for value in found if value and not value.startswith(b"x")] == values * 2
    rig.check()


def test_given_up_at_the_end() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("lines"), b"", False)
    fill(rig)
    datagram.feed([b"a" * 5000, b"b" * 5000 + b"\nc"], NOW_MS, TICK_MS)
    assert datagram.finish(NOW_MS, TICK_MS) & REJECTED
    assert rig.rejected() == {Rejected.CUT: 3}
    rig.check()


def test_pressure() -> None:
    rig = Rig()
    blocks = rig.intake.datagram_fed(rig.listener("raw"), b"", False)
    sheds = rig.intake.datagram_fed(rig.listener("raw", index=1, shed=True), b"", False)
    rig.intake.set_pressure(1)
    assert blocks.feed([b"v"], NOW_MS, TICK_MS) == BLOCKED
    assert sheds.feed([b"v"], NOW_MS, TICK_MS) & ACCEPTED
    rig.intake.set_pressure(2)
    assert sheds.feed([b"v", b"w"], NOW_MS, TICK_MS) == REJECTED
    rig.intake.set_pressure(0)
    assert sheds.feed([b"v"], NOW_MS, TICK_MS) & ACCEPTED
    assert rig.rejected() == {Rejected.SHED: 2}
    rig.check()


def test_kernel_drops_wrap_and_never_go_back() -> None:
    rig = Rig()
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"", True)
    told = [0, 5, 3, 5, 2**31, 2**32 - 1, 4, 2**32 - 1, 4]
    total = [0, 5, 5, 5, 2**31, 2**32 - 1, 2**32 + 4, 2**32 + 4, 2**32 + 4]
    for count, expected in zip(told, total, strict=True):
        if count == 2**31:
            datagram.note_drops(2**30, NOW_MS, TICK_MS)
        datagram.note_drops(count, NOW_MS, TICK_MS)
        assert rig.arena.ledger()["kernel_dropped"] == expected
    rig.check()


def test_a_full_ring() -> None:
    rig = Rig()
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"", False)
    assert datagram.feed([b"v"] * 64, NOW_MS, TICK_MS) & READ_MORE
    with pytest.raises(ValueError, match="64"):
        datagram.feed([b"v"] * 65, NOW_MS, TICK_MS)
    assert len(rig.drain()) == 64


@given(st.lists(st.binary(max_size=40), max_size=64))
def test_any_bytes_are_records(datagrams: list[bytes]) -> None:
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"", False)
    datagram.feed(datagrams, NOW_MS, TICK_MS)
    assert rig.values() == [value for value in datagrams if value]
    rig.check()
