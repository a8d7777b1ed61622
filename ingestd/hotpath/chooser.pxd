# Partitions that Python chooses, for the records of a read all at once.
#
# A record whose topic has such a partitioner stops the parse. Then what is left of the read is parsed twice: looking ahead, when every
# such record is only noted, and for good, with a partition at hand for each of those noted, in the same order. What the look ahead
# moved (the input's place, what is pending) is put back in between, so that nothing of it is ever seen or committed.
from libc.stdint cimport int32_t, uint32_t

from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.input cimport Topic

cdef enum:
    CHOICES_MAX = 4096                 # records noted at a time

cdef enum Way:                         # a value of Input.refuse_reason above all reasons: how the parse goes
    LOOKING_AHEAD = 256                # nothing is taken or refused
    CHOSEN = 257                       # partitions are at hand

cdef enum:
    BLOCKED_CHOICE = 256               # a value of Input.blocked_reason that never leaves a read: partitions have to be asked for

cdef enum Choice:                      # instead of a partition
    CHOICE_FAILED = -1
    NOT_CHOSEN = -2

cdef struct Noted:
    Topic* topic
    const unsigned char* key           # NULL: no key. Valid until `gather`
    const unsigned char* value
    uint32_t key_bytes
    uint32_t value_bytes
    int32_t partition                  # once chosen, or CHOICE_FAILED

cdef class Chooser:
    cdef dict hooks                    # topic index → callable(keys, values, partition_count), a partition or -1 for each
    cdef Noted* noted
    cdef uint32_t count
    cdef uint32_t next                 # of those noted, when they are taken
    cdef list keys                     # of those noted, as far as they are gathered
    cdef list values

    cdef void clear(self)
    # False: no more fit.
    cdef bint note(self, Topic* topic, const Record* record) noexcept nogil
    # The choice for the next of those noted, which is this one. NOT_CHOSEN: all have been taken.
    cdef int32_t take(self, const Topic* topic, const Record* record) noexcept nogil
    # Makes Python's bytes of what was noted since the last call, while it lies where it lies.
    cdef int gather(self) except -1
    cdef int choose(self) except -1
    cdef int _ask(self, Topic* topic, places, list keys, list values) except -1
