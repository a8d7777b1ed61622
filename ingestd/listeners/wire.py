"""Control frames and replies of the native protocol as bytes (PROTOCOL.md). RECORDS frames are the record path's.

A frame: length u32 (bytes behind this field), type u8, flags u8, reserved u16, body; little-endian, unaligned.
"""

from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 (a class of another name hides what it is)
from typing import Final, NamedTuple

from ingestd.metrics import REASON_TEXT, Rejected

VERSION: Final = 1
SESSION_WANTED: Final = 0x01
"""Flag of HELLO."""
SESSION_ID_BYTES: Final = 16
NO_SESSION_ID: Final = bytes(SESSION_ID_BYTES)
TEXT_BYTES_MAX: Final = 400
"""Length of the text in an answer; enough for a sentence, and nobody's way to make replies large."""
NAME_BYTES_MAX: Final = 100
"""So much of a client's name is logged."""


class Frame(IntEnum):
    """Frame types; those of a client are below 0x40."""

    HELLO = 0x01
    RECORDS = 0x02
    TOPIC = 0x03
    CONFIRM = 0x04
    CLOSE = 0x05
    CREDIT = 0x07
    GRANT = 0x41
    ACCEPTED = 0x42
    REJECTED = 0x43
    DELIVERED = 0x44
    FAILED = 0x45
    OUTCOME_UNKNOWN = 0x46
    ERROR = 0x47
    CLOSED = 0x48
    REDIRECT = 0x49


class Answer(IntEnum):
    """Levels of answer."""

    NONE = 0
    ACCEPTED = 1
    DELIVERED = 2


class Resumed(IntEnum):
    """What became of the session that HELLO asked for."""

    NEW = 0
    RESUMED = 1
    FORGOTTEN = 2


KAFKA_CODE: Final[dict[Rejected, int]] = {
    Rejected.RECORD_TOO_LARGE: 10,  # MESSAGE_TOO_LARGE
    Rejected.FRAME_TOO_LARGE: 10,
    Rejected.LINE_TOO_LARGE: 10,
    Rejected.INVALID_TOPIC: 17,  # INVALID_TOPIC_EXCEPTION
    Rejected.TOPIC_NOT_ALLOWED: 29,  # TOPIC_AUTHORIZATION_FAILED
    Rejected.TOPIC_UNKNOWN: 3,  # UNKNOWN_TOPIC_OR_PARTITION
    Rejected.INVALID_PARTITION: 3,
    Rejected.TIMESTAMP_OUT_OF_BOUNDS: 32,  # INVALID_TIMESTAMP
    Rejected.MALFORMED: 87,  # INVALID_RECORD
    Rejected.KEY_TOO_LARGE: 87,
    Rejected.TOO_MANY_HEADERS: 87,
    Rejected.INVALID_HEADER: 87,
}
"""Kafka's code for a rejection where Kafka has a word for it; 0 otherwise."""

_HEADER: Final = Struct("<IBBH")
_HELLO: Final = Struct("<HBB16sH")
_TOPIC: Final = Struct("<HH")
_U64: Final = Struct("<Q")
_GRANT: Final = Struct("<IBBHHBB16sQIIH")
_RANGE: Final = Struct("<IBBHQQ")
_REJECTED: Final = Struct("<QIHhH")
_ERROR: Final = Struct("<HH")
_U16: Final = Struct("<H")


