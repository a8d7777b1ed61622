"""Hands records from a program's threads to the thread of the arena, and keeps count of those without outcome.

No lock: every method that two threads may enter at once is one compiled step under the interpreter's lock. It runs no Python code and
frees no object of the caller's between its first and its last store; only then is the taker woken. A module that says nothing else makes an interpreter
without that lock switch it on again, so this holds there too.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from ingestd.hotpath.layout cimport BATCH_HEADER_BYTES
from ingestd.hotpath.varint cimport varint_bytes

FULL = PUT_FULL
QUEUED = PUT_QUEUED
CLOSED = PUT_CLOSED

cdef enum:
    RECORD_OVERHEAD_BYTES_MAX = 21     # Kafka's DefaultRecord.MAX_RECORD_OVERHEAD


cdef class Generation:
    """The records handed over between two flushes."""


cdef class Outgoing:
    """One record, from `send()` to its outcome."""

    def __cinit__(self, owner, str topic not None, int32_t topic_index, int32_t partition, int64_t timestamp_ms, bytes key, bytes value,
                  bytes headers, uint32_t header_count, callback):
        cdef Py_ssize_t size_bytes = RECORD_OVERHEAD_BYTES
        self.owner = owner
        self.topic = topic
        self.topic_index = topic_index
        self.partition = partition
        self.timestamp_ms = timestamp_ms
        self.key = key
        self.value = value
        self.headers = headers
        self.header_count = header_count
        self.callback = callback
        self.offset = -1
        self.key_size = -1
        self.value_size = -1
        if key is not None:
            self.key_size = <int32_t>len(key)
            size_bytes += len(key)
        if value is not None:
            self.value_size = <int32_t>len(value)
            size_bytes += len(value)
        if headers is not None:
            size_bytes += len(headers)
        self.size_bytes = size_bytes

    def done(self):
        """Whether the outcome is known."""
        return self.outcome != OUTCOME_PENDING

    def add_waiter(self, waiter):
        """`waiter()` is called once, by the thread that learns the outcome. False: the outcome is known, it is not called."""
        cdef list waiters = [waiter]
        # From here on nothing is allocated but by the append, which takes no other thread's turn.
        if self.outcome != OUTCOME_PENDING:
            return False
        if self.waiters is None:
            self.waiters = waiters
        else:
            self.waiters.append(waiter)
        return True

    def batch_bytes_bound(self):
        """What Kafka compares with max.request.size (DefaultRecordBatch.estimateBatchSizeUpperBound), before it is taken."""
        cdef uint64_t key_bytes = <uint64_t>max(self.key_size, 0)
        cdef uint64_t value_bytes = <uint64_t>max(self.value_size, 0)
        cdef uint64_t headers_bytes = 0 if self.headers is None else <uint64_t>len(self.headers)
        return BATCH_HEADER_BYTES + RECORD_OVERHEAD_BYTES_MAX + varint_bytes(key_bytes << 1) + key_bytes \
            + varint_bytes(value_bytes << 1) + value_bytes + varint_bytes(<uint64_t>self.header_count << 1) + headers_bytes


cdef class Handover:
    """The queue between both sides. Bounded: `put` answers FULL beyond `bytes_max` queued or `records_max` without outcome."""

    def __cinit__(self, Py_ssize_t bytes_max, Py_ssize_t records_max, wake):
        self.queue = []
        self.wake = wake
        self.generation = Generation()
        self.generations = [self.generation]
        self.bytes_max = bytes_max
        self.records_max = records_max

    def put(self, Outgoing record not None):
        """Queues a record, and wakes the taker if it sleeps. FULL, CLOSED: it was not taken."""
        return self.offer(record)

    cdef int offer(self, Outgoing record) except -1:
        if self.closed:
            return PUT_CLOSED
        if self.bytes >= self.bytes_max or self.outstanding >= self.records_max:
            return PUT_FULL
        record.generation = self.generation
        self.queue.append(record)
        self.generation.open += 1
        self.outstanding += 1
        self.bytes += record.size_bytes
        if self.awake:
            return PUT_QUEUED
        self.awake = True
        try:
            self.wake()
        except BaseException:
            # An interrupt (KeyboardInterrupt, what a signal handler raises) may have come before the taker was told, and nobody else
            # tells it as long as it counts as awake. Told twice, it finds nothing the second time.
            self.wake()
            raise
        return PUT_QUEUED

    def take(self):
        """All that is queued, in the order of the calls; the next `put` wakes again."""
        cdef list fresh = []
        cdef list queued = self.queue
        self.queue = fresh
        self.awake = False
        return queued

    def close(self):
        """Nothing is taken in any more."""
        self.closed = True

    def fail(self, list records not None, error):
        """For records that never reached the arena. Returns those that somebody waits for."""
        cdef Outgoing record
        attended = []
        for record in records:
            if record.generation is not None:
                self.bytes -= record.size_bytes
            record.size_bytes = 0
            if self.settle(record, OUTCOME_FAILED, error):
                attended.append(record)
        return attended

    def close_generation(self):
        """The generations with records without outcome, all that was handed over before this call. One thread at a time."""
        cdef Generation fresh = Generation()
        cdef Generation current = self.generation
        cdef Generation generation
        closed = [generation for generation in self.generations if generation.open]
        # Decided by what was found above: other threads may have gone on since.
        if closed and closed[len(closed) - 1] is current:
            current = fresh
        self.generations = [*closed, current]
        self.generation = current
        return closed

    # True: somebody is to be told.
    cdef bint settle(self, Outgoing record, int outcome, object error) except -1:
        if record.outcome != OUTCOME_PENDING:
            return False
        record.error = error
        record.key = None
        record.value = None
        record.headers = None
        record.outcome = outcome
        if record.generation is not None:
            record.generation.open -= 1
            self.outstanding -= 1
        return record.callback is not None or record.waiters is not None


cdef object make_tuple = tuple.__new__


def tell(list attended not None, metadata_class, raised):
    """Calls whoever waits for these records, in their order: the callback with (metadata, None) or (None, error), then the waiters.

    `metadata_class` is a class of tuples, made of topic, partition, offset, timestamp, size of key, size of value. `raised()` is called
    in the `except` of a call that raises; the others go on.
    """
    cdef Outgoing record
    for record in attended:
        callback = record.callback
        waiters = record.waiters
        record.callback = None
        record.waiters = None
        if callback is not None:
            try:
                if record.error is None:
                    callback(
                        make_tuple(
                            metadata_class,
                            (record.topic, record.partition, record.offset, record.timestamp_ms, record.key_size, record.value_size),
                        ),
                        None,
                    )
                else:
                    callback(None, record.error)
            except BaseException:
                raised()
        if waiters is not None:
            for waiter in waiters:
                try:
                    waiter()
                except BaseException:
                    raised()
