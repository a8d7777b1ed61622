"""Hands records from a program's threads to the thread of the arena, and keeps count of those without outcome."""

from collections.abc import Callable
from typing import Any, Final

FULL: Final = 0
"""Not taken: there is no room."""
QUEUED: Final = 1
CLOSED: Final = 2
"""Not taken: nothing is taken in any more."""

class Generation:
    """The records handed over between two flushes."""

    open: int
    """Of them without outcome."""

class Outgoing:
    """One record, from ``send()`` to its outcome. Safe to use from any thread."""

    owner: Any
    topic: str
    partition: int  # -1 until it is known
    key_size: int  # of the serialized key, -1 for None
    value_size: int
    timestamp_ms: int
    offset: int  # -1: not known
    error: Any  # None unless it failed
    size_bytes: int  # what it takes of a Handover's room; 0 once it is in the arena

    def __init__(
        self,
        owner: Any,
        topic: str,
        topic_index: int,
        partition: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: bytes | None,
        header_count: int,
        callback: Any,
    ) -> None:
        """``topic_index``: row of the arena's topic table. ``partition`` -1: to be chosen. ``headers``: encoded by
        ``batch.encode_headers``."""
    def done(self) -> bool:
        """Whether the outcome is known."""
    def add_waiter(self, waiter: Callable[[], object]) -> bool:
        """``waiter()`` is called once, by the thread that learns the outcome. False: the outcome is known, it is not
        called."""
    def batch_bytes_bound(self) -> int:
        """What Kafka compares with max.request.size (DefaultRecordBatch.estimateBatchSizeUpperBound); to be asked
        before the record is handed over."""

class Handover:
    """The queue between both sides; ``put`` and ``close_generation`` from any thread, the rest from the taker's.

    ``close_generation`` by one thread at a time.
    """

    bytes_max: int
    records_max: int
    bytes: int
    """Queued, or taken and not yet in the arena; 256 for each record besides its own."""
    outstanding: int
    """Records without outcome."""
    closed: bool
    waiting: int
    """Threads that wait for room; theirs to keep, under their own lock."""

    def __init__(self, bytes_max: int, records_max: int, wake: Callable[[], object]) -> None:
        """``wake()`` tells the taker that something is queued; it must not mind being called once too often."""
    def put(self, record: Outgoing) -> int:
        """Queues a record, in one step, and wakes the taker if it sleeps: FULL, QUEUED or CLOSED."""
    def take(self) -> list[Outgoing]:
        """All that is queued, in the order of the calls; the next ``put`` wakes again."""
    def close(self) -> None:
        """Nothing is taken in any more."""
    def fail(self, records: list[Outgoing], error: Exception) -> list[Outgoing]:
        """For records that never reached the arena, queued or not. Returns those that somebody waits for."""
    def close_generation(self) -> list[Generation]:
        """The generations with records without outcome: all that was handed over before this call."""

def tell(attended: list[Outgoing], metadata_class: type, raised: Callable[[], object]) -> None:
    """Calls whoever waits for these records, in their order: the callback with (metadata, None) or (None, error), then
    the waiters; each once.

    ``metadata_class`` is a class of tuples, made of topic, partition, offset, timestamp, size of key, size of value.
    ``raised()`` is called in the ``except`` of a call that raises; the others go on.
    """
