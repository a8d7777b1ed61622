"""What the tests of the arena share: small arenas, records and provenance to fill them with, and one way to look at
all of one.
"""

import struct
from pathlib import Path
from typing import Any, NamedTuple

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.snapshots import BatchState, Run
from tests.reference.batch_decoder import decode_batch, encode_record

NOW_MS = 1_700_000_000_000
ACCEPTED, DELIVERED, ACCEPTED_BYTES = 1, 2, 5
RECEIVED = 0


def small_arena(path: Path | None, pages: int = 24, **changes: Any) -> Arena:
    """An arena with two topics and about that many data pages, four of them reserve."""
    arguments: dict[str, Any] = {"topic_capacity": 4, "session_capacity": 8, "reserve_pages": 4} | changes
    arena = Arena.create(
        str(path) if path else None, buffer_bytes=(8 + pages + pages // 32) * 4096, now_ms=NOW_MS, **arguments
    )
    arena.topic_add("orders")
    arena.topic_add("clicks")
    return arena


class Sent(NamedTuple):
    """One record as a test wrote it."""

    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def encode(records: list[Sent], base_ms: int, first_offset: int) -> bytes:
    """Records as they stand in a batch."""
    return b"".join(
        encode_record(first_offset + index, record.timestamp_ms - base_ms, record.key, record.value)
        for index, record in enumerate(records)
    )


def run_bytes(run: Run) -> bytes:
    """A provenance run as it lies in memory, from the lowest address up (layout.pxd, "Provenance")."""
    downward = bytes([run.kind | (128 if run.delivered else 0), run.listener])
    if run.kind in (1, 2):
        assert isinstance(run.sender, int)
        downward += struct.pack(">I", run.sender)
    elif isinstance(run.sender, bytes):
        downward += run.sender[::-1]
    if run.kind == 2:
        downward += struct.pack(">Q", run.first_sequence)
    downward += struct.pack(">I", run.record_count)
    if run.kind == 2:
        downward += run.gaps or bytes(run.record_count - 1)
    return downward[::-1]


def session_run(row: int, first: int, count: int, *, gaps: bytes = b"", delivered: bool = True) -> Run:
    """A run of a session's records."""
    return Run(1, 2, row, first, count, 0, gaps, delivered)


def balanced(arena: Arena) -> bool:
    """The second identity of the books, and the running gauge against the directory."""
    books = arena.ledger()
    buffered = arena.buffered()
    settled = books["delivered"] + books["failed"] + books["dropped"]
    return books["accepted"] == settled + buffered and arena.buffered_records == buffered


def observe(arena: Arena) -> dict[str, Any]:
    """Everything in an arena that its users could tell apart, after recovery; fails where a stamped batch is not
    sendable.
    """
    batches = []
    for batch in arena.recovered():
        with arena.view(batch.entry) as view:
            whole = bytes(view)
        if batch.state == BatchState.STAMPED:
            decoded = decode_batch(whole)
            assert decoded.record_count == batch.record_count
            assert (decoded.producer_id, decoded.producer_epoch, decoded.base_sequence) == (
                batch.producer_id,
                batch.producer_epoch,
                batch.base_sequence,
            )
            assert (decoded.base_timestamp_ms, decoded.max_timestamp_ms) == (
                batch.base_timestamp_ms,
                batch.max_timestamp_ms,
            )
        batches.append((batch._replace(entry=0), whole[61:], arena.provenance(batch.entry)))
    return {
        "batches": batches,
        "books": arena.ledger_counters(),
        "sessions": arena.sessions(),
        "topics": arena.topics(),
        "cluster": arena.cluster_id,
        "free": (arena.free_pages, arena.free_reserve_pages),
        "gauges": (arena.open_batches, arena.sealed_batches, arena.stamped_batches),
    }


def recover_image(image: bytes, path: Path) -> dict[str, Any]:
    """What recovery makes of the bytes that a dead process left; fails where the books do not balance."""
    path.write_bytes(image)
    arena = Arena.open(str(path), now_ms=NOW_MS)
    try:
        assert balanced(arena), f"books do not balance: {arena.ledger()} with {arena.buffered()} buffered"
        return observe(arena) | {"damage": [item._replace(quarantined_to="") for item in arena.damage]}
    finally:
        arena.close()
        path.unlink()
