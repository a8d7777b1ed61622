"""The budget of held bytes: who waits goes on in the end, and nobody is charged for what others only announce."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd.hotpath.intake import BLOCKED, BLOCKED_BY_ARENA, BLOCKED_BY_HOLD, BLOCKED_BY_PARTITION, Stream
from ingestd.metrics import Rejected
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push

FREE = 4096


class Sender:
    """Sends ``data`` in pieces. While it waits for the budget it is only read again in its turn, as in a worker."""

    def __init__(self, rig: Rig, number: int, data: bytes, piece: int) -> None:
        self.rig = rig
        self.stream = rig.intake.stream(-1, 0, number)
        self.data = data
        self.piece = piece
        self.at = self.sent = 0
        self.blocked = False

    def turn(self) -> bool:
        """Reads once, if there is something to read; whether it got on."""
        if self.sent == self.at:
            self.sent = min(self.at + self.piece, len(self.data))
        if self.sent == self.at or (self.blocked and self.stream.hold_ticket != self.rig.intake.hold_turn):
            return False
        flags, taken = self.stream.feed(self.data[self.at : self.sent], NOW_MS, TICK_MS)
        self.at += taken
        self.blocked = bool(flags & BLOCKED)
        assert not self.blocked or self.stream.blocked_reason == BLOCKED_BY_HOLD
        return taken > 0


def go_on(senders: list[Sender], held_bytes_max: int) -> None:
    """Until all of them have sent everything."""
    while sum(sender.turn() for sender in senders):
        assert senders[0].rig.intake.held_bytes <= held_bytes_max
    assert [sender.at for sender in senders] == [len(sender.data) for sender in senders]
    assert senders[0].rig.intake.held_bytes == 0
    assert senders[0].rig.intake.hold_turn == 0


def test_streams_in_the_middle_of_a_line_do_not_wait_for_each_other() -> None:
    rig = Rig(hold_bytes=300_000, buffer_bytes=16 << 20)
    rig.listener("lines", record_bytes_max=100_000)
    senders = [Sender(rig, number, b"x" * 60_000 + b"\n", 30_000) for number in range(1, 51)]
    go_on(senders, 300_000 + 100_001 + 50 * FREE)
    assert len(rig.drain()) == 50


def test_streams_in_the_middle_of_a_record_do_not_wait_for_each_other() -> None:
    rig = Rig(hold_bytes=1 << 20, buffer_bytes=64 << 20)
    rig.listener("frames", record_bytes_max=1 << 20)
    data = records_frame([WireRecord(b"x" * 900_000)], topic=b"t0")
    senders = [Sender(rig, number, data, 300_000) for number in range(1, 31)]
    go_on(senders, (2 << 20) + 30 * FREE + 4096)
    assert len(rig.drain()) == 30


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["lines", "frames"]),
    st.lists(
        st.tuples(st.lists(st.integers(1, 90_000), min_size=1, max_size=3), st.integers(300, 70_000)),
        min_size=2,
        max_size=12,
    ),
)
def test_everybody_finishes(format_: str, wanted: list[tuple[list[int], int]]) -> None:
    rig = Rig(hold_bytes=1, window_bytes=65_536, buffer_bytes=16 << 20)
    rig.listener(format_, record_bytes_max=100_000)
    senders = []
    for number, (sizes, piece) in enumerate(wanted, 1):
        values = [b"x" * size for size in sizes]
        if format_ == "lines":
            data = b"".join(value + b"\n" for value in values)
        else:
            data = records_frame([WireRecord(value) for value in values], topic=b"t0")
        senders.append(Sender(rig, number, data, piece))
    # A budget that is raised to the longest unit, and one unit besides.
    go_on(senders, 2 * 102_100 + len(senders) * FREE)
    assert len(rig.drain()) == sum(len(sizes) for sizes, _ in wanted)
    rig.check()


def announce(stream: Stream, size: int) -> None:
    """A record of ``size`` bytes, of which hardly one comes."""
    head = records_frame([WireRecord(b"v")], topic=b"t0")[8:-6]
    frame = struct.pack("<IBBH", 4 + len(head) + 4 + size, 2, 1, 0) + head + struct.pack("<IB", size, 16)
    assert not push(stream, frame + b"v") & BLOCKED
    assert not push(stream, b"v") & BLOCKED


def test_what_is_announced_costs_nothing() -> None:
    rig = Rig(hold_bytes=2 << 20)
    rig.listener("frames", record_bytes_max=1 << 20)
    streams = [rig.intake.stream(-1, 0, number) for number in range(64)]
    for stream in streams:
        announce(stream, 1_000_000)
    assert rig.intake.held_bytes <= 64 * FREE
    assert not any(stream.crowding for stream in streams)
    # Not even those that are free: another sender has the whole budget.
    other = rig.intake.stream(-1, 0, 100)
    data = records_frame([WireRecord(b"x" * 900_000)], topic=b"t0")
    assert not push(other, data[:700_000]) & BLOCKED
    assert not push(other, data[700_000:]) & BLOCKED
    assert rig.intake.hold_turn == 0
    assert len(rig.drain()) == 1


def test_what_waits_for_a_partition_leaves_half_of_the_budget() -> None:
    rig = Rig(hold_bytes=2 << 20, partitions=2, buffer_bytes=16 << 20)
    rig.listener("frames")
    rig.intake.hold(0, 1, True)
    many = records_frame([WireRecord(b"x" * 900, None, 1)] * 300, topic=b"t0")
    sick = [rig.intake.stream(-1, 0, number) for number in range(1, 31)]
    for stream in sick:
        assert stream.feed(many, NOW_MS, TICK_MS)[0] & BLOCKED
        assert stream.blocked_reason == BLOCKED_BY_PARTITION
    assert rig.intake.held_bytes <= (1 << 20) + 30 * FREE
    healthy = rig.intake.stream(-1, 0, 100)
    large = records_frame([WireRecord(b"x" * 500_000, None, 0)], topic=b"t0")
    assert not push(healthy, large, range(0, len(large), 50_000)) & BLOCKED
    rig.intake.hold(0, 1, False)
    for stream in sick:
        stream.resume(NOW_MS, TICK_MS)
        stream.finish(True, NOW_MS, TICK_MS)
    assert rig.intake.held_bytes == 0
    rig.check()


def crowd(rig: Rig) -> tuple[Stream, Stream, bytes]:
    """Two streams, each with the larger half of a line, in a budget for one and a half; the rest of the line."""
    rig.listener("lines", record_bytes_max=100_000)
    first, second = rig.intake.stream(-1, 0, 1), rig.intake.stream(-1, 0, 2)
    assert not push(first, b"x" * 59_000) & BLOCKED
    assert not first.awaited
    assert push(second, b"y" * 60_000) & BLOCKED == 0
    assert rig.intake.hold_turn == second.hold_ticket != 0
    assert push(first, b"x" * 30_000) & BLOCKED
    assert first.blocked_reason == BLOCKED_BY_HOLD
    assert first.hold_ticket not in (0, rig.intake.hold_turn)
    return first, second, b"x" * 10_000 + b"\n"


def test_the_turn_goes_on_when_its_unit_is_taken() -> None:
    rig = Rig(hold_bytes=0)
    first, second, rest = crowd(rig)
    assert (second.awaited, first.awaited) == (True, False)
    assert first.crowding
    assert second.crowding
    push(second, rest)
    assert rig.intake.hold_turn == first.hold_ticket
    push(first, rest)
    assert rig.intake.hold_turn == rig.intake.held_bytes == 0
    assert len(rig.drain()) == 2


def test_the_turn_goes_on_when_its_stream_ends() -> None:
    rig = Rig(hold_bytes=0)
    first, second, _ = crowd(rig)
    second.refuse_frame(Rejected.STALLED, NOW_MS, TICK_MS)
    assert rig.intake.hold_turn == first.hold_ticket
    first.finish(True, NOW_MS, TICK_MS)
    assert rig.intake.hold_turn == rig.intake.held_bytes == 0


def test_a_stream_that_is_dropped_does_not_stay_in_the_queue() -> None:
    rig = Rig(hold_bytes=0)
    first, second, rest = crowd(rig)
    del second
    assert rig.intake.hold_turn == first.hold_ticket
    push(first, rest)
    assert len(rig.drain()) == 1


def test_a_turn_that_waits_for_pages_goes_on_when_it_is_no_longer_needed() -> None:
    rig = Rig(hold_bytes=0, buffer_bytes=1 << 20)
    first, second, rest = crowd(rig)
    third = rig.intake.stream(-1, 0, 3)
    while not push(third, b"z" * 3000 + b"\n") & BLOCKED:
        pass
    assert third.blocked_reason == BLOCKED_BY_ARENA
    assert push(second, rest) & BLOCKED
    assert second.blocked_reason == BLOCKED_BY_ARENA
    # It keeps the turn as long as it exceeds the budget: otherwise all that wait for pages would, one after the other.
    assert rig.intake.hold_turn == second.hold_ticket != 0
    first.finish(True, NOW_MS, TICK_MS)
    assert rig.intake.hold_turn == 0
    rig.drain()
    assert not second.resume(NOW_MS, TICK_MS) & BLOCKED
    assert not third.resume(NOW_MS, TICK_MS) & BLOCKED
    rig.check()
