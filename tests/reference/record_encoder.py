"""Kafka's record batch v2 and murmur2, slow and obvious, as Kafka has them (docs/kafka.md 10, 12)."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from tests.reference.crc32c_slow import crc32c


class PlainRecord(NamedTuple):
    """A record as a consumer would see it."""

    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def zigzag_varint(number: int) -> bytes:
    """A signed number of up to 64 bits."""
    rest = (number << 1) ^ (number >> 63)
    out = b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


def sized(data: bytes | None) -> bytes:
    """Bytes behind their length, -1 for none."""
    return zigzag_varint(-1) if data is None else zigzag_varint(len(data)) + data


def encode_record(record: PlainRecord, base_timestamp_ms: int, index: int) -> bytes:
    """One record of a batch."""
    body = b"\0" + zigzag_varint(record.timestamp_ms - base_timestamp_ms) + zigzag_varint(index)
    body += sized(record.key) + sized(record.value) + zigzag_varint(len(record.headers))
    for name, value in record.headers:
        body += sized(name) + sized(value)
    return zigzag_varint(len(body)) + body


def encode_batch(
    records: Sequence[PlainRecord], producer_id: int = -1, epoch: int = -1, base_sequence: int = -1
) -> bytes:
    """An uncompressed batch; leader epoch 0."""
    base = records[0].timestamp_ms
    payload = b"".join(encode_record(record, base, index) for index, record in enumerate(records))
    checked = struct.pack(
        ">hiqqqhii",
        0,
        len(records) - 1,
        base,
        max(record.timestamp_ms for record in records),
        producer_id,
        epoch,
        base_sequence,
        len(records),
    )
    checked += payload
    head = struct.pack(">qiib", 0, 9 + len(checked), 0, 2)
    return head + struct.pack(">I", crc32c(checked)) + checked


def murmur2(key: bytes) -> int:
    """Unsigned."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) - len(key) % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    tail = key[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)
