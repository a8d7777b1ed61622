"""The native protocol's side of one connection: control frames in, replies out. Owns no socket and no clock."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ingestd.hotpath.errors import ArenaFull
from ingestd.limits import TOPIC_BYTES_MAX, TOPIC_IDS_MAX
from ingestd.listeners import wire
from ingestd.listeners.sessions import Holder, Sessions
from ingestd.listeners.wire import Answer, Frame, FrameError
from ingestd.metrics import Rejected

logger = logging.getLogger(__name__)

TOPIC_NOT_ALLOWED: Final = -1
TOPIC_INVALID: Final = -2
_TOPIC_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Stream(Protocol):
    """What is used of the record path's stream."""

    @property
    def accepted_sequence(self) -> int: ...
    @property
    def records_begun(self) -> bool: ...
    def take_control(self) -> list[tuple[int, int, bytes]]: ...
    def set_topic_id(self, topic_id: int, topic_index: int) -> None: ...
    def set_session(self, session_index: int, answer: int) -> None: ...
    def refuse_frame(self, reason: int, now_ms: int, tick_ms: int) -> None: ...
    def take_rejections(self) -> list[tuple[int, int, int]]: ...


class Table(Protocol):
    """What is used of the arena."""

    def session_confirm(self, index: int, sequence: int) -> None: ...


@dataclass(frozen=True)
class Terms:
    """What a listener offers: its topics (index by name), its limits, its own paths by worker."""

    topics: Mapping[bytes, int]
    record_bytes_max: int
    own_paths: Sequence[bytes]


class Conversation:
    """State of the protocol on one connection.

    ``closing``: the client asked for the end of its session; ``finished``: nothing more will be read from it.
    """

    def __init__(self, stream: Stream, sessions: Sessions, table: Table, terms: Terms, holder: Holder) -> None:
        self._stream = stream
        self._sessions = sessions
        self._table = table
        self._terms = terms
        self._holder = holder
        self._greeted = False
        self._answered_sequence = 0
        self.answer = Answer.NONE
        self.session = -1
        self.closing = False
        self.finished = False

    @property
    def begun(self) -> bool:
        """Whether anything was a frame of the protocol."""
        return self._greeted or self._stream.records_begun

    def progress(self) -> list[bytes]:
        """Answers to what was read: rejections first, then the range that is safe."""
        if self.answer is Answer.NONE:
            return []
        replies = [wire.rejected(*rejection) for rejection in self._stream.take_rejections()]
        last = self._stream.accepted_sequence
        if last > self._answered_sequence:
            replies.append(wire.accepted(self._answered_sequence + 1, last))
            self._answered_sequence = last
        return replies

    def control(self, now_ms: int, tick_ms: int) -> list[bytes]:
        """Replies to the control frames that were found; a broken one ends the conversation with an ERROR."""
        replies: list[bytes] = []
        for kind, flags, body in self._stream.take_control():
            try:
                replies += self._take(kind, flags, body, now_ms)
            except FrameError as error:
                self._stream.refuse_frame(error.reason, now_ms, tick_ms)
                replies.append(wire.error(error.reason, str(error)))
                self.finished = True
            if self.finished:
                break
        return replies

    def _take(self, kind: int, flags: int, body: bytes, now_ms: int) -> list[bytes]:
        if kind == Frame.HELLO:
            return self._hello(flags, body, now_ms)
        self._greeted = True
        if kind == Frame.TOPIC:
            self._topic(*wire.parse_topic(body))
        elif kind == Frame.CONFIRM:
            sequence = wire.parse_confirm(body)
            if self.session >= 0:
                self._table.session_confirm(self.session, sequence)
        elif kind == Frame.CLOSE:
            self.closing = True
        elif kind != Frame.CREDIT:
            raise FrameError(Rejected.UNSUPPORTED_FRAME, f"frame type {kind} is not known")
        return []

    def _hello(self, flags: int, body: bytes, now_ms: int) -> list[bytes]:
        if self.begun:
            raise FrameError(Rejected.BAD_FRAMING, "HELLO is the first frame of a connection, or there is none")
        self._greeted = True
        hello = wire.parse_hello(flags, body)
        try:
            greeting = self._sessions.greet(hello, self._terms.own_paths, self._terms.record_bytes_max, now_ms)
        except ArenaFull:
            raise FrameError(Rejected.SHED, "the session table is full of sessions that are in use") from None
        self.finished = greeting.close
        if greeting.close:
            return greeting.replies
        self.answer = hello.answer
        if greeting.session >= 0:
            self.session = greeting.session
            self._sessions.hold(greeting.session, self._holder)
        self._stream.set_session(greeting.session, hello.answer)
        self._answered_sequence = self._stream.accepted_sequence
        session = f"session {greeting.session}" if greeting.session >= 0 else "no session"
        logger.debug("client %r is granted %s, answers: %s", hello.name, session, hello.answer.name.lower())
        return greeting.replies

    def unsettled(self) -> set[tuple[int, int]]:
        """Batches whose outcome this connection still has to tell before its session may end."""
        if self.session < 0 or self.answer is not Answer.DELIVERED:
            return set()
        return self._sessions.unsettled(self.session, self._holder)

    def end_session(self) -> None:
        """The client closed its session and everything in it was answered."""
        if self.session >= 0:
            self._sessions.end(self.session, self._holder)
            self.session = -1

    def lost(self, now_ms: int) -> None:
        """The connection is gone; its session may be resumed on another one."""
        if self.session >= 0:
            self._sessions.lost(self.session, self._holder, now_ms)
            self.session = -1

    def _topic(self, topic_id: int, name: bytes) -> None:
        if topic_id >= TOPIC_IDS_MAX:
            raise FrameError(Rejected.INVALID_TOPIC, f"topic id {topic_id} is above {TOPIC_IDS_MAX - 1}")
        index = self._terms.topics.get(name)
        if index is None:
            index = TOPIC_NOT_ALLOWED if legal_topic(name) else TOPIC_INVALID
        self._stream.set_topic_id(topic_id, index)


def legal_topic(name: bytes) -> bool:
    """Whether Kafka would take it as a topic's name."""
    return 0 < len(name) <= TOPIC_BYTES_MAX and name not in (b".", b"..") and _TOPIC_BYTES.issuperset(name)
