"""The session: negotiation, framing at every cut, order of answers, limits; the login and its renewal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.kafka import messages
from ingestd.kafka.errors import AuthenticationError, NoLoginWantedError, ProtocolError
from ingestd.kafka.messages import API_VERSIONS, INIT_PRODUCER_ID, METADATA
from ingestd.kafka.sasl import Mechanism, OAuthBearer, Plain
from ingestd.kafka.scram import Scram
from ingestd.kafka.session import Pending, Session, State, produce_version
from tests.fakes.sasl import SaslServer


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


# -- login

WITH_SASL = {**KAFKA_4, messages.SASL_HANDSHAKE: (0, 1), messages.SASL_AUTHENTICATE: (0, 2)}
OLD_SASL = {**KAFKA_4, messages.SASL_HANDSHAKE: (0, 1), messages.SASL_AUTHENTICATE: (0, 0)}


def test_login_requests_are_golden() -> None:
    golden = "0000001b001100010000000700026331000d534352414d2d5348412d323536"
    assert messages.sasl_handshake_request(7, "c1", "SCRAM-SHA-256").hex() == golden
    plain = Plain("user", "pw").first()
    golden = "00000018002400010000000700026331000000080075736572007077"
    assert messages.sasl_authenticate_request(1, 7, "c1", plain).hex() == golden
    golden = "000000170024000200000007000263310009007573657200707700"
    assert messages.sasl_authenticate_request(2, 7, "c1", plain).hex() == golden


def handshake_answer(code: int = 0, *mechanisms: bytes) -> bytes:
    names = b"".join(len(name).to_bytes(2) + name for name in mechanisms)
    return code.to_bytes(2) + len(mechanisms).to_bytes(4) + names


def authenticate_answer(code: int = 0, text: bytes = b"", message: bytes = b"", lifetime_ms: int = 0) -> bytes:
    """Version 2."""
    told = bytes((len(text) + 1,)) + text if text else b"\0"
    length = len(message) + 1
    size = bytes((length,)) if length < 128 else bytes((length & 0x7F | 0x80, length >> 7))
    return b"\0" + code.to_bytes(2) + told + size + message + lifetime_ms.to_bytes(8) + b"\0"


def negotiated(mechanism: Mechanism, ranges: dict[int, tuple[int, int]] = WITH_SASL) -> tuple[Session[str], bytes]:
    session: Session[str] = Session("c1", "1.0", mechanism)
    session.start("hello", 0)
    [(request, data, at)] = session.receive(frame(0, ranges_v3(ranges)))
    written = session.negotiated(request, data, at, 0)
    assert written is not None
    return session, written


def take(session: Session[str], body: bytes) -> tuple[Pending[str], bytes, int]:
    [answer] = session.receive(frame(session.pending[0].correlation_id, body))
    return answer


def step(session: Session[str], body: bytes) -> bytes | None:
    done = session.sasl_answered(*take(session, body), 0)
    if callable(done):
        done()
        done = session.go_on(0)
    return done


def test_plain_is_ready_after_two_answers_and_knows_the_lifetime() -> None:
    session, written = negotiated(Plain("user", "pw"))
    assert written == messages.sasl_handshake_request(1, "c1", "PLAIN")
    assert session.state is State.AUTHENTICATING
    assert step(session, handshake_answer(0, b"PLAIN")) == messages.sasl_authenticate_request(2, 2, "c1", b"\0user\0pw")
    assert step(session, authenticate_answer(lifetime_ms=5000)) is None
    assert (session.state, session.lifetime_ms, list(session.pending)) == (State.READY, 5000, [])


def test_scram_works_in_between() -> None:
    server = SaslServer("SCRAM-SHA-512", users={"u": "p"})
    login = server.login()
    login.handshake("SCRAM-SHA-512")
    mechanism = Scram("SCRAM-SHA-512", "u", "p", {})
    session, _ = negotiated(mechanism)
    step(session, handshake_answer(0, b"SCRAM-SHA-512"))
    first = login.authenticate(mechanism.first()).auth_bytes
    work = session.sasl_answered(*take(session, authenticate_answer(message=first)), 0)
    assert callable(work)
    work()
    assert session.go_on(0) is not None
    assert session.state is State.AUTHENTICATING


def test_a_broker_that_says_yes_without_a_proof_is_refused() -> None:
    session, _ = negotiated(Scram("SCRAM-SHA-256", "u", "p", {}))
    step(session, handshake_answer(0, b"SCRAM-SHA-256"))
    with pytest.raises(AuthenticationError):
        step(session, authenticate_answer())
    assert session.state is State.AUTHENTICATING


def test_a_mechanism_that_the_listener_lacks_is_told_with_those_it_has() -> None:
    session, _ = negotiated(Plain("user", "pw"))
    with pytest.raises(AuthenticationError, match="does not have PLAIN; it has SCRAM-SHA-512, GSSAPI"):
        step(session, handshake_answer(33, b"SCRAM-SHA-512", b"GSSAPI"))


def test_a_listener_without_logins_is_told() -> None:
    session, _ = negotiated(Plain("user", "pw"))
    with pytest.raises(NoLoginWantedError, match="wants no login"):
        step(session, handshake_answer(34))


def test_a_refusal_says_what_the_broker_says_and_no_secret() -> None:
    session, _ = negotiated(Plain("user", "hunter2"))
    step(session, handshake_answer(0, b"PLAIN"))
    with pytest.raises(AuthenticationError) as caught:
        step(session, authenticate_answer(58, b"Authentication failed"))
    assert str(caught.value) == "SASL_AUTHENTICATION_FAILED: Authentication failed"


@pytest.mark.parametrize(
    ("text", "told"),
    [(b'{"status":"invalid_token"}', "invalid_token"), (b"it is too old", "it is too old; invalid_token")],
)
def test_a_refused_token_is_told_in_plain_words(text: bytes, told: str) -> None:
    session, _ = negotiated(OAuthBearer("the-token"))
    step(session, handshake_answer(0, b"OAUTHBEARER"))
    step(session, authenticate_answer(message=b'{"status":"invalid_token"}'))
    with pytest.raises(AuthenticationError) as caught:
        step(session, authenticate_answer(58, text))
    assert str(caught.value) == f"SASL_AUTHENTICATION_FAILED: {told}"


def test_a_broker_without_sasl_authenticate_is_refused() -> None:
    with pytest.raises(AuthenticationError, match="older"):
        negotiated(Plain("user", "pw"), KAFKA_4)


def test_an_old_answer_has_no_lifetime() -> None:
    session, _ = negotiated(Plain("user", "pw"), OLD_SASL)
    step(session, handshake_answer(0, b"PLAIN"))
    assert step(session, b"\0\0" + b"\xff\xff" + bytes(4)) is None
    assert (session.state, session.lifetime_ms) == (State.READY, 0)


def test_a_renewal_takes_answers_of_before_and_ends_ready() -> None:
    session, _ = negotiated(Plain("user", "pw"))
    step(session, handshake_answer(0, b"PLAIN"))
    step(session, authenticate_answer(lifetime_ms=5000))
    session.expect(0, 9, "produce", 7)
    written = session.reauthenticate(Plain("user", "other"), "again", 8)
    assert session.state is State.REAUTHENTICATING
    assert [request.api_key for request in session.pending] == [0, messages.SASL_HANDSHAKE]
    assert take(session, b"answer")[0].context == "produce"
    assert written[4:6] == messages.SASL_HANDSHAKE.to_bytes(2)
    step(session, handshake_answer(0, b"PLAIN"))
    assert session.state is State.REAUTHENTICATING
    assert step(session, authenticate_answer(lifetime_ms=6000)) is None
    assert (session.state, session.lifetime_ms) == (State.READY, 6000)


def test_only_a_ready_session_renews_its_login() -> None:
    session, _ = negotiated(Plain("user", "pw"))
    with pytest.raises(AssertionError, match="authenticating"):
        session.reauthenticate(Plain("user", "pw"), "again", 0)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\xff", authenticate_answer()[:-2]])
def test_broken_answers_are_protocol_errors(body: bytes) -> None:
    session, _ = negotiated(Plain("user", "pw"))
    step(session, handshake_answer(0, b"PLAIN"))
    with pytest.raises(ProtocolError):
        step(session, body)
