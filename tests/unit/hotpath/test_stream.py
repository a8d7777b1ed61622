"""A connection: sessions, waiting and going on, held bytes, the end."""

import gc
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.arena import Session
from ingestd.hotpath.intake import (
    ACCEPTED,
    BLOCKED,
    BLOCKED_BY_ARENA,
    BLOCKED_BY_CONFIRM,
    BLOCKED_BY_HOLD,
    BLOCKED_BY_PARTITION,
    BLOCKED_BY_PRESSURE,
    BROKEN,
    CONTROL,
    EOF,
    ERRNO,
    REJECTED,
    TOPIC_WAIT,
    ListenerSpec,
    Stream,
)
from ingestd.metrics import Rejected
from tests.reference.native_frame import WireRecord, confirm_frame, frame, raw_records_frame, record, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push

V = WireRecord(b"v", b"k")
BAD = struct.pack("<I", 1) + b"\x20"


def bound(rig: Rig, answer: int = 2) -> tuple[Stream, Session]:
    """A connection with a session of its own."""
    session = rig.arena.session_open(os.urandom(14) + b"\1\1", NOW_MS)
    stream = rig.stream("frames")
    stream.set_session(session.index, answer)
    return stream, session


def row(rig: Rig, session: Session) -> Session:
    """The session as the arena has it now."""
    found = rig.arena.session_find(session.session_id)
    assert found is not None
    return found


def test_session_skips_what_it_has() -> None:
    rig = Rig(partitions=1)
    stream, session = bound(rig)
    push(stream, records_frame([V] * 5, topic=b"t0"))
    assert stream.accepted_sequence == row(rig, session).last_accepted == 5
    push(stream, records_frame([V] * 4, topic=b"t0", first_sequence=3))
    assert stream.accepted_sequence == row(rig, session).last_accepted == 6
    assert [item.sequence for item in rig.drain()] == [1, 2, 3, 4, 5, 6]
    assert {(item.kind, item.sender) for item in rig.drain()} == {(2, session.index)}
    assert rig.arena.ledger()["repeated"] == 3
    rig.check()


def test_session_skips_refused_ones_too() -> None:
    rig = Rig()
    stream, session = bound(rig)
    data = raw_records_frame([record(V), BAD, record(V)], topic=b"t0")
    push(stream, data)
    assert stream.take_rejections() == [(2, 1, Rejected.MALFORMED)]
    push(stream, data)
    assert stream.take_rejections() == []
    assert row(rig, session).rejections == ((2, Rejected.MALFORMED),)
    assert rig.arena.ledger()["repeated"] == 3
    rig.check()


@pytest.mark.parametrize("first_sequence", [0, 7, 2**64 - 1])
def test_session_gap(first_sequence: int) -> None:
    rig = Rig()
    stream, session = bound(rig)
    push(stream, records_frame([V] * 5, topic=b"t0"))
    flags = push(stream, records_frame([V], topic=b"t0", first_sequence=first_sequence))
    assert flags & BROKEN
    assert stream.error_reason == Rejected.SEQUENCE_GAP
    assert row(rig, session).last_accepted == 5
    assert len(rig.drain()) == 5
    rig.check()


def test_session_goes_on_on_another_connection() -> None:
    rig = Rig(partitions=1)
    first, session = bound(rig)
    push(first, records_frame([V] * 3, topic=b"t0")[:-2])
    assert first.finish(True, NOW_MS, TICK_MS) & REJECTED
    assert row(rig, session).last_accepted == 2
    second = rig.intake.stream(-1, 0, 8)
    second.set_session(session.index, 1)
    assert second.accepted_sequence == 2
    push(second, records_frame([V] * 3, topic=b"t0"))
    assert [item.sequence for item in rig.drain()] == [1, 2, 3]
    rig.check()


