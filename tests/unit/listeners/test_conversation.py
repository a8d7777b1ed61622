"""The protocol's side of a connection, without socket and arena."""

import logging
import struct

import pytest

from ingestd.client import answers, frame
from ingestd.hotpath.snapshots import Session
from ingestd.listeners import wire
from ingestd.listeners.conversation import Conversation, Terms, legal_topic
from ingestd.listeners.sessions import Sessions
from ingestd.listeners.wire import Answer, Frame
from ingestd.metrics import Rejected


class Stream:
    """What the record path would have found."""

    def __init__(self) -> None:
        self.accepted_sequence = 0
        self.records_begun = False
        self.frames: list[tuple[int, int, bytes]] = []
        self.rejections: list[tuple[int, int, int]] = []
        self.topics: dict[int, int] = {}
        self.session: tuple[int, int] | None = None
        self.refused: list[int] = []

    def take_control(self) -> list[tuple[int, int, bytes]]:
        frames, self.frames = self.frames, []
        return frames

    def take_rejections(self) -> list[tuple[int, int, int]]:
        rejections, self.rejections = self.rejections, []
        return rejections

    def refuse_frame(self, reason: int, now_ms: int, tick_ms: int) -> None:  # noqa: ARG002
        self.refused.append(reason)

    def set_topic_id(self, topic_id: int, topic_index: int) -> None:
        self.topics[topic_id] = topic_index

    def set_session(self, session_index: int, answer: int) -> None:
        self.session = session_index, answer


class Table:
    def __init__(self) -> None:
        self.confirmed: list[tuple[int, int]] = []
        self.closed: list[int] = []

    def session_find(self, session_id: bytes) -> Session | None:  # noqa: ARG002
        return None

    def session_open(self, session_id: bytes, now_ms: int) -> Session:  # noqa: ARG002
        return Session(4, session_id, 0, (), 0)

    def session_disconnected(self, index: int, now_ms: int) -> None:
        pass

    def session_close(self, index: int) -> None:
        self.closed.append(index)

    def session_forgettable(self, now_ms: int) -> int:  # noqa: ARG002
        return -1

    def session_confirm(self, index: int, sequence: int) -> None:
        self.confirmed.append((index, sequence))


class Holder:
    def superseded(self) -> None:
        pass

    def answer(self, frame: bytes) -> None:
        pass

    def settled(self, arena: int, entry: int) -> None:
        pass

    def divided(self, arena: int, entry: int, second: int) -> None:
        pass


class Setup:
    def __init__(self) -> None:
        self.stream = Stream()
        self.table = Table()
        self.sessions = Sessions(self.table, 0, 1, lambda _: [], lambda _: set())
        terms = Terms({b"orders": 2, b"clicks": 5}, 1000, [b"/run/app.sock.0"])
        self.talk = Conversation(self.stream, self.sessions, self.table, terms, Holder())

    def say(self, *frames: bytes) -> list[bytes]:
        """Hands whole frames in; the replies."""
        self.stream.frames = [(each[4], each[5], each[8:]) for each in frames]
        return self.talk.control(100, 50)

    def fails_with(self, reason: Rejected, *frames: bytes) -> None:
        replies = self.say(*frames)
        assert replies[-1][4] == Frame.ERROR
        assert answers.Error.decode(replies[-1][8:]).reason == reason
        assert self.talk.finished
        assert self.stream.refused == [reason]


def test_hello_grants_a_session() -> None:
    setup = Setup()
    (reply,) = setup.say(frame.Hello(Answer.DELIVERED, True).encode())
    assert reply[4] == Frame.GRANT
    assert setup.stream.session == (4, Answer.DELIVERED)
    assert setup.sessions.count == 1


