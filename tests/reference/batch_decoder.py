"""Reads a Kafka record batch v2 by the book (DefaultRecordBatch, DefaultRecord), slowly, checking everything a broker
checks.
"""

import struct
from typing import NamedTuple

from tests.reference.crc32c_slow import crc32c


class DecodedRecord(NamedTuple):
    """A record with its absolute timestamp."""

    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]


class DecodedBatch(NamedTuple):
    """Header fields and records; ``records`` is None for a compressed batch."""

    attributes: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int
    payload: bytes
    records: list[DecodedRecord] | None


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset behind it) of a zigzag varint."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at


def _field(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(data, at)
    if size == -1:
        return None, at
    assert 0 <= size <= len(data) - at
    return data[at : at + size], at + size


def decode_records(payload: bytes, count: int, base_timestamp_ms: int) -> list[DecodedRecord]:
    """All records of an uncompressed payload; AssertionError where it is not what a broker accepts."""
    records = []
    at = 0
    for offset in range(count):
        size, at = decode_varint(payload, at)
        end = at + size
        assert payload[at] == 0
        delta_ms, at = decode_varint(payload, at + 1)
        delta, at = decode_varint(payload, at)
        assert delta == offset
        key, at = _field(payload, at)
        value, at = _field(payload, at)
        header_count, at = decode_varint(payload, at)
        headers = []
        for _ in range(header_count):
            name, at = _field(payload, at)
            assert name is not None
            content, at = _field(payload, at)
            headers.append((name, content))
        assert at == end
        records.append(DecodedRecord(base_timestamp_ms + delta_ms, key, value, tuple(headers)))
    assert at == len(payload)
    return records


def decode_batch(data: bytes) -> DecodedBatch:
    """One whole batch; AssertionError where a broker would refuse it."""
    base_offset, length, _, magic, crc = struct.unpack_from(">qiibI", data)
    attributes, last_delta, base_ms, max_ms, producer_id, epoch, sequence, count = struct.unpack_from(
        ">hiqqqhii", data, 21
    )
    assert base_offset == 0
    assert length == len(data) - 12
    assert magic == 2
    assert crc == crc32c(data[21:])
    assert last_delta + 1 == count > 0
    payload = data[61:]
    records = decode_records(payload, count, base_ms) if attributes & 7 == 0 else None
    if records is not None:
        assert max(record.timestamp_ms for record in records) == max_ms
    return DecodedBatch(attributes, base_ms, max_ms, producer_id, epoch, sequence, count, payload, records)


def _unsigned(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes(encoded) + bytes([value])


def encode_varint(value: int) -> bytes:
    """Zigzag varint."""
    return _unsigned(value * 2 if value >= 0 else -value * 2 - 1)


def encode_record(
    offset: int,
    delta_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[tuple[bytes, bytes | None], ...] = (),
) -> bytes:
    """One record, for tests that fill a batch without the record path."""
    body = b"\0" + encode_varint(delta_ms) + encode_varint(offset)
    for field in (key, value):
        body += encode_varint(-1) if field is None else encode_varint(len(field)) + field
    body += encode_varint(len(headers))
    for name, content in headers:
        body += encode_varint(len(name)) + name
        body += encode_varint(-1) if content is None else encode_varint(len(content)) + content
    return encode_varint(len(body)) + body
