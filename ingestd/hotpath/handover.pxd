# Records that a program's threads hand over to the one thread that may use the arena: one Python object per record, which is its
# future as well.
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef enum Outcome:
    OUTCOME_PENDING = 0
    OUTCOME_DELIVERED = 1
    OUTCOME_FAILED = 2

cdef enum Put:                     # what Handover.put answers; handover.pyi documents them
    PUT_FULL = 0
    PUT_QUEUED = 1
    PUT_CLOSED = 2

cdef enum:
    RECORD_OVERHEAD_BYTES = 256    # what a record without outcome costs besides its bytes: the object, its place in a table

cdef class Generation:             # the records handed over between two flushes
    cdef readonly Py_ssize_t open  # of them without outcome

cdef class Outgoing:
    cdef readonly object owner     # whoever made it: its future asks there who may wait
    cdef readonly str topic
    cdef int32_t topic_index       # row of the arena's topic table
    cdef uint32_t header_count
    cdef bytes key                 # None: no key; all three are given up once the record is in the arena
    cdef bytes value
    cdef bytes headers             # encoded for Kafka
    cdef readonly int32_t partition
    cdef readonly int32_t key_size
    cdef readonly int32_t value_size
    cdef readonly int64_t timestamp_ms
    cdef readonly int64_t offset
    cdef readonly object error     # None unless it failed
    cdef object callback
    cdef Generation generation
    cdef list waiters              # called once the outcome is known
    cdef readonly int64_t size_bytes   # against Handover.bytes_max; 0 once it is in the arena
    cdef int outcome

cdef class Handover:
    cdef list queue
    cdef object wake               # tells the taker; more than once does no harm
    cdef list generations          # with records without outcome, oldest first; the last one is being filled
    cdef Generation generation
    cdef readonly Py_ssize_t bytes_max
    cdef readonly Py_ssize_t records_max
    cdef readonly Py_ssize_t bytes
    cdef readonly Py_ssize_t outstanding
    cdef readonly bint closed
    cdef bint awake                # the taker has been woken and has not taken yet
    cdef public int waiting        # threads that wait for room

    cdef int offer(self, Outgoing record) except -1
    cdef bint settle(self, Outgoing record, int outcome, object error) except -1
