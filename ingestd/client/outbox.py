"""Outbox: records between send() and the producer's thread, bounded in bytes; here is where send() waits.

Callers put, one thread takes. What was taken stays charged to the bound until `release`, which the thread calls as
answers arrive: unanswered records are part of the buffer, as in Kafka's buffer.memory.

Any statement here may be interrupted by code of the application that sends, too: a signal handler between two
bytecodes, a finalizer (`__del__`) wherever something is allocated. So the lock lets its owner in again, what looks and
what stores stand in an order that such a send() does no harm to, and it never waits (`Owner.who_cannot_wait`).
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
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
        self._lock = owner.outbox_lock
        self._topics: OrderedDict[str, deque[Entry]] = OrderedDict()  # in the order of their turns
        self._used_bytes = 0
        self._waiters: dict[threading.Lock, None] = {}
        self._error: KafkaException | None = None
        self._record_bytes_max = -1  # not known before the first connection, and over after the end: nothing goes in
        self._wanted_bytes = 0  # so much of one topic ends the thread's sleep; 0: any record does
        self.asleep = False
        self.urgent = False
        """What is here waits for no more records: a batch is full, or somebody found no room. The thread clears it."""
        self.trouble = ""
        """Why there is no connection, in words, for who waits too long."""

    def put(self, entry: Entry, max_block_s: float) -> None:
        """Takes a record in. Waits at most `max_block_s` for room, and for the first connection; then TimeoutException.

        Interrupted while it waits (KeyboardInterrupt), it has taken nothing.
        """
        if not self._try_put(entry):
            self._put_waiting(entry, max_block_s)
        if self.asleep:
            self._rouse(entry)

    def _try_put(self, entry: Entry) -> bool:
        encoded, future = entry
        size_bytes = len(encoded)
        cost_bytes = size_bytes + RECORD_OVERHEAD_BYTES
        with self._lock:
            if size_bytes > self._record_bytes_max or self._used_bytes + cost_bytes > self._bytes_max:
                return False
            # A send() that comes in between here makes the bound soft by a record, or comes before us; no more.
            entries = self._topics.get(future.topic)
            if entries is None:
                entries = self._topics.setdefault(future.topic, deque())  # it may have come, and made one
            # A KeyboardInterrupt between these two costs this record's share of the bound, until all is answered.
            entries.append(entry)
            self._used_bytes += cost_bytes  # nothing comes between load and store: numbers wake no collector
        return True

    def _rouse(self, entry: Entry) -> None:
        """Ends the thread's sleep, if it is this record that it waits for."""
        if self._wanted_bytes:
            encoded, future = entry
            if len(self._topics.get(future.topic, ())) * len(encoded) < self._wanted_bytes:
                return
            self.urgent = True
        self._end_sleep()

    def _end_sleep(self) -> None:
        self.asleep = False  # first: woken, the thread may at once go to sleep again, and that must be seen
        self._wake()

    def _put_waiting(self, entry: Entry, max_block_s: float) -> None:
        who = self._owner.who_cannot_wait()
        deadline = monotonic() + (0.0 if who else max_block_s)
        while True:
            with self._lock:
                self._check(entry)
            if self._topics:
                self.urgent = True
                if self.asleep:
                    self._end_sleep()
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise self._timeout(max_block_s, who)
            if self._put_after_waiting(entry, left_s):
                return

    def _put_after_waiting(self, entry: Entry, left_s: float) -> bool:
        """Waits until there may be room. However it ends, nothing of it is left behind."""
        waiter = closed_lock()
        with self._lock:
            self._check(entry)  # whoever makes that true from here on wakes the waiter
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

    def _timeout(self, max_block_s: float, who_cannot_wait: str) -> KafkaException:
        limit = f"within {round(max_block_s * 1000)} ms (max_block_ms)"
        if who_cannot_wait:
            limit = f"and {who_cannot_wait} cannot wait for it"
        trouble = f": {self.trouble}" if self.trouble else ""
        if self._record_bytes_max < 0:
            return TimeoutException(f"no connection to {self._where} {limit}{trouble}")
        return BufferExhaustedException(
            f"no room in the outgoing buffer of {self._bytes_max} bytes for {self._where} {limit}{trouble}"
        )

    def open(self, record_bytes_max: int) -> None:
        """A connection was made for the first time, or again; it takes records of so many bytes as encoded."""
        with self._lock:
            if self._error is None:
                self._record_bytes_max = record_bytes_max
            self.trouble = ""
        self._wake_waiters()

    def close(self, error: KafkaException | None = None) -> None:
        """Nothing goes in any more: put() raises `error`, or that the producer is closed."""
        with self._lock:
            if self._error is None:
                self._error = error or IllegalStateException("the producer is closed")
            self._record_bytes_max = -1
        self._wake_waiters()

    def __bool__(self) -> bool:
        return bool(self._topics)

    def sleep(self, wanted_bytes: int) -> bool:
        """For the thread, before it sleeps until a record comes, or so many bytes of a topic: False if it must not."""
        self._wanted_bytes = wanted_bytes
        self.asleep = True  # first: what comes from here on ends the sleep, what came before is seen here
        if wanted_bytes:
            return not self.is_due(wanted_bytes)
        return not self._topics

    def is_due(self, wanted_bytes: int) -> bool:
        """Whether what is here waits for no more: so many bytes of the topic whose turn it is, or it is urgent.

        The bytes are those that they would be if all its records were as large as its oldest.
        """
        with self._lock:
            topic = self._first()
            entries = self._topics[topic] if topic is not None else ()
            return self.urgent or (len(entries) * len(entries[0][0]) if entries else 0) >= wanted_bytes

    def _first(self) -> str | None:
        """The topic whose turn it is."""
        while True:
            try:
                return next(iter(self._topics), None)
            except RuntimeError:
                pass  # a finalizer came between the two calls, and its send() with a topic that was not here

    def take(self, bytes_max: int) -> list[Entry]:
        """Records of one topic, oldest first, together at most `bytes_max` (but one at least); topics take turns."""
        with self._lock:
            topic = self._first()
            if topic is None:
                return []
            entries = self._topics[topic]
        taken: list[Entry] = []
        size_bytes = 0
        # Senders need not wait for this: they only append, and topics are removed nowhere but here.
        while entries:
            size_bytes += len(entries[0][0])
            if size_bytes > bytes_max and taken:
                break
            taken.append(entries.popleft())
        with self._lock:
            if entries:
                self._topics.move_to_end(topic)
            else:
                del self._topics[topic]
                if entries:  # a finalizer's, which came between look and removal
                    self.put_back(entries)
        return taken

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Records of one topic, in front of its others: what was taken last could not be used."""
        with self._lock:
            self._topics.setdefault(entries[0][1].topic, deque()).extendleft(reversed(entries))

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
