"""The produce request's envelope around batches that are not copied, and its response. Versions 3 and 7 to 13.

Byte-tested against kio and golden frames. Layouts (Kafka's RequestHeader.json, ProduceRequest.json; docs/kafka.md 9):

    request header v1   size int32 | api key int16 | version int16 | correlation id int32 | client id nullable string
    request header v2   the same, then a tag section
    body                transactional id | acks int16 | timeout int32 | topics[name or id | partitions[index | records]]

From version 9 on strings, bytes and arrays are compact and every struct ends in a tag section; 13 names topics by id.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.reader import Reader

API_KEY: Final = 0
VERSIONS: Final = frozenset({3, 7, 8, 9, 10, 11, 12, 13})
FLEXIBLE_SINCE: Final = 9
TOPIC_ID_SINCE: Final = 13
ZSTD_SINCE: Final = 7
TOPIC_ID_NONE: Final = bytes(16)

_I16: Final = Struct(">h")
_I32: Final = Struct(">i")
_HEAD: Final = Struct(">ihhi")
_PARTITION: Final = Struct(">ihqqq")
_PARTITION_V3: Final = Struct(">ihqq")
# From version 9 on, with what follows in the usual answer: no record errors (as 1), no message, no tags.
_PARTITION_USUAL: Final = Struct(">ihqqq3s")
_USUAL_END: Final = b"\1\0\0"
_LEADER: Final = Struct(">ii")
_new: Final = tuple.__new__
"""Makes an Answer of a tuple for a fraction of what its constructor costs, and there is one per batch."""
# Version 13, one topic, every partition as usual, no tags: header tags, topics 1 (as 2), id, partitions (plus 1 in one
# byte), then the partitions, the topic's end, throttle, the body's end.
_ONE_TOPIC: Final = Struct(">2s16sB")
_ONE_TOPIC_BEGINS: Final = b"\0\2"
_ONE_TOPIC_END: Final = Struct(">BiB")

Buffer = bytes | bytearray | memoryview


def uvarint(value: int) -> bytes:
    """``value`` >= 0 as an unsigned base-128 varint, low group first."""
    if value < 0x80:
        return bytes((value,))
    if 0x4000 <= value < 0x200000:
        # The size of most batches.
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class TopicRow(NamedTuple):
    """How a request addresses a topic, encoded once: the name in both string forms, and the id (16 bytes)."""

    name: str
    legacy: bytes
    compact: bytes
    topic_id: bytes


def topic_row(name: str, topic_id: bytes = TOPIC_ID_NONE) -> TopicRow:
    raw = name.encode()
    return TopicRow(name, _I16.pack(len(raw)) + raw, uvarint(len(raw) + 1) + raw, topic_id)


class Encoder:
    """Builds produce requests of one version for one client.

    ``acks`` -1, 0 or 1; ``timeout_ms``: how long the broker may wait for its followers.
    """

    def __init__(self, version: int, client_id: str, acks: int, timeout_ms: int) -> None:
        if version not in VERSIONS:
            raise ValueError(f"no produce version {version}")
        self.version = version
        raw = client_id.encode()
        self._flexible = version >= FLEXIBLE_SINCE
        self._by_id = version >= TOPIC_ID_SINCE
        client = _I16.pack(len(raw)) + raw
        transactional_id = b"\0" if self._flexible else b"\xff\xff"
        tags = b"\0" if self._flexible else b""
        self._tail_of_head = client + tags + transactional_id + _I16.pack(acks) + _I32.pack(timeout_ms)
        # what size counts besides topics: the header without its size field and the fixed fields of the body
        self._head_bytes = 8 + len(self._tail_of_head)

    def request(
        self, correlation_id: int, topics: Sequence[tuple[TopicRow, Sequence[tuple[int, memoryview]]]]
    ) -> list[bytes | memoryview]:
        """The frame as buffers to be written in order. Each topic stands once, each of its partitions once."""
        if self._flexible:
            return self._flexible_request(correlation_id, topics)
        parts: list[bytes | memoryview] = [b""]
        size = self._head_bytes + 4
        glue = b""
        for topic, partitions in topics:
            glue += topic.legacy + _I32.pack(len(partitions))
            for index, batch in partitions:
                length = len(batch)
                glue += _LEADER.pack(index, length)
                size += length + len(glue)
                parts.append(glue)
                parts.append(batch)
                glue = b""
        parts[0] = _HEAD.pack(size, API_KEY, self.version, correlation_id) + self._tail_of_head + _I32.pack(len(topics))
        return parts

    def _flexible_request(
        self, correlation_id: int, topics: Sequence[tuple[TopicRow, Sequence[tuple[int, memoryview]]]]
    ) -> list[bytes | memoryview]:
        parts: list[bytes | memoryview] = [b""]
        count = uvarint(len(topics) + 1)
        size = self._head_bytes + len(count)
        glue = b""
        for topic, partitions in topics:
            glue += (topic.topic_id if self._by_id else topic.compact) + uvarint(len(partitions) + 1)
            for index, batch in partitions:
                length = len(batch)
                glue += _I32.pack(index) + uvarint(length + 1)
                size += length + len(glue)
                parts.append(glue)
                parts.append(batch)
                glue = b"\0"
            glue += b"\0"
        glue += b"\0"
        size += len(glue)
        parts.append(glue)
        parts[0] = _HEAD.pack(size, API_KEY, self.version, correlation_id) + self._tail_of_head + count
        return parts


class Answer(NamedTuple):
    """What a broker said of one partition. ``topic``: its name, or its id (16 bytes) from version 13 on.

    ``record_errors``: (index in the batch, text). ``leader_id`` -1: no hint. ``log_append_time_ms`` -1: none given.
    """

    topic: str | bytes
    partition: int
    code: int
    base_offset: int
    log_append_time_ms: int
    log_start_offset: int
    record_errors: tuple[tuple[int, str], ...]
    text: str
    leader_id: int
    leader_epoch: int


class Response(NamedTuple):
    """``endpoints``: (node, host, port) of the leaders that the answers name (KIP-951)."""

    answers: list[Answer]
    throttle_ms: int
    endpoints: tuple[tuple[int, str, int], ...]


def decode(version: int, data: bytes, at: int) -> Response:
    """Decodes a response body. ``at``: offset behind the correlation id. Raises ProtocolError."""
    if version == TOPIC_ID_SINCE and (usual := _one_topic(data, at)) is not None:
        return usual
    reader = Reader(data, at)
    try:
        return _decode(version, reader)
    except (IndexError, struct_error) as error:
        raise ProtocolError("response ends inside a field") from error


def _decode(version: int, reader: Reader) -> Response:
    flexible = version >= FLEXIBLE_SINCE
    if flexible:
        reader.tags()
    answers: list[Answer] = []
    # a name of no length, no partition, and no tag
    for _ in range(reader.count(flexible, 3 if flexible else 6)):
        topic: str | bytes = reader.take(16) if version >= TOPIC_ID_SINCE else reader.string(flexible)
        left = reader.count(flexible, 22)
        while left:
            usual = _usual_partitions(topic, left, reader) if flexible else []
            answers += usual
            left -= len(usual)
            if left:
                answers.append(_partition(version, flexible, topic, reader))
                left -= 1
        if flexible:
            reader.tags()
    throttle_ms = reader.i32()
    endpoints: tuple[tuple[int, str, int], ...] = ()
    if flexible:
        for tag, value in reader.tags():
            if tag == 0:
                endpoints = _endpoints(value)
    return Response(answers, throttle_ms, endpoints)


def _one_topic(data: bytes, at: int) -> Response | None:
    """The usual response, read in one go; None: it is not one."""
    count, rest = divmod(len(data) - at - _ONE_TOPIC.size - _ONE_TOPIC_END.size, _PARTITION_USUAL.size)
    if rest or count < 1:
        return None
    begins, topic_id, claimed = _ONE_TOPIC.unpack_from(data, at)
    topic_end, throttle_ms, end = _ONE_TOPIC_END.unpack_from(data, len(data) - _ONE_TOPIC_END.size)
    if begins != _ONE_TOPIC_BEGINS or claimed != count + 1 or claimed >= 0x80 or topic_end or end:
        return None
    answers = _usual_rows(topic_id, memoryview(data)[at + _ONE_TOPIC.size : len(data) - _ONE_TOPIC_END.size])
    return Response(answers, throttle_ms, ()) if len(answers) == count else None


def _usual_rows(topic: str | bytes, rows: memoryview) -> list[Answer]:
    """The partitions in ``rows`` up to the first that has record errors, a message or tags."""
    found: list[Answer] = []
    for index, code, base_offset, append_ms, start, end in _PARTITION_USUAL.iter_unpack(rows):
        if end != _USUAL_END:
            break
        found.append(_new(Answer, (topic, index, code, base_offset, append_ms, start, (), "", -1, -1)))
    return found


def _usual_partitions(topic: str | bytes, count: int, reader: Reader) -> list[Answer]:
    """As many of the next ``count`` partitions as are usual."""
    size = _PARTITION_USUAL.size
    end_at = min(reader.at + count * size, len(reader.data))
    end_at -= (end_at - reader.at) % size
    found = _usual_rows(topic, memoryview(reader.data)[reader.at : end_at])
    reader.at += len(found) * size
    return found


def _partition(version: int, flexible: bool, topic: str | bytes, reader: Reader) -> Answer:
    at = reader.at
    if version < 5:
        index, code, base_offset, append_ms = _PARTITION_V3.unpack_from(reader.data, at)
        reader.at = at + 22
        return Answer(topic, index, code, base_offset, append_ms, -1, (), "", -1, -1)
    index, code, base_offset, append_ms, start = _PARTITION.unpack_from(reader.data, at)
    reader.at = at + 30
    errors: tuple[tuple[int, str], ...] = ()
    text = ""
    leader_id = leader_epoch = -1
    if version >= 8:
        count = reader.count(flexible, 6)
        if count:
            errors = tuple(_record_error(flexible, reader) for _ in range(count))
        text = reader.string(flexible)
    if flexible:
        for tag, value in reader.tags():
            if tag == 0 and len(value) >= 8:
                leader_id, leader_epoch = _LEADER.unpack_from(value)
    return Answer(topic, index, code, base_offset, append_ms, start, errors, text, leader_id, leader_epoch)


def _record_error(flexible: bool, reader: Reader) -> tuple[int, str]:
    index, text = reader.i32(), reader.string(flexible)
    if flexible:
        reader.tags()
    return index, text


def _endpoints(value: bytes) -> tuple[tuple[int, str, int], ...]:
    reader = Reader(value, 0)
    found = []
    for _ in range(reader.count(True, 11)):
        node, host, port = reader.i32(), reader.string(True), reader.i32()
        reader.string(True)
        reader.tags()
        found.append((node, host, port))
    return tuple(found)
