"""The daemon's frames of the native protocol, as PROTOCOL.md describes them.

Each class is one frame: `encode()` gives the whole frame, `decode(body)` reads its body and raises FrameError on what
does not fit. Bytes behind the known fields are ignored, so that a frame can grow.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple, Self

from ingestd.client.frame import (
    ACCEPTED,
    CLOSED,
    DELIVERED,
    ERROR,
    FAILED,
    GRANT,
    OUTCOME_UNKNOWN,
    REDIRECT,
    REJECTED,
    VERSION,
    FrameError,
    frame,
    take,
    unpack,
    utf8,
)

_RANGE: Final = Struct("<QQ")
_GRANT: Final = Struct("<HBB16sQIIH")
_REJECTED: Final = Struct("<QIHhH")
_DELIVERED: Final = Struct("<iqqH")
_FAILED: Final = Struct("<iHhBBH")
_U32: Final = Struct("<I")
_U16: Final = Struct("<H")
_ERROR: Final = Struct("<HH")
_RUN: Final = Struct("<QIII")


class Grant(NamedTuple):
    """Daemon: the answer to HELLO."""

    answer: int
    resumed: int
    session_id: bytes
    last_accepted: int
    frame_bytes_max: int
    record_bytes_max: int
    path: str = ""
    version: int = VERSION

    def encode(self) -> bytes:
        path = self.path.encode("utf-8", "surrogateescape")
        limits = (self.last_accepted, self.frame_bytes_max, self.record_bytes_max, len(path))
        return frame(GRANT, _GRANT.pack(self.version, self.answer, self.resumed, self.session_id, *limits) + path)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        version, answer, resumed, _, last_accepted, frame_max, record_max, size = unpack(_GRANT, body)
        path = take(body, _GRANT.size, size).decode("utf-8", "surrogateescape")
        return cls(answer, resumed, body[4:20], last_accepted, frame_max, record_max, path, version)


class Accepted(NamedTuple):
    """Daemon: every record in this range is safe, or was named in a REJECTED before."""

    first_sequence: int
    last_sequence: int

    def encode(self) -> bytes:
        return frame(ACCEPTED, _RANGE.pack(*self))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        first_sequence, last_sequence = unpack(_RANGE, body)
        return cls(first_sequence, last_sequence)


class Rejected(NamedTuple):
    """Daemon: these records were not taken, and why (PROTOCOL.md lists the reasons)."""

    first_sequence: int
    record_count: int
    reason: int
    error_code: int = 0
    text: str = ""

    def encode(self) -> bytes:
        text = self.text.encode()
        fixed = _REJECTED.pack(self.first_sequence, self.record_count, self.reason, self.error_code, len(text))
        return frame(REJECTED, fixed + text)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        first_sequence, record_count, reason, error_code, size = unpack(_REJECTED, body)
        return cls(first_sequence, record_count, reason, error_code, utf8(body, _REJECTED.size, size))


class Run(NamedTuple):
    """Records of one sender that lie side by side in a batch: consecutive offsets, sequences with `gaps` between them.

    `gaps` is empty for consecutive sequences; else it has one number per record but the first: sequences left out.
    """

    first_sequence: int
    record_count: int
    offset_delta: int = 0
    gaps: tuple[int, ...] = ()

    def encode(self) -> bytes:
        gaps = b"".join(_varint(gap) for gap in self.gaps)
        return _RUN.pack(self.first_sequence, self.record_count, self.offset_delta, len(gaps)) + gaps

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """(first sequence, record count, offset delta of the first) of each stretch of consecutive sequences."""
        if not self.gaps:
            yield self.first_sequence, self.record_count, self.offset_delta
            return
        first = last = self.first_sequence
        delta = self.offset_delta
        for gap in self.gaps:
            if gap:
                yield first, last - first + 1, delta
                delta += last - first + 1
                first = last = last + 1 + gap
            else:
                last += 1
        yield first, last - first + 1, delta


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _decode_runs(body: bytes, offset: int) -> tuple[Run, ...]:
    (run_count,) = unpack(_U32, body, offset)
    offset += 4
    runs = []
    for _ in range(run_count):
        first_sequence, record_count, offset_delta, size = unpack(_RUN, body, offset)
        offset += _RUN.size
        gaps = _decode_gaps(take(body, offset, size), record_count) if size else ()
        offset += size
        runs.append(Run(first_sequence, record_count, offset_delta, gaps))
    return tuple(runs)


def _decode_gaps(data: bytes, record_count: int) -> tuple[int, ...]:
    gaps, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            gaps.append(value)
            value = shift = 0
    if shift or len(gaps) != record_count - 1:
        raise FrameError(f"{len(gaps)} gaps between {record_count} records")
    return tuple(gaps)


def _encode_runs(runs: tuple[Run, ...]) -> bytes:
    return _U32.pack(len(runs)) + b"".join(run.encode() for run in runs)


class Delivered(NamedTuple):
    """Daemon: these records are in Kafka. base_offset -1: written, offset not known. timestamp_ms -1: the record's."""

    partition: int
    base_offset: int
    timestamp_ms: int
    topic: str
    runs: tuple[Run, ...]

    def encode(self) -> bytes:
        topic = self.topic.encode()
        fixed = _DELIVERED.pack(self.partition, self.base_offset, self.timestamp_ms, len(topic))
        return frame(DELIVERED, fixed + topic + _encode_runs(self.runs))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        partition, base_offset, timestamp_ms, size = unpack(_DELIVERED, body)
        topic = utf8(body, _DELIVERED.size, size)
        return cls(partition, base_offset, timestamp_ms, topic, _decode_runs(body, _DELIVERED.size + size))


