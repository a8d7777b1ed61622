"""`send()` of a record that needs nothing but its bytes, in one step: most of what the caller's thread has to do for it.

What needs more goes to the slow way: a topic that is not known or not open, what is neither bytes nor text, headers, a large record, a
queue without room. Producers with serializers or a partitioner have the slow way only.
"""

from libc.stdint cimport int32_t, int64_t

from ingestd.hotpath.handover cimport PUT_QUEUED, Handover, Outgoing


cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    enum:
        CLOCK_REALTIME
    int clock_gettime(int clock, timespec* found) noexcept


cdef int64_t wall_clock_ms() noexcept nogil:
    cdef timespec found
    clock_gettime(CLOCK_REALTIME, &found)
    return <int64_t>found.tv_sec * 1000 + found.tv_nsec // 1000000


cdef class FastSend:
    """The quick way into a Handover, for callers' threads. See sending.pyi."""
    cdef Handover handover
    cdef dict known                # topic name -> its row, open, count
    cdef object owner
    cdef object future_class
    cdef int64_t sure_bytes

    def __init__(self, Handover handover not None, dict known not None, owner, future_class, int64_t sure_bytes):
        self.handover = handover
        self.known = known
        self.owner = owner
        self.future_class = future_class
        self.sure_bytes = sure_bytes

    def send(self, record, callback):
        """The record's future, handed over; None: not taken, go the slow way."""
        cdef Outgoing outgoing
        cdef int32_t partition = -1
        cdef int64_t timestamp_ms
        name = record.topic
        topic = self.known.get(name)
        if topic is None or not topic.open or record.headers:
            return None
        key = record.key
        value = record.value
        try:
            if key is not None and type(key) is not bytes:
                key = (<str?>key).encode("utf-8")
            if value is not None and type(value) is not bytes:
                value = (<str?>value).encode("utf-8")
        except (TypeError, UnicodeEncodeError):
            return None
        chosen = record.partition
        if chosen is not None:
            if chosen >= topic.count:
                return None
            partition = chosen
        given_ms = record.timestamp_ms
        timestamp_ms = wall_clock_ms() if given_ms is None else given_ms
        outgoing = <Outgoing?>self.future_class(self.owner, name, topic.index, partition, timestamp_ms, key, value, None, 0, callback)
        if outgoing.size_bytes > self.sure_bytes:
            return None
        if self.handover.offer(outgoing) != PUT_QUEUED:
            return None
        return outgoing