def test_provenance_of_sessions_spread_over_partitions() -> None:
    rig = Rig(partitions=3)
    stream, session = bound(rig)
    push(stream, records_frame([WireRecord(b"v", None, at % 3) for at in range(300)], topic=b"t0"))
    rig.intake.seal_all()
    for batch in rig.arena.take_sealed():
        (run,) = rig.arena.provenance(batch.entry)
        assert (run.kind, run.sender, run.record_count, run.delivered) == (2, session.index, 100, True)
        assert run.first_sequence == batch.partition + 1
        assert run.gaps == b"\x02" * 99


def test_sixteen_rejections_then_confirm() -> None:
    rig = Rig()
    stream, session = bound(rig)
    data = raw_records_frame([BAD] * 20 + [record(V)], topic=b"t0") + frame(9, b"note")
    flags = push(stream, data)
    assert flags & BLOCKED
    assert stream.blocked_reason == BLOCKED_BY_CONFIRM
    assert stream.take_rejections() == [(1, 16, Rejected.MALFORMED)]
    assert len(row(rig, session).rejections) == 16
    assert stream.resume(NOW_MS, TICK_MS) & BLOCKED
    # The confirmation arrives in pieces, behind what waits.
    confirm = confirm_frame(16)
    assert not push(stream, confirm[:-1]) & CONTROL
    assert push(stream, confirm[-1:]) & CONTROL
    assert stream.take_control() == [(4, 0, struct.pack("<Q", 16))]
    rig.arena.session_confirm(session.index, 16)
    assert stream.resume(NOW_MS, TICK_MS) & CONTROL
    assert stream.take_rejections() == [(17, 4, Rejected.MALFORMED)]
    assert [body for _, _, body in stream.take_control()] == [b"note", struct.pack("<Q", 16)]
    assert not stream.resume(NOW_MS, TICK_MS) & (BLOCKED | CONTROL)
    assert stream.accepted_sequence == row(rig, session).last_accepted == 21
    assert len(rig.drain()) == 1
    assert rig.arena.ledger()["received_bytes"] == len(data) + len(confirm)
    rig.check()


def test_the_confirmation_is_among_what_is_held() -> None:
    rig = Rig()
    stream, session = bound(rig)
    push(stream, raw_records_frame([BAD] * 10, topic=b"t0"))
    last = raw_records_frame([record(V)], topic=b"t0", first_sequence=18)
    flags = push(stream, raw_records_frame([BAD] * 7, topic=b"t0", first_sequence=11) + confirm_frame(10) + last)
    assert flags & (BLOCKED | CONTROL) == BLOCKED | CONTROL
    assert stream.take_control() == [(4, 0, struct.pack("<Q", 10))]
    rig.arena.session_confirm(session.index, 10)
    assert stream.resume(NOW_MS, TICK_MS) & CONTROL
    # It comes again in its place.
    assert stream.take_control() == [(4, 0, struct.pack("<Q", 10))]
    assert not stream.resume(NOW_MS, TICK_MS) & (BLOCKED | CONTROL)
    assert stream.accepted_sequence == row(rig, session).last_accepted == 18
    rig.check()


@pytest.mark.parametrize("held_arena", [False, True], ids=["read", "resume"])
def test_a_confirmation_that_is_not_enough_is_handed_out_once(held_arena: bool) -> None:
    rig = Rig(partitions=1)
    rig.intake.hold(0, 0, held_arena)
    stream, session = bound(rig)
    data = raw_records_frame([record(V)] + [BAD] * 30, topic=b"t0") + confirm_frame(3) + frame(9, b"x") * 3
    flags = push(stream, data + confirm_frame(4)[:-1])
    if held_arena:
        assert stream.blocked_reason == BLOCKED_BY_PARTITION
        rig.intake.hold(0, 0, False)
        flags = stream.resume(NOW_MS, TICK_MS)
    assert flags & CONTROL
    assert [body for _, _, body in stream.take_control()] == [struct.pack("<Q", 3)]
    rig.arena.session_confirm(session.index, 3)
    flags = stream.resume(NOW_MS, TICK_MS)
    assert stream.accepted_sequence == 19
    assert flags & (BLOCKED | CONTROL) == BLOCKED
    assert stream.blocked_reason == BLOCKED_BY_CONFIRM
    assert stream.finish(False, NOW_MS, TICK_MS) & (BLOCKED | CONTROL) == BLOCKED
    # The second one is complete now: it is found, and nothing before it a second time.
    assert push(stream, confirm_frame(4)[-1:]) & CONTROL
    assert [body for _, _, body in stream.take_control()] == [struct.pack("<Q", 4)]


