"""What an arena tells about its contents: frozen copies, made per batch, topic or session, never per record on the hot
path.
"""

from enum import IntEnum
from typing import NamedTuple


class BatchState(IntEnum):
    """States of a batch, as stored in its directory entry: FREE -> OPEN -> SEALED -> STAMPED -> (DONE | FAILED) ->
    FREE.
    """

    FREE = 0
    OPEN = 1
    SEALED = 2
    STAMPED = 3
    DONE = 4
    FAILED = 5


class Batch(NamedTuple):
    """One batch as it stood when the snapshot was made. The stamp fields are -1 or 0 until it is STAMPED.

    Of a batch that is SEALED once more, repaired or split, numbers and first send are those of the stamp that it had,
    or its part of them, and the flags those that it had or will have.
    """

    entry: int
    topic: int
    partition: int
    record_count: int
    size_bytes: int  # as on the wire: 61 bytes of header and the records
    created_ms: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    codec: int
    state: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    first_send_ms: int
    attempts: int
    stamp_flags: int
    number: int  # grows with every batch opened in the arena, or split off another: the order within a partition


class Topic(NamedTuple):
    """A row of the topic table; ``partition_count`` 0: not known, ``topic_id`` all zero: not known."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    name: str
    topic_id: bytes
    partition_count: int


class Session(NamedTuple):
    """A row of the session table; ``rejections`` are (sequence, reason), oldest first; ``disconnected_ms`` 0:
    connected. ``adopted``: another arena has taken it over, so that this row only tells whose records are here.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    session_id: bytes
    last_accepted: int
    rejections: tuple[tuple[int, int], ...]
    disconnected_ms: int
    adopted: bool = False


class Run(NamedTuple):
    """A provenance run: records ``first_index`` .. ``first_index + record_count - 1`` of a batch came from this sender.

    ``sender`` is the connection number (kind 1), the session row (2), 0 (3: datagram path), or the address in network
    order followed by the port as u16 little-endian (4: IPv4, 5: IPv6). ``gaps`` holds ``record_count - 1`` LEB128
    varints (sequences skipped before the next record), or is empty where no sequence was skipped. ``delivered``: the
    sender waits for an answer of that level.
    """

    listener: int
    kind: int
    sender: bytes | int
    first_sequence: int
    record_count: int
    first_index: int
    gaps: bytes
    delivered: bool


class Record(NamedTuple):
    """One decoded record of a batch, for dead letters and repair; ``sequence`` is 0 where the sender is no session."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]
    listener: int
    kind: int
    sender: bytes | int
    sequence: int


class Damage(NamedTuple):
    """What recovery put aside: ``quarantined_to`` is the file with its bytes ("" where they could not be copied)."""

    entry: int
    record_count: int  # -1: not known
    reason: str
    quarantined_to: str


class Salvaged(NamedTuple):
    """What could be read of an arena that nobody opens any more; ``words`` is its ledger as it was found."""

    arena_id: bytes
    cluster_id: str
    topics: tuple[Topic, ...]
    sessions: tuple[Session, ...]
    words: tuple[int, ...]
    buffered_records: int  # in the batches whose directory line is as it was written; -1: lines could not be checked
    absorbed: tuple[bytes, ...]  # ids of the arenas whose books are in ``words``, oldest first
