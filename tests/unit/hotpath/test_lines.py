"""Format `lines`."""

from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.intake import ACCEPTED, EOF, OPENED, REJECTED
from ingestd.metrics import Rejected
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push


def expected_lines(data: bytes, limit: int) -> tuple[list[bytes], int, int]:
    """What must come of ``data`` and its end: values, how many empty ones, how many too long ones."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    values = [line for line in lines if line not in (b"", b"\r") and len(line) <= limit]
    return values, sum(line in (b"", b"\r") for line in lines), sum(len(line) > limit for line in lines)


def test_values_byte_for_byte() -> None:
    rig = Rig(partitions=1)
    stream = rig.stream("lines")
    assert push(stream, b"one\r\n\xfftwo\x00\nthree ") & ACCEPTED
    assert stream.held_bytes == len(b"three ")
    assert stream.finish(False, NOW_MS, TICK_MS) & ACCEPTED
    assert rig.values() == [b"one\r", b"\xfftwo\x00", b"three "]
    rig.check()


def test_end_of_the_peer() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    push(stream, b"a\nb")
    assert stream.feed(b"", NOW_MS, TICK_MS) == (EOF, 0)
    stream.finish(False, NOW_MS, TICK_MS)
    assert stream.finish(False, NOW_MS, TICK_MS) == 0
    assert sorted(value or b"" for value in rig.values()) == [b"a", b"b"]
    assert rig.rejected() == {}


def test_cut_by_us() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    push(stream, b"a\nb")
    assert stream.finish(True, NOW_MS, TICK_MS) & REJECTED
    assert rig.values() == [b"a"]
    assert rig.rejected() == {Rejected.CUT: 1}
    rig.check()


def test_empty_lines_are_refused_and_counted() -> None:
    rig = Rig()
    stream = rig.stream("lines")
    assert push(stream, b"\n\r\n \n") == ACCEPTED | REJECTED | OPENED
    assert rig.values() == [b" "]
    assert rig.rejected() == {Rejected.EMPTY: 2}


def test_too_long_a_line_is_refused_once() -> None:
    rig = Rig(window_bytes=4096)
    stream = rig.stream("lines", record_bytes_max=200_000)
    push(stream, b"before\n" + b"x" * 200_001 + b"\n" + b"x" * 500_000)
    assert rig.rejected() == {Rejected.LINE_TOO_LARGE: 2}
    assert stream.held_bytes == 0
    push(stream, b"still the same line\nafter\n")
    assert sorted(value or b"" for value in rig.values()) == [b"after", b"before"]
    rig.check()


def test_a_long_line_needs_only_its_own_room() -> None:
    rig = Rig(window_bytes=65536)
    stream = rig.stream("lines")
    line = bytes(range(11, 256)) * 4000
    push(stream, line[:900_000])
    assert rig.intake.held_bytes >= 900_000
    push(stream, line[900_000:] + b"\nnext")
    assert rig.values() == [line]
    assert rig.intake.held_bytes == stream.held_bytes == 4


def test_key_field() -> None:
    rig = Rig(partitions=1)
    stream = rig.stream("lines", key=2, key_field=2, key_delimiter=b";")
    push(stream, b"a;b;c\nx\n;;\na;last\r\n")
    assert [(item.key, item.value) for item in rig.drain()] == [
        (b"b", b"a;b;c"),
        (None, b"x"),
        (b"", b";;"),
        (b"last\r", b"a;last\r"),
    ]


def test_key_too_large() -> None:
    rig = Rig()
    push(rig.stream("lines", key=2, key_field=1), b"k" * 65_536 + b"\tv\n" + b"k" * 65_535 + b"\tv\n")
    assert len(rig.drain()) == 1
    assert rig.rejected() == {Rejected.KEY_TOO_LARGE: 1}


def test_key_of_the_sender() -> None:
    rig = Rig(partitions=1)
    push(rig.stream("lines", key=1, sender=4_000_000_000), b"v\n")
    assert [item.key for item in rig.drain()] == [b"4000000000"]


@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\n\n", b"xyz", b"l" * 300, b"m" * 150]), max_size=60),
    st.lists(st.integers(0, 6000), max_size=8),
)
def test_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    rig = Rig(partitions=1)
    stream = rig.stream("lines", record_bytes_max=361)
    push(stream, data, [cut for cut in cuts if cut <= len(data)])
    stream.finish(False, NOW_MS, TICK_MS)
    # 61 bytes of batch header and 10 of the record's own: longer lines pass as lines and fail as records.
    values, empty, too_long = expected_lines(data, 290)
    assert rig.values() == values
    rejected = rig.rejected()
    assert rejected.pop(Rejected.EMPTY, 0) == empty
    assert sum(rejected.values()) == too_long
    assert rig.arena.ledger()["received_bytes"] == len(data)
    assert rig.intake.held_bytes == 0
    rig.check()