def test_sequences_of_a_connection_without_a_session_that_wants_answers() -> None:
    rig = Rig()
    stream = rig.stream("frames")
    stream.set_session(-1, 1)
    push(stream, records_frame([V] * 3, topic=b"t0") + records_frame([V] * 2, topic=b"t0", first_sequence=4))
    assert stream.accepted_sequence == 5
    assert not push(stream, records_frame([], topic=b"t0", first_sequence=6)) & BROKEN
    rig.check()


@pytest.mark.parametrize("first_sequence", [0, 1, 3, 5, 2**64 - 1])
def test_a_range_of_answers_holds_only_what_was_sent(first_sequence: int) -> None:
    rig = Rig()
    stream = rig.stream("frames")
    stream.set_session(-1, 1)
    push(stream, records_frame([V] * 3, topic=b"t0"))
    assert push(stream, records_frame([V], topic=b"t0", first_sequence=first_sequence)) & BROKEN
    assert stream.error_reason == Rejected.SEQUENCE_GAP
    assert stream.accepted_sequence == 3
    rig.check()


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_records_have_begun(count: int) -> None:
    stream = Rig().stream("frames")
    assert not stream.records_begun
    push(stream, frame(9, b"note"))
    stream.take_control()
    stream.resume(NOW_MS, TICK_MS)
    assert not stream.records_begun
    # Sequences are as they please: nobody wants answers.
    push(stream, records_frame([V] * count, topic=b"t0", first_sequence=0)[:1000])
    assert stream.records_begun


def test_no_confirmation_in_sight() -> None:
    rig = Rig()
    stream, _ = bound(rig)
    push(stream, raw_records_frame([BAD] * 17, topic=b"t0"))
    flags = 0
    for _ in range(100):
        flags = push(stream, frame(9, bytes(60_000)))
        if flags & BROKEN:
            break
    assert flags & BROKEN
    assert stream.error_reason == Rejected.STALLED
    assert rig.intake.held_bytes == 0
    rig.check()


def test_a_stream_in_a_garbage_cycle_gives_back_what_it_holds() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    push(stream, b"no end")
    ring: list[object] = [stream]
    assert rig.intake.held_bytes == 6
    ring.append(ring)
    del ring, stream
    gc.collect()
    assert rig.intake.held_bytes == 0


def test_topic_wait_and_refusal() -> None:
    rig = Rig(topics=2)
    rig.intake.set_partitions(1, b"")
    stream = rig.stream("frames", topics=(0, 1))
    frames = [records_frame([V], topic=topic) for topic in (b"t0", b"t1", b"t0", b"t1")]
    assert push(stream, b"".join(frames)) & TOPIC_WAIT
    assert stream.wanted_topic == 1
    assert stream.held_bytes
    assert stream.resume(NOW_MS, TICK_MS) & TOPIC_WAIT
    rig.intake.set_topic_refused(1, True)
    assert not stream.resume(NOW_MS, TICK_MS) & TOPIC_WAIT
    assert stream.wanted_topic == -1
    assert stream.held_bytes == 0
    assert rig.rejected() == {Rejected.TOPIC_UNKNOWN: 2}
    rig.intake.set_partitions(1, b"\1")
    push(stream, frames[1])
    assert sorted(item.topic for item in rig.drain()) == [0, 0, 1]
    rig.check()


