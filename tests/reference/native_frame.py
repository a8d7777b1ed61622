"""The native protocol's client side, slow and obvious: builds frames and their records."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

HELLO, RECORDS, TOPIC, CONFIRM, CLOSE = 1, 2, 3, 4, 5
TOPIC_NAME = 1

Header = tuple[bytes, bytes | None]


class WireRecord(NamedTuple):
    """A record as a client hands it over; ``None`` leaves the field out."""

    value: bytes | None = b""
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: tuple[Header, ...] | None = None


def record(item: WireRecord) -> bytes:
    """One record with its length in front."""
    flags, body = 0, b""
    if item.partition is not None:
        flags |= 0x01
        body += struct.pack("<i", item.partition)
    if item.timestamp_ms is not None:
        flags |= 0x02
        body += struct.pack("<q", item.timestamp_ms)
    if item.key is not None:
        flags |= 0x04
        body += struct.pack("<I", len(item.key)) + item.key
    if item.headers is not None:
        flags |= 0x08
        body += struct.pack("<H", len(item.headers))
        for name, value in item.headers:
            body += struct.pack("<H", len(name)) + name
            body += struct.pack("<i", -1) if value is None else struct.pack("<i", len(value)) + value
    if item.value is not None:
        flags |= 0x10
        body += item.value
    return struct.pack("<I", 1 + len(body)) + bytes([flags]) + body


def frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Any frame."""
    return struct.pack("<IBBH", 4 + len(body), kind, flags, 0) + body


def raw_records_frame(
    encoded: Sequence[bytes], *, topic: bytes | None = None, topic_id: int = 0, first_sequence: int = 1
) -> bytes:
    """A RECORDS frame of records that are encoded already (and may be wrong)."""
    head = struct.pack("<HHIQ", topic_id, 0, len(encoded), first_sequence)
    if topic is not None:
        head += struct.pack("<H", len(topic)) + topic
    return frame(RECORDS, head + b"".join(encoded), TOPIC_NAME if topic is not None else 0)


def records_frame(
    records: Sequence[WireRecord], *, topic: bytes | None = None, topic_id: int = 0, first_sequence: int = 1
) -> bytes:
    """A RECORDS frame."""
    return raw_records_frame(
        [record(item) for item in records], topic=topic, topic_id=topic_id, first_sequence=first_sequence
    )


def topic_frame(topic_id: int, name: bytes) -> bytes:
    """Agrees a topic id."""
    return frame(TOPIC, struct.pack("<HH", topic_id, len(name)) + name)


def confirm_frame(sequence: int) -> bytes:
    """Rejections up to that sequence were seen."""
    return frame(CONFIRM, struct.pack("<Q", sequence))