def test_the_clients_name_is_logged_where_it_can_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Setup().say(frame.Hello(Answer.DELIVERED, True, name="till-7\n<0>fake " + "x" * 500).encode())
        Setup().say(frame.Hello(Answer.ACCEPTED, name="till-8").encode())
    first, second = caplog.messages
    assert first.startswith("client 'till-7\\n<0>fake xxx")
    assert first.endswith("is granted session 4, answers: delivered")
    assert len(first) < 200
    assert second == "client 'till-8' is granted no session, answers: accepted"


def test_a_second_hello_is_refused() -> None:
    setup = Setup()
    setup.say(frame.Hello(Answer.ACCEPTED).encode())
    setup.fails_with(Rejected.BAD_FRAMING, frame.Hello(Answer.ACCEPTED).encode())


def test_hello_behind_records_is_refused() -> None:
    setup = Setup()
    setup.stream.records_begun = True
    setup.fails_with(Rejected.BAD_FRAMING, frame.Hello(Answer.ACCEPTED).encode())


def test_topics_are_agreed_by_the_allow_list() -> None:
    setup = Setup()
    names = [b"orders", b"secret", b"..", b"caf\xe9"]
    frames = [wire.frame(Frame.TOPIC, struct.pack("<HH", n, len(name)) + name) for n, name in enumerate(names)]
    assert setup.say(*frames) == []
    assert setup.stream.topics == {0: 2, 1: -1, 2: -2, 3: -2}


def test_a_topic_id_has_a_bound() -> None:
    Setup().fails_with(Rejected.INVALID_TOPIC, frame.Topic(1024, "orders").encode())


def test_answers_are_ranges_behind_their_rejections() -> None:
    setup = Setup()
    setup.say(frame.Hello(Answer.ACCEPTED, True).encode())
    setup.stream.accepted_sequence = 10
    setup.stream.rejections = [(4, 2, Rejected.RECORD_TOO_LARGE)]
    rejected, accepted = setup.talk.progress()
    assert answers.Rejected.decode(rejected[8:])[:3] == (4, 2, Rejected.RECORD_TOO_LARGE)
    assert answers.Accepted.decode(accepted[8:]) == (1, 10)
    assert setup.talk.progress() == []
    setup.stream.accepted_sequence = 11
    assert answers.Accepted.decode(setup.talk.progress()[0][8:]) == (11, 11)


def test_whoever_asked_for_nothing_hears_nothing() -> None:
    setup = Setup()
    setup.stream.accepted_sequence = 10
    setup.stream.rejections = [(4, 2, Rejected.RECORD_TOO_LARGE)]
    assert setup.talk.progress() == []


def test_confirm_goes_to_the_table() -> None:
    setup = Setup()
    setup.say(frame.Hello(Answer.ACCEPTED, True).encode())
    setup.say(wire.frame(Frame.CONFIRM, struct.pack("<Q", 12)))
    assert setup.table.confirmed == [(4, 12)]


def test_close_ends_the_session_when_all_is_answered() -> None:
    setup = Setup()
    setup.say(frame.Hello(Answer.ACCEPTED, True).encode())
    setup.say(wire.frame(Frame.CLOSE))
    assert setup.talk.closing
    assert setup.talk.unsettled() == set()
    setup.talk.end_session()
    assert setup.table.closed == [4]
    setup.talk.lost(200)
    assert setup.sessions.count == 0


def test_credit_is_reserved_and_ignored() -> None:
    assert Setup().say(wire.frame(Frame.CREDIT, b"????")) == []


@pytest.mark.parametrize("kind", [0x00, 0x08, 0x3F, Frame.GRANT, 0xFF])
def test_unknown_frames_end_the_conversation(kind: int) -> None:
    Setup().fails_with(Rejected.UNSUPPORTED_FRAME, struct.pack("<IBBH", 4, kind, 0, 0))


@pytest.mark.parametrize(
    ("name", "legal"),
    [(b"orders", True), (b"a.b_c-D9", True), (b"x" * 249, True), (b"x" * 250, False), (b"", False), (b".", False)],
)
def test_legal_topics(name: bytes, legal: bool) -> None:
    assert legal_topic(name) is legal
