"""Outbox: records between send() and the producer's thread, bounded in bytes; here is where send() waits.

Callers put, one thread takes. What was taken stays charged to the bound until `release`, which the thread calls as
answers arrive: unanswered records are part of the buffer, as in Kafka's buffer.memory.
"""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from ingestd.client.errors import (
    BufferExhaustedException,
    IllegalStateException,
    KafkaException,
    RecordTooLargeException,
    TimeoutException,
)
from ingestd.client.future import Future, Owner, acquire_within, closed_lock

Entry = tuple[bytes, Future]

# What a record costs besides its bytes while it is unanswered: the future and the objects it holds.
RECORD_OVERHEAD_BYTES: Final = 256


class Outbox:
    """See the module's text. `wake` interrupts the sleep of the thread that takes."""

    def __init__(self, bytes_max: int, owner: Owner, wake: Callable[[], None], where: str) -> None:
        self._bytes_max = bytes_max
        self._owner = owner
        self._wake = wake
        self._where = where
        self._lock = threading.Lock()
        self._topics: dict[str, deque[Entry]] = {}
        self._used_bytes = 0
        self._waiters: dict[threading.Lock, None] = {}
        self._error: KafkaException | None = None
        self._record_bytes_max = -1  # not known before the first connection: nothing goes in
        self.asleep = False
        self.trouble = ""
        """Why there is no connection, in words, for who waits too long."""

    def put(self, entry: Entry, max_block_s: float) -> None:
        """Takes a record in. Waits at most `max_block_s` for room, and for the first connection; then TimeoutException.

        Interrupted while it waits (KeyboardInterrupt), it has taken nothing.
        """
        if not self._try_put(entry):
            self._put_waiting(entry, max_block_s)
        if self.asleep:
            self.asleep = False
            self._wake()

    def _try_put(self, entry: Entry) -> bool:
        encoded, future = entry
        cost_bytes = len(encoded) + RECORD_OVERHEAD_BYTES
        with self._lock:
            if self._used_bytes + cost_bytes > self._bytes_max or len(encoded) > self._record_bytes_max or self._error:
                return False
            entries = self._topics.get(future.topic)
            if entries is None:
                entries = self._topics[future.topic] = deque()
            # A KeyboardInterrupt between these two costs this record's share of the bound, until all is answered.
            entries.append(entry)
            self._used_bytes += cost_bytes
        return True

    def _put_waiting(self, entry: Entry, max_block_s: float) -> None:
        deadline = monotonic() + (0.0 if self._owner.in_callback() else max_block_s)
        while True:
            with self._lock:
                self._check(entry)
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise self._timeout(max_block_s)
            if self._put_after_waiting(entry, left_s):
                return

    def _put_after_waiting(self, entry: Entry, left_s: float) -> bool:
        """Waits until there may be room. However it ends, nothing of it is left behind."""
        waiter = closed_lock()
        with self._lock:
            self._waiters[waiter] = None
        try:
            # Room may have come before the waiter was registered.
            if self._try_put(entry):
                return True
            acquire_within(waiter, left_s)
        finally:
            with self._lock:
                self._waiters.pop(waiter, None)
        return self._try_put(entry)

    def _check(self, entry: Entry) -> None:
        """Raises what waiting will not change."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        size_bytes = len(entry[0])
        if size_bytes + RECORD_OVERHEAD_BYTES > self._bytes_max:
            raise RecordTooLargeException(
                f"a record of {size_bytes} bytes does not fit the outgoing buffer of {self._bytes_max} (buffer_memory)"
            )
        if 0 <= self._record_bytes_max < size_bytes:
            raise RecordTooLargeException(
                f"a record of {size_bytes} bytes as it is sent, {self._where} takes at most {self._record_bytes_max}"
            )

    def _timeout(self, max_block_s: float) -> KafkaException:
        limit = f"within {round(max_block_s * 1000)} ms (max_block_ms)"
        if self._owner.in_callback():
            limit = "and a callback cannot wait for it"
        trouble = f": {self.trouble}" if self.trouble else ""
        if self._record_bytes_max < 0:
            return TimeoutException(f"no connection to {self._where} {limit}{trouble}")
        return BufferExhaustedException(
            f"no room in the outgoing buffer of {self._bytes_max} bytes for {self._where} {limit}{trouble}"
        )

    def open(self, record_bytes_max: int) -> None:
        """A connection was made for the first time, or again; it takes records of so many bytes as encoded."""
        with self._lock:
            self._record_bytes_max = record_bytes_max
            self.trouble = ""
        self._wake_waiters()

    def close(self, error: KafkaException | None = None) -> None:
        """Nothing goes in any more: put() raises `error`, or that the producer is closed."""
        with self._lock:
            if self._error is None:
                self._error = error or IllegalStateException("the producer is closed")
        self._wake_waiters()

    def __bool__(self) -> bool:
        return bool(self._topics)

    def waiting_bytes(self) -> int:
        """How much the topic whose turn it is has ready, as if all its records were as large as its oldest."""
        with self._lock:
            entries = next(iter(self._topics.values()), None)
            return len(entries) * len(entries[0][0]) if entries else 0

    def take(self, bytes_max: int) -> list[Entry]:
        """Records of one topic, oldest first, together at most `bytes_max` (but one at least); topics take turns."""
        with self._lock:
            topic = next(iter(self._topics), None)
            if topic is None:
                return []
            entries = self._topics.pop(topic)
        taken: list[Entry] = []
        size_bytes = 0
        while entries:
            size_bytes += len(entries[0][0])
            if size_bytes > bytes_max and taken:
                break
            taken.append(entries.popleft())
        if entries:
            self._put_in_front(topic, entries)
        return taken

    def put_back(self, entries: list[Entry]) -> None:
        """What was taken last could not be used."""
        self._put_in_front(entries[0][1].topic, deque(entries))

    def _put_in_front(self, topic: str, entries: deque[Entry]) -> None:
        with self._lock:
            later = self._topics.get(topic)
            if later is not None:
                entries.extend(later)
                del self._topics[topic]
            self._topics[topic] = entries

    def release(self, size_bytes: int, nothing_open: bool) -> None:
        """Gives room back. `nothing_open`: no record that was taken is unanswered."""
        with self._lock:
            self._used_bytes -= size_bytes
            if nothing_open and not self._topics:
                self._used_bytes = 0
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        if self._waiters:
            with self._lock:
                waiters, self._waiters = self._waiters, {}
            for waiter in waiters:
                waiter.release()
