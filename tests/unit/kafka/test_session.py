"""The session: negotiation, framing at every cut, order of answers, limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.messages import API_VERSIONS, INIT_PRODUCER_ID, METADATA
from ingestd.kafka.session import Session, State, produce_version


def frame(correlation_id: int, body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4) + correlation_id.to_bytes(4) + body


def ranges_v0(code: int, ranges: dict[int, tuple[int, int]]) -> bytes:
    rows = b"".join(key.to_bytes(2) + low.to_bytes(2) + high.to_bytes(2) for key, (low, high) in ranges.items())
    return code.to_bytes(2) + len(ranges).to_bytes(4) + rows


def ranges_v3(ranges: dict[int, tuple[int, int]]) -> bytes:
    rows = b"".join(key.to_bytes(2) + low.to_bytes(2) + high.to_bytes(2) + b"\0" for key, (low, high) in ranges.items())
    return b"\0\0" + bytes((len(ranges) + 1,)) + rows + bytes(4) + b"\0"


KAFKA_4 = {0: (0, 13), METADATA: (0, 13), API_VERSIONS: (0, 4), INIT_PRODUCER_ID: (0, 5)}


def started() -> Session[str]:
    session: Session[str] = Session("c", "1.0")
    session.start("hello", 0)
    return session


def test_versions_are_chosen_from_the_first_answer() -> None:
    session = started()
    [(request, data, at)] = session.receive(frame(0, ranges_v3(KAFKA_4)))
    assert session.negotiated(request, data, at, 0) is None
    assert session.state is State.READY
    assert session.versions == {0: 13, METADATA: 13, INIT_PRODUCER_ID: 5}


@pytest.mark.parametrize(("told", "asked"), [({API_VERSIONS: (0, 2)}, 2), ({}, 0)])
def test_an_old_broker_is_asked_again_in_its_own_version(told: dict[int, tuple[int, int]], asked: int) -> None:
    session = started()
    [(request, data, at)] = session.receive(frame(0, ranges_v0(35, told)))
    again = session.negotiated(request, data, at, 0)
    assert again is not None
    assert int.from_bytes(again[6:8]) == asked
    assert session.state is State.NEGOTIATING


def test_a_broker_without_our_produce_is_refused() -> None:
    session = started()
    [(request, data, at)] = session.receive(frame(0, ranges_v3({0: (0, 2), METADATA: (0, 9)})))
    with pytest.raises(ProtocolError):
        session.negotiated(request, data, at, 0)


def test_produce_version_skips_what_we_do_not_speak() -> None:
    assert [produce_version(highest) for highest in (2, 3, 6, 7, 12, 13, 20)] == [-1, 3, 3, 7, 12, 13, 13]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_answers_arrive_whole_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    session: Session[int] = Session("c", "1.0")
    stream = b""
    for number, body in enumerate(bodies):
        stream += frame(session.expect(0, 9, number, 0), body)
    answers: list[Any] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        answers += session.receive(stream[:cut])
        stream = stream[cut:]
    assert [(request.context, raw[at:]) for request, raw, at in answers] == list(enumerate(bodies))
    assert not session.pending


def test_a_foreign_correlation_id_ends_the_connection() -> None:
    session = started()
    with pytest.raises(ProtocolError):
        list(session.receive(frame(1, b"")))
    assert [request.context for request in session.close()] == ["hello"]


def test_an_answer_to_nothing_ends_the_connection() -> None:
    session: Session[str] = Session("c", "1.0")
    with pytest.raises(ProtocolError):
        list(session.receive(frame(0, b"")))


@pytest.mark.parametrize("size", [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\3"])
def test_a_lying_size_is_refused_at_once(size: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(started().receive(size))


def test_close_returns_what_was_not_answered_in_order() -> None:
    session = started()
    session.expect(0, 9, "second", 5)
    assert [request.context for request in session.close()] == ["hello", "second"]
    assert session.state is State.CLOSED


def test_correlation_ids_wrap() -> None:
    session: Session[int] = Session("c", "1.0")
    session._correlation_id = 2**31 - 1
    assert [session.expect(0, 9, 0, 0) for _ in range(2)] == [2**31 - 1, 0]


def test_requests_behind_a_broken_answer_are_not_forgotten() -> None:
    session: Session[int] = Session("c", "1.0")
    first, second, _ = (session.expect(0, 9, number, 0) for number in range(3))
    answers = session.receive(frame(first, b"a") + frame(second, b"b"))
    assert next(answers)[0].context == 0
    assert [request.context for request in session.close()] == [1, 2]
    assert list(answers) == []