@pytest.mark.parametrize("format_", ["lines", "frames"])
@pytest.mark.parametrize("refused", [False, True])
def test_the_end_while_the_count_is_not_known(format_: str, refused: bool) -> None:
    rig = Rig()
    rig.intake.set_partitions(0, b"")
    stream = rig.stream(format_)
    data = b"one" if format_ == "lines" else records_frame([V], topic=b"t0")
    push(stream, data)
    for _ in range(2):
        assert stream.finish(False, NOW_MS, TICK_MS) & TOPIC_WAIT
        assert stream.wanted_topic == 0
        assert stream.resume(NOW_MS, TICK_MS) == (TOPIC_WAIT if format_ == "frames" else 0)
    if refused:
        rig.intake.set_topic_refused(0, True)
    else:
        rig.intake.set_partitions(0, b"\1")
    stream.resume(NOW_MS, TICK_MS)
    assert not stream.finish(False, NOW_MS, TICK_MS) & TOPIC_WAIT
    assert stream.wanted_topic == -1
    assert len(rig.drain()) == (not refused)
    assert rig.rejected() == ({Rejected.TOPIC_UNKNOWN: 1} if refused else {})
    assert rig.intake.held_bytes == 0
    rig.check()


def test_the_end_says_what_is_waited_for() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=1)
    rig.intake.add_listener(ListenerSpec(index=1, format="lines", topic=0))
    other, stream = rig.stream("lines"), rig.intake.stream(-1, 1, 8)
    push(stream, b"last")
    rig.intake.hold(0, 0, True)
    assert stream.finish(False, NOW_MS, TICK_MS) & BLOCKED
    assert stream.blocked_reason == BLOCKED_BY_PARTITION
    rig.intake.hold(0, 0, False)
    while not push(other, b"x" * 99_999 + b"\n") & BLOCKED:
        pass
    stream.resume(NOW_MS, TICK_MS)
    push(stream, b"y" * 99_999)
    assert stream.finish(False, NOW_MS, TICK_MS) & BLOCKED
    assert stream.blocked_reason == BLOCKED_BY_ARENA
    rig.drain()
    stream.resume(NOW_MS, TICK_MS)
    assert stream.finish(False, NOW_MS, TICK_MS) & ACCEPTED
    assert rig.values()[-1] == b"last" + b"y" * 99_999
    rig.check()


@pytest.mark.parametrize("ended", [False, True])
def test_cut_while_the_count_is_not_known(ended: bool) -> None:
    rig = Rig()
    rig.intake.set_partitions(0, b"")
    stream = rig.stream("lines")
    push(stream, b"one" if ended else b"one\ntwo\nthr")
    if ended:
        assert stream.finish(False, NOW_MS, TICK_MS) & TOPIC_WAIT
    stream.finish(True, NOW_MS, TICK_MS)
    assert stream.wanted_topic == -1
    assert rig.rejected() == {Rejected.CUT: 1 if ended else 3}
    rig.check()


def test_full_arena_keeps_the_place() -> None:
    rig = Rig(buffer_bytes=1 << 20, partitions=2)
    stream, session = bound(rig)
    records = [WireRecord(b"%06d" % at + b"x" * 1000, None, at % 2) for at in range(3000)]
    data = b"".join(
        records_frame(records[at : at + 50], topic=b"t0", first_sequence=at + 1) for at in range(0, 3000, 50)
    )
    at = stops = 0
    while at < len(data) or stream.held_bytes:
        flags, taken = stream.feed(data[at:], NOW_MS, TICK_MS) if at < len(data) else (stream.resume(NOW_MS, 0), 0)
        at += taken
        while flags & BLOCKED:
            assert stream.blocked_reason == BLOCKED_BY_ARENA
            assert stream.accepted_sequence == row(rig, session).last_accepted
            rig.check()
            stops += 1
            rig.drain()
            flags = stream.resume(NOW_MS, TICK_MS)
    assert stops >= 2
    assert sorted(item.sequence for item in rig.drain()) == list(range(1, 3001))
    for partition in range(2):
        values = [item.value for item in rig.records if item.partition == partition]
        assert values == [item.value for item in records[partition::2]]
    rig.check()


