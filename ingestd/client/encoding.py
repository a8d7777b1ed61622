"""Records and the RECORDS frame of the native protocol, as PROTOCOL.md describes them.

`encode_record` runs once per record and is written for speed; `decode_records` is for whoever checks frames.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple

from ingestd.client.frame import RECORDS, TOPIC_NAME, FrameError, unpack

Header = tuple[str, bytes | None]

PARTITION: Final = 0x01
TIMESTAMP: Final = 0x02
KEY: Final = 0x04
HEADERS: Final = 0x08
VALUE: Final = 0x10

_HEAD: Final = Struct("<HHIQ")  # topic id, reserved, record count, first sequence
_FRAME: Final = Struct("<IBBHHHIQ")  # both
FRAME_HEAD_BYTES: Final = _FRAME.size
TOPIC_BYTES_MAX: Final = 249
FRAME_ENVELOPE_BYTES: Final = FRAME_HEAD_BYTES + 2 + TOPIC_BYTES_MAX
"""In front of a frame's records at most: head, length of the topic's name, the longest name."""
RECORD_ENVELOPE_BYTES: Final = 4 + 1 + 4 + 8 + 4
"""What a record has besides key, value and headers at most: length, flags, partition, timestamp, length of the key."""
_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_I32: Final = Struct("<i")
_I64: Final = Struct("<q")
_LENGTH: Final = Struct("<IB")  # length, flags
_PLAIN: Final = Struct("<IBq")  # length, flags, timestamp
_KEYED: Final = Struct("<IBqI")  # length, flags, timestamp, key length
_pack_plain = _PLAIN.pack
_pack_keyed = _KEYED.pack


class DecodedRecord(NamedTuple):
    """A record as it lies in a frame."""

    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: tuple[Header, ...] = ()


class Records(NamedTuple):
    """A RECORDS frame. The topic by name, or by an id that a TOPIC frame gave a name on the same connection."""

    first_sequence: int
    records: tuple[DecodedRecord, ...]
    topic: str | None = None
    topic_id: int = 0


def encode_record(
    value: bytes | None, key: bytes | None, partition: int | None, timestamp_ms: int | None, headers: Sequence[Header]
) -> bytes:
    """The bytes of one record, its length field in front. Key None is no key, value None a tombstone.

    struct.error or UnicodeEncodeError: something is beyond what its field holds.
    """
    if partition is None and timestamp_ms is not None and not headers and value is not None:
        if key is None:
            return _pack_plain(9 + len(value), TIMESTAMP | VALUE, timestamp_ms) + value
        key_bytes = len(key)
        flags = TIMESTAMP | KEY | VALUE
        return _pack_keyed(13 + key_bytes + len(value), flags, timestamp_ms, key_bytes) + key + value
    flags, parts = 0, []
    if partition is not None:
        flags |= PARTITION
        parts.append(_I32.pack(partition))
    if timestamp_ms is not None:
        flags |= TIMESTAMP
        parts.append(_I64.pack(timestamp_ms))
    if key is not None:
        flags |= KEY
        parts += (_U32.pack(len(key)), key)
    if headers:
        flags |= HEADERS
        parts.append(_encode_headers(headers))
    if value is not None:
        flags |= VALUE
        parts.append(value)
    body = b"".join(parts)
    return _LENGTH.pack(1 + len(body), flags) + body


def _encode_headers(headers: Sequence[Header]) -> bytes:
    parts = [_U16.pack(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += (_U16.pack(len(encoded)), encoded, _I32.pack(-1 if value is None else len(value)), value or b"")
    return b"".join(parts)


def frame_head(first_sequence: int, records: Sequence[bytes], topic: str | None, topic_id: int = 0) -> bytes:
    """What goes in front of `records`: head and, if the topic goes by name, its name."""
    name = b""
    if topic is not None:
        encoded = topic.encode()
        name = _U16.pack(len(encoded)) + encoded
    length = FRAME_HEAD_BYTES - 4 + len(name) + sum(map(len, records))
    flags = 0 if topic is None else TOPIC_NAME
    return _FRAME.pack(length, RECORDS, flags, 0, topic_id, 0, len(records), first_sequence) + name


def decode_records(body: bytes, flags: int) -> Records:
    """The body of a RECORDS frame whose records are all in order; FrameError for anything else."""
    topic_id, _, record_count, first_sequence = unpack(_HEAD, body)
    offset = _HEAD.size
    topic = None
    if flags & TOPIC_NAME:
        (size,) = unpack(_U16, body, offset)
        offset += 2
        topic = body[offset : offset + size].decode()
        offset += size
    records = []
    for _ in range(record_count):
        (length,) = unpack(_U32, body, offset)
        offset += 4
        if length < 1 or len(body) < offset + length:
            raise FrameError(f"a record of {length} bytes in a body with {len(body) - offset} left")
        records.append(_decode_record(body[offset : offset + length]))
        offset += length
    if offset != len(body):
        raise FrameError(f"{len(body) - offset} bytes behind the last record")
    return Records(first_sequence, tuple(records), topic, topic_id)


def _decode_record(body: bytes) -> DecodedRecord:
    flags = body[0]
    offset = 1
    partition = timestamp_ms = key = value = None
    headers: tuple[Header, ...] = ()
    try:
        if flags & PARTITION:
            (partition,) = _I32.unpack_from(body, offset)
            offset += 4
        if flags & TIMESTAMP:
            (timestamp_ms,) = _I64.unpack_from(body, offset)
            offset += 8
        if flags & KEY:
            (size,) = _U32.unpack_from(body, offset)
            key = body[offset + 4 : offset + 4 + size]
            offset += 4 + size
        if flags & HEADERS:
            headers, offset = _decode_headers(body, offset)
    except StructError:
        raise FrameError("a record is too short for its fields") from None
    if offset > len(body):
        raise FrameError("a field leads beyond its record")
    if flags & VALUE:
        value = body[offset:]
    elif offset != len(body):
        raise FrameError("a tombstone with bytes behind its fields")
    return DecodedRecord(value, key, partition, timestamp_ms, headers)


def _decode_headers(body: bytes, offset: int) -> tuple[tuple[Header, ...], int]:
    headers: list[Header] = []
    (count,) = _U16.unpack_from(body, offset)
    offset += 2
    for _ in range(count):
        (size,) = _U16.unpack_from(body, offset)
        name = body[offset + 2 : offset + 2 + size].decode()
        offset += 2 + size
        (size,) = _I32.unpack_from(body, offset)
        offset += 4
        headers.append((name, None if size < 0 else body[offset : offset + size]))
        offset += max(size, 0)
    return tuple(headers), offset