class FrameError(Exception):
    """A control frame that breaks the protocol; ``reason`` and text go into the ERROR answer."""

    def __init__(self, reason: Rejected, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Hello(NamedTuple):
    """What a client wants; ``session_id`` all zero: a new session. ``name`` is the client's own, for logs."""

    version: int
    answer: Answer
    session_wanted: bool
    session_id: bytes
    name: str


def parse_hello(flags: int, body: bytes) -> Hello:
    """Reads HELLO. Of the client's name no more is kept than a line of a log needs."""
    try:
        version, answer, _, session_id, size = _HELLO.unpack_from(body)
    except StructError:
        raise FrameError(Rejected.BAD_FRAMING, "HELLO is too short") from None
    name = body[_HELLO.size : _HELLO.size + size]
    if len(name) != size:
        raise FrameError(Rejected.BAD_FRAMING, "HELLO ends inside the name")
    if version < 1:
        raise FrameError(Rejected.UNSUPPORTED_FRAME, f"protocol version {version} is not known")
    try:
        level = Answer(answer)
    except ValueError:
        raise FrameError(Rejected.BAD_FRAMING, f"answer level {answer} is not known") from None
    wanted = bool(flags & SESSION_WANTED)
    if level is Answer.DELIVERED and not wanted:
        raise FrameError(Rejected.BAD_FRAMING, "answers of level delivered need a session")
    return Hello(version, level, wanted, session_id, name[:NAME_BYTES_MAX].decode("utf-8", "backslashreplace"))


def parse_topic(body: bytes) -> tuple[int, bytes]:
    """(topic id, name in bytes as sent) of a TOPIC frame."""
    try:
        topic_id, size = _TOPIC.unpack_from(body)
    except StructError:
        raise FrameError(Rejected.BAD_FRAMING, "TOPIC is too short") from None
    name = body[_TOPIC.size : _TOPIC.size + size]
    if len(name) != size:
        raise FrameError(Rejected.BAD_FRAMING, "TOPIC ends inside the name")
    return topic_id, name


def parse_confirm(body: bytes) -> int:
    """The sequence up to which the client has seen its rejections."""
    try:
        return int(_U64.unpack_from(body)[0])
    except StructError:
        raise FrameError(Rejected.BAD_FRAMING, "CONFIRM is too short") from None


def frame(kind: Frame, body: bytes = b"") -> bytes:
    """A whole frame around ``body``."""
    return _HEADER.pack(4 + len(body), kind, 0, 0) + body


class Grant(NamedTuple):
    """What the daemon grants; ``path`` is the own path of the worker that keeps the session (empty: no session)."""

    answer: Answer
    resumed: Resumed
    session_id: bytes
    last_accepted: int
    frame_bytes_max: int
    record_bytes_max: int
    path: bytes

    def encode(self) -> bytes:
        return (
            _GRANT.pack(
                _GRANT.size - 4 + len(self.path),
                Frame.GRANT,
                0,
                0,
                VERSION,
                self.answer,
                self.resumed,
                self.session_id,
                self.last_accepted,
                self.frame_bytes_max,
                self.record_bytes_max,
                len(self.path),
            )
            + self.path
        )


def accepted(first_sequence: int, last_sequence: int) -> bytes:
    """ACCEPTED: what is in the range is in the arena, or was named in a REJECTED before."""
    return _RANGE.pack(_RANGE.size - 4, Frame.ACCEPTED, 0, 0, first_sequence, last_sequence)


def outcome_unknown(first_sequence: int, last_sequence: int) -> bytes:
    """OUTCOME_UNKNOWN: accepted earlier and settled since, nobody knows any more how."""
    return _RANGE.pack(_RANGE.size - 4, Frame.OUTCOME_UNKNOWN, 0, 0, first_sequence, last_sequence)


def rejected(first_sequence: int, record_count: int, reason: int) -> bytes:
    """REJECTED, with the reason's number, Kafka's code if it has one, and a sentence."""
    known = Rejected(reason)
    text = REASON_TEXT[known].encode()
    fixed = _REJECTED.pack(first_sequence, record_count, reason, KAFKA_CODE.get(known, 0), len(text))
    return frame(Frame.REJECTED, fixed + text)


def error(reason: int, text: str) -> bytes:
    """ERROR: the connection is closed behind it."""
    encoded = text.encode("utf-8", "backslashreplace")[:TEXT_BYTES_MAX]
    return frame(Frame.ERROR, _ERROR.pack(reason, len(encoded)) + encoded)


def closed() -> bytes:
    """CLOSED: the session has ended, everything in it was answered."""
    return frame(Frame.CLOSED)


def redirect(path: bytes) -> bytes:
    """REDIRECT: the session lives there."""
    return frame(Frame.REDIRECT, _U16.pack(len(path)) + path)