def test_full_arena_cut_by_us() -> None:
    rig = Rig(buffer_bytes=1 << 20)
    stream = rig.stream("lines")
    line = b"x" * 9_999 + b"\n"
    fed = 0
    while not push(stream, line * 20) & BLOCKED:
        fed += 20
    stream.finish(True, NOW_MS, TICK_MS)
    assert len(rig.drain()) + rig.rejected()[Rejected.CUT] == fed + 20
    assert rig.intake.held_bytes == 0
    rig.check()


def test_a_stream_can_shed() -> None:
    rig = Rig(buffer_bytes=1 << 20)
    stream = rig.stream("lines", shed=True)
    line = b"x" * 9_999 + b"\n"
    for _ in range(30):
        assert not push(stream, line * 10) & BLOCKED
    assert rig.rejected()[Rejected.SHED] + len(rig.drain()) == 300
    rig.check()


def test_held_partition() -> None:
    rig = Rig(partitions=2)
    stream = rig.stream("frames")
    rig.intake.hold(0, 1, True)
    frames = records_frame([WireRecord(b"%d" % at, None, at % 2) for at in range(4)], topic=b"t0")
    assert push(stream, frames) & BLOCKED
    assert stream.blocked_reason == BLOCKED_BY_PARTITION
    rig.intake.hold(0, 1, False)
    assert stream.resume(NOW_MS, TICK_MS) & ACCEPTED
    assert rig.values() == [b"0", b"2", b"1", b"3"]


def test_pressure_pauses() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    rig.intake.set_pressure(1)
    assert stream.feed(b"a\n", NOW_MS, TICK_MS) == (BLOCKED, 0)
    assert stream.blocked_reason == BLOCKED_BY_PRESSURE
    rig.intake.set_pressure(0)
    assert push(stream, b"a\n") & ACCEPTED


def test_budget_of_held_bytes() -> None:
    rig = Rig(hold_bytes=300_000, window_bytes=65_536)
    large = records_frame([WireRecord(b"x" * 200_000)], topic=b"t0")
    first = rig.stream("frames", record_bytes_max=250_000)
    second = rig.intake.stream(-1, 0, 2)
    third = rig.intake.stream(-1, 0, 3)
    assert not push(first, large[:160_000]) & BLOCKED
    # The second needs as much and has the turn; the third must wait. What they have read they may keep.
    assert not push(second, large[:160_000]) & BLOCKED
    at = 0
    while not (flags := third.feed(large[at:], NOW_MS, TICK_MS))[0] & BLOCKED:
        at += flags[1]
    assert third.blocked_reason == BLOCKED_BY_HOLD
    assert third.held_bytes == at - 26 - 2
    # A fourth one with little to hold goes on.
    fourth = rig.intake.stream(-1, 0, 4)
    push(fourth, records_frame([V] * 10, topic=b"t0")[:-3])
    assert rig.arena.ledger()["accepted"] == 9
    push(second, large[160_000:])
    assert rig.intake.hold_turn == third.hold_ticket
    assert not push(third, large[at:]) & BLOCKED
    push(first, large[160_000:])
    assert [len(value or b"") for value in rig.values()].count(200_000) == 3
    rig.check()


def test_the_budget_fits_the_longest_unit_at_least() -> None:
    rig = Rig(hold_bytes=0)
    stream = rig.stream("lines")
    line = b"x" * 900_000
    assert not push(stream, line) & BLOCKED
    push(stream, b"\n")
    assert rig.values() == [line]


def test_one_byte_at_a_time_is_no_copy_of_the_whole() -> None:
    rig = Rig()
    stream = rig.stream("frames")
    data = records_frame([WireRecord(b"x" * 500_000)], topic=b"t0")
    push(stream, data[:400_000])
    held = rig.intake.held_bytes
    assert held >= 500_000
    push(stream, data[400_000:400_100], range(400_001, 400_100))
    assert rig.intake.held_bytes == held
    push(stream, data[400_100:])
    assert len(rig.drain()) == 1


