"""Frames of the native protocol, version 1, as PROTOCOL.md describes them: framing and the client's frames.

RECORDS has a module of its own (`encoding`), and so have the daemon's frames (`answers`).

A frame: length u32 (bytes behind this field), type u8, flags u8, reserved u16, body; all little-endian, unaligned.
Each class here is one frame: `encode()` gives the whole frame, `decode(flags, body)` reads its body. Bytes behind the
known fields are ignored, so that a frame can grow. What does not fit raises FrameError.
"""

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple, Self

VERSION: Final = 1
FRAME_BYTES_MAX: Final = 2 << 20
NAME_BYTES_MAX: Final = 0xFFFF
"""Of the client, in HELLO."""
TOPIC_IDS_MAX: Final = 1024

ANSWER_NONE: Final = 0
ANSWER_ACCEPTED: Final = 1
ANSWER_DELIVERED: Final = 2

SESSION_WANTED: Final = 0x01  # flag of HELLO
TOPIC_NAME: Final = 0x01  # flag of RECORDS

SESSION_NEW: Final = 0
SESSION_RESUMED: Final = 1
SESSION_FORGOTTEN: Final = 2

# Frame types; a client's are below 0x40
HELLO: Final = 0x01
RECORDS: Final = 0x02
TOPIC: Final = 0x03
CONFIRM: Final = 0x04
CLOSE: Final = 0x05
CREDIT: Final = 0x07  # reserved
GRANT: Final = 0x41
ACCEPTED: Final = 0x42
REJECTED: Final = 0x43
DELIVERED: Final = 0x44
FAILED: Final = 0x45
OUTCOME_UNKNOWN: Final = 0x46
ERROR: Final = 0x47
CLOSED: Final = 0x48
REDIRECT: Final = 0x49

NO_SESSION: Final = bytes(16)

HEADER: Final = Struct("<IBBH")  # length, type, flags, reserved
HEADER_BYTES: Final = HEADER.size
_LENGTH_MIN: Final = HEADER_BYTES - 4

_HELLO: Final = Struct("<HBB16sH")
_TOPIC: Final = Struct("<HH")
_U64: Final = Struct("<Q")


class FrameError(ValueError):
    """Bytes that are no frame of this protocol."""


def frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A whole frame around a body."""
    return HEADER.pack(_LENGTH_MIN + len(body), kind, flags, 0) + body


class FrameReader:
    """Cuts a stream into frames. Keeps what is unfinished; never holds more than one frame plus one read."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yields (type, flags, body) of each frame that `data` completes. FrameError: an impossible length."""
        pending = self._pending
        pending += data
        start = 0
        try:
            while len(pending) - start >= HEADER_BYTES:
                length, kind, flags, _ = HEADER.unpack_from(pending, start)
                if not _LENGTH_MIN <= length <= FRAME_BYTES_MAX:
                    raise FrameError(f"a frame of {length} bytes: 4 to {FRAME_BYTES_MAX} are possible")
                end = start + 4 + length
                if len(pending) < end:
                    break
                body = bytes(pending[start + HEADER_BYTES : end])
                start = end
                yield kind, flags, body
        finally:
            del pending[:start]


def unpack(layout: Struct, body: bytes, offset: int = 0) -> tuple[int, ...]:
    try:
        return layout.unpack_from(body, offset)
    except StructError:
        raise FrameError(f"a body of {len(body)} bytes is too short") from None


def take(body: bytes, offset: int, size: int) -> bytes:
    if len(body) < offset + size:
        raise FrameError(f"a body of {len(body)} bytes is too short")
    return body[offset : offset + size]


def utf8(body: bytes, offset: int, size: int) -> str:
    return take(body, offset, size).decode("utf-8", "replace")


class Hello(NamedTuple):
    """Client: who I am, which answers I want, and the session I come back to (or none)."""

    answer: int
    session_wanted: bool = False
    session_id: bytes = NO_SESSION
    name: str = ""
    version: int = VERSION

    def encode(self) -> bytes:
        name = self.name.encode()
        body = _HELLO.pack(self.version, self.answer, 0, self.session_id, len(name)) + name
        return frame(HELLO, body, SESSION_WANTED if self.session_wanted else 0)

    @classmethod
    def decode(cls, body: bytes, flags: int = 0) -> Self:
        version, answer, _, _, size = unpack(_HELLO, body)
        session_id = body[4:20]
        return cls(answer, bool(flags & SESSION_WANTED), session_id, utf8(body, _HELLO.size, size), version)


class Topic(NamedTuple):
    """Client: from here on, on this connection, this id (0..1023) means that topic."""

    topic_id: int
    name: str

    def encode(self) -> bytes:
        name = self.name.encode()
        return frame(TOPIC, _TOPIC.pack(self.topic_id, len(name)) + name)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        topic_id, size = unpack(_TOPIC, body)
        return cls(topic_id, utf8(body, _TOPIC.size, size))


class Confirm(NamedTuple):
    """Client: rejections up to this sequence were seen and may be forgotten."""

    sequence: int

    def encode(self) -> bytes:
        return frame(CONFIRM, _U64.pack(self.sequence))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(unpack(_U64, body)[0])
