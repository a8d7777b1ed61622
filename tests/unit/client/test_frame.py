import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.client import answers
from ingestd.client.answers import Delivered, Run, decode_answer
from ingestd.client.frame import CLOSED, FrameError, FrameReader, Hello, frame

STREAM = answers.Accepted(1, 5).encode() + answers.Error(3, "why").encode() + answers.Closed().encode()


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_stream_may_be_cut_anywhere(cut: int) -> None:
    reader = FrameReader()
    frames = [*reader.feed(STREAM[:cut]), *reader.feed(STREAM[cut:])]
    assert [decode_answer(kind, body) for kind, _, body in frames] == [
        answers.Accepted(1, 5),
        answers.Error(3, "why"),
        answers.Closed(),
    ]


@pytest.mark.parametrize("length", [0, 3, (2 << 20) + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_an_error(length: int) -> None:
    with pytest.raises(FrameError, match="4 to 2097152"):
        list(FrameReader().feed(length.to_bytes(4, "little") + bytes(4)))


def test_an_unknown_type_is_ignored() -> None:
    assert decode_answer(0x7F, b"whatever") is None


def test_bytes_behind_the_known_fields_are_ignored() -> None:
    [(kind, _, body)] = FrameReader().feed(answers.Accepted(1, 5).encode())
    assert decode_answer(kind, body + b"later") == answers.Accepted(1, 5)
    assert decode_answer(CLOSED, b"later") == answers.Closed()


def test_a_frame_has_its_flags() -> None:
    [(kind, flags, body)] = FrameReader().feed(frame(9, b"body", 0x80))
    assert (kind, flags, body) == (9, 0x80, b"body")


@given(kind=st.integers(0x41, 0x49), body=st.binary(max_size=80))
def test_any_body_is_an_answer_or_a_frame_error(kind: int, body: bytes) -> None:
    try:
        answer = decode_answer(kind, body)
    except FrameError:
        return
    assert answer is not None


@given(
    first=st.integers(1, 1 << 40),
    delta=st.integers(0, 1000),
    gaps=st.lists(st.integers(0, 1 << 20), max_size=20).map(tuple),
)
def test_the_pieces_of_a_run_are_its_records(first: int, delta: int, gaps: tuple[int, ...]) -> None:
    run = Run(first, len(gaps) + 1, delta, gaps)
    expected = []
    sequence = first
    for offset, gap in enumerate((0, *gaps)):
        sequence += gap + (1 if offset else 0)
        expected.append((sequence, delta + offset))
    pieces = list(run.pieces())
    assert [(s + i, d + i) for s, count, d in pieces for i in range(count)] == expected
    delivered = Delivered(1, 5, -1, "t", (run,))
    [(kind, _, body)] = FrameReader().feed(delivered.encode())
    assert decode_answer(kind, body) == delivered


def test_a_run_without_gaps_is_one_piece() -> None:
    assert list(Run(7, 1000, 3).pieces()) == [(7, 1000, 3)]


def test_gaps_that_do_not_fit_their_records_are_an_error() -> None:
    [(kind, _, body)] = FrameReader().feed(Delivered(1, 5, -1, "t", (Run(1, 3, 0, (1,)),)).encode())
    with pytest.raises(FrameError, match="1 gaps between 3 records"):
        decode_answer(kind, body)


@given(name=st.text(max_size=40), session_id=st.binary(min_size=16, max_size=16), answer=st.integers(0, 2))
def test_hello_round_trip(name: str, session_id: bytes, answer: int) -> None:
    name = name.encode("utf-8", "replace").decode()
    hello = Hello(answer, bool(answer), session_id, name)
    [(_, flags, body)] = FrameReader().feed(hello.encode())
    assert Hello.decode(body, flags) == hello