@pytest.mark.parametrize("length", [0, 3, 3 << 20])
def test_broken_framing_behind_a_control_frame(length: int) -> None:
    rig = Rig()
    stream = rig.stream("frames")
    broken = struct.pack("<I", length) + b"\x02\0\0\0" + bytes(50)
    assert push(stream, frame(9, b"note") + frame(9, b"more") + broken) & (CONTROL | BROKEN) == CONTROL
    assert rig.rejected() == {}
    assert [body for _, _, body in stream.take_control()] == [b"note", b"more"]
    assert stream.resume(NOW_MS, TICK_MS) & (CONTROL | BROKEN) == BROKEN
    assert stream.error_reason == (Rejected.BAD_FRAMING if length < 4 else Rejected.FRAME_TOO_LARGE)
    assert len(rig.rejected()) == 1
    assert stream.held_bytes == 0


def test_end_and_error_of_the_socket() -> None:
    rig = Rig()
    stream = rig.intake.stream(-1, rig.listener("lines"), 1)
    assert stream.feed(b"", NOW_MS, TICK_MS) == (EOF, 0)
    assert stream.read(NOW_MS, TICK_MS) == ERRNO
    assert stream.error_number == 9  # EBADF


def test_finished_is_finished() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    stream.finish(False, NOW_MS, TICK_MS)
    with pytest.raises(ValueError, match="finished"):
        stream.read(NOW_MS, TICK_MS)


def test_a_frame_that_does_not_go_on() -> None:
    rig = Rig()
    stream = rig.stream("frames")
    push(stream, records_frame([V, V], topic=b"t0")[:-1])
    stream.refuse_frame(Rejected.STALLED, NOW_MS, TICK_MS)
    stream.finish(True, NOW_MS, TICK_MS)
    assert rig.rejected() == {Rejected.STALLED: 1}
    assert len(rig.drain()) == 1
    with pytest.raises(ValueError, match="reason"):
        stream.refuse_frame(32, NOW_MS, TICK_MS)


@pytest.mark.parametrize(("topic_id", "topic"), [(-1, 0), (1024, 0), (0, 1), (0, 500)])
def test_topic_ids_are_checked(topic_id: int, topic: int) -> None:
    with pytest.raises(ValueError, match="topic"):
        Rig().stream("frames").set_topic_id(topic_id, topic)


def test_sessions_are_checked() -> None:
    with pytest.raises(ValueError, match="session"):
        Rig().stream("frames").set_session(1 << 20, 1)


def test_a_stream_keeps_what_it_needs() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    push(stream, b"a\nhalf")
    del rig
    push(stream, b" a line\n")
    stream.finish(False, NOW_MS, TICK_MS)
    assert stream.held_bytes == 0


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), max_size=20), st.integers(0, 2**32))
def test_sessions_resend_at_will(turns: list[tuple[int, int]], seed: int) -> None:
    """Whatever a client sends again, every sequence is in the arena once and in order."""
    rig = Rig(partitions=4, seed=seed)
    stream, session = bound(rig)
    last = 0
    for count, back in turns:
        first = max(1, last + 1 - back)
        items = [WireRecord(b"%d" % (first + at), b"k%d" % ((first + at) % 7)) for at in range(count)]
        push(stream, records_frame(items, topic=b"t0", first_sequence=first))
        last = max(last, first + count - 1)
        assert stream.accepted_sequence == row(rig, session).last_accepted == last
    found = rig.drain()
    assert sorted(item.sequence for item in found) == list(range(1, last + 1))
    assert all(item.value == b"%d" % item.sequence for item in found)
    for partition in range(4):
        sequences = [item.sequence for item in found if item.partition == partition]
        assert sequences == sorted(sequences)
    rig.check()