class Failed(NamedTuple):
    """Daemon: these accepted records were given up, with the reason and Kafka's error code (0: none)."""

    partition: int
    reason: int
    error_code: int
    may_have_been_written: bool
    topic: str
    text: str
    runs: tuple[Run, ...]

    def encode(self) -> bytes:
        topic, text = self.topic.encode(), self.text.encode()
        fixed = (self.partition, self.reason, self.error_code, self.may_have_been_written, 0, len(topic))
        return frame(FAILED, _FAILED.pack(*fixed) + topic + _U16.pack(len(text)) + text + _encode_runs(self.runs))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        partition, reason, error_code, may_have_been_written, _, size = unpack(_FAILED, body)
        offset = _FAILED.size
        topic = utf8(body, offset, size)
        offset += size
        (size,) = unpack(_U16, body, offset)
        offset += 2
        text = utf8(body, offset, size)
        runs = _decode_runs(body, offset + size)
        return cls(partition, reason, error_code, bool(may_have_been_written), topic, text, runs)


class OutcomeUnknown(NamedTuple):
    """Daemon, when a session is resumed: accepted earlier, settled since, the outcome is no longer known."""

    first_sequence: int
    last_sequence: int

    def encode(self) -> bytes:
        return frame(OUTCOME_UNKNOWN, _RANGE.pack(*self))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        first_sequence, last_sequence = unpack(_RANGE, body)
        return cls(first_sequence, last_sequence)


class Error(NamedTuple):
    """Daemon: this connection cannot go on, and why. It is closed behind this frame."""

    reason: int
    text: str = ""

    def encode(self) -> bytes:
        text = self.text.encode()
        return frame(ERROR, _ERROR.pack(self.reason, len(text)) + text)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        reason, size = unpack(_ERROR, body)
        return cls(reason, utf8(body, _ERROR.size, size))


class Closed(NamedTuple):
    """Daemon: the answer to CLOSE, behind all other answers."""

    def encode(self) -> bytes:
        return frame(CLOSED, b"")


class Redirect(NamedTuple):
    """Daemon: the session lives at that path of this host; go there."""

    path: str

    def encode(self) -> bytes:
        path = self.path.encode("utf-8", "surrogateescape")
        return frame(REDIRECT, _U16.pack(len(path)) + path)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        (size,) = unpack(_U16, body)
        return cls(take(body, 2, size).decode("utf-8", "surrogateescape"))


Answer = Grant | Accepted | Rejected | Delivered | Failed | OutcomeUnknown | Error | Closed | Redirect

_DECODERS: Final[dict[int, Callable[[bytes], Answer]]] = {
    GRANT: Grant.decode,
    ACCEPTED: Accepted.decode,
    REJECTED: Rejected.decode,
    DELIVERED: Delivered.decode,
    FAILED: Failed.decode,
    OUTCOME_UNKNOWN: OutcomeUnknown.decode,
    ERROR: Error.decode,
    CLOSED: lambda _: Closed(),
    REDIRECT: Redirect.decode,
}


def decode_answer(kind: int, body: bytes) -> Answer | None:
    """A frame from the daemon; None for a type that this version does not know, which a client ignores."""
    decode = _DECODERS.get(kind)
    return decode(body) if decode is not None else None
