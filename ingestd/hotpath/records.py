"""Decodes and re-encodes the records of a batch for dead letters, repair, splits and tests, not on the way to Kafka.

Record (Kafka's DefaultRecord): length varint | attributes i8 | timestamp delta varlong | offset delta varint |
key length varint (-1: null) | key | value length varint (-1: null) | value | header count varint |
per header: name length varint, name, value length varint, value. Varints are zigzag.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from ingestd.hotpath.snapshots import Record, Run

CONNECTION, SESSION = 1, 2
RECORD_HEAD_BYTES = 5  # about: length, attributes and both deltas of a small record


class _Cursor:
    """Reads forward in `data`; ValueError beyond its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def unsigned(self) -> int:
        value = shift = 0
        while shift < 70:
            if self.at >= len(self.data):
                break
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError(f"varint broken at {self.at}")

    def varint(self) -> int:
        value = self.unsigned()
        return (value >> 1) ^ -(value & 1)

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise ValueError(f"{size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def nullable(self) -> bytes | None:
        size = self.varint()
        return None if size == -1 else self.take(size)


def varint(value: int) -> bytes:
    """Zigzag varint, up to 64 bits."""
    return _unsigned((value << 1) ^ (value >> 63))


def _unsigned(left: int) -> bytes:
    encoded = bytearray()
    while left > 127:
        encoded.append(left & 127 | 128)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _gaps(run: Run) -> list[int]:
    if not run.gaps:
        return [0] * (run.record_count - 1)
    cursor = _Cursor(run.gaps)
    return [cursor.unsigned() for _ in range(run.record_count - 1)]


def _sequences(run: Run) -> list[int]:
    sequences = [run.first_sequence]
    for gap in _gaps(run):
        sequences.append(sequences[-1] + 1 + gap)
    return sequences


def decode_records(payload: bytes, count: int, base_timestamp_ms: int, runs: list[Run]) -> Iterator[Record]:
    """The `count` records of an uncompressed payload, with the senders that `runs` name; ValueError where it is not
    well formed.
    """
    cursor = _Cursor(payload)
    senders = _senders(runs)
    for index, (end, timestamp_ms) in enumerate(_heads(cursor, count, base_timestamp_ms)):
        key = cursor.nullable()
        value = cursor.nullable()
        headers = tuple((cursor.take(cursor.varint()), cursor.nullable()) for _ in range(cursor.varint()))
        if cursor.at != end:
            raise ValueError(f"record {index} ends at {cursor.at}, not {end}")
        listener, kind, sender, sequence = next(senders, (0, 0, 0, 0))
        yield Record(index, timestamp_ms, key, value, headers, listener, kind, sender, sequence)


def _senders(runs: list[Run]) -> Iterator[tuple[int, int, bytes | int, int]]:
    for run in runs:
        sequences = _sequences(run) if run.kind == SESSION else [0] * run.record_count
        for sequence in sequences:
            yield run.listener, run.kind, run.sender, sequence


class Part(NamedTuple):
    """Some of a batch's records as a batch of their own: the encoded records, and their provenance as in memory."""

    payload: bytes
    provenance: bytes
    base_timestamp_ms: int
    max_timestamp_ms: int
    record_count: int


def repaired(payload: bytes, count: int, base_timestamp_ms: int, runs: list[Run], bad: frozenset[int]) -> Part:
    """A batch without the records whose index is in `bad`.

    Offset deltas are made contiguous, as the broker demands; the base timestamp is the first record's, as Kafka's
    producer has it.
    """
    kept = [body for index, body in enumerate(_bodies(payload, count, base_timestamp_ms)) if index not in bad]
    return _encoded(kept, _without(runs, bad))


def halved(payload: bytes, count: int, base_timestamp_ms: int, runs: list[Run]) -> tuple[Part, Part]:
    """Two batches of about the same size, of at least one record each; `count` is at least 2."""
    bodies = _bodies(payload, count, base_timestamp_ms)
    sizes = [len(rest) + RECORD_HEAD_BYTES for _, rest in bodies]
    total, size, cut = sum(sizes), sizes[0], 1
    while cut < count - 1 and 2 * size < total:
        size += sizes[cut]
        cut += 1
    first, second = frozenset(range(cut)), frozenset(range(cut, count))
    return _encoded(bodies[:cut], _without(runs, second)), _encoded(bodies[cut:], _without(runs, first))


def _bodies(payload: bytes, count: int, base_timestamp_ms: int) -> list[tuple[int, bytes]]:
    """(timestamp, what stands behind the offset delta) of every record."""
    bodies = []
    cursor = _Cursor(payload)
    for end, timestamp_ms in _heads(cursor, count, base_timestamp_ms):
        bodies.append((timestamp_ms, cursor.take(end - cursor.at)))
    return bodies


def _heads(cursor: _Cursor, count: int, base_timestamp_ms: int) -> Iterator[tuple[int, int]]:
    """(where it ends, timestamp) of every record; whoever asks for the next one has read this one to its end."""
    for _ in range(count):
        end = cursor.varint() + cursor.at
        cursor.take(1)
        timestamp_ms = base_timestamp_ms + cursor.varint()
        cursor.varint()
        yield end, timestamp_ms


def _encoded(bodies: list[tuple[int, bytes]], runs: list[Run]) -> Part:
    base_ms = bodies[0][0]
    encoded = bytearray()
    for offset, (timestamp_ms, rest) in enumerate(bodies):
        body = b"\0" + varint(timestamp_ms - base_ms) + varint(offset) + rest
        encoded += varint(len(body)) + body
    return Part(bytes(encoded), encode_provenance(runs), base_ms, max(body[0] for body in bodies), len(bodies))


def _without(runs: list[Run], bad: frozenset[int]) -> list[Run]:
    left = []
    for run in runs:
        kept = [place for place in range(run.record_count) if run.first_index + place not in bad]
        if not kept:
            continue
        gaps = b""
        first_sequence = 0
        if run.kind == SESSION:
            every = _sequences(run)
            sequences = [every[place] for place in kept]
            first_sequence = sequences[0]
            gaps = b"".join(_unsigned(later - earlier - 1) for earlier, later in pairwise(sequences))
        left.append(run._replace(record_count=len(kept), first_sequence=first_sequence, gaps=gaps))
    return left


def encode_provenance(runs: list[Run]) -> bytes:
    """The bytes at the back of a batch (layout.pxd, "Provenance"), as they lie in memory: the first run ends at their
    end.
    """
    blocks = []
    for run in runs:
        sender = (
            run.sender
            if isinstance(run.sender, bytes)
            else run.sender.to_bytes(4 if run.kind <= SESSION else 0, "little")
        )
        block = sender + bytes([run.listener, run.kind | (128 if run.delivered else 0)])
        if run.kind == SESSION:
            block = run.first_sequence.to_bytes(8, "little") + block
        block = run.record_count.to_bytes(4, "little") + block
        if run.kind == SESSION:
            gaps = run.gaps or bytes(run.record_count - 1)
            block = gaps[::-1] + block
        blocks.append(block)
    return b"".join(reversed(blocks))
