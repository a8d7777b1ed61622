# From a parsed record to committed bytes: routing, open batches, commit per read, seal.
from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t

from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.chooser cimport Chooser
from ingestd.hotpath.input cimport Input, Listener, Origin, Slot, Topic
from ingestd.hotpath.publisher cimport Publisher

cdef enum:
    TOUCHED_MAX = 48                   # batches per commit: 8 stores each at most, the rest of the intent pages is for session and ledger

cdef struct Deltas:                    # ledger changes since the last commit; received = accepted + all rejected
    uint64_t accepted
    uint64_t repeated
    uint64_t received_bytes
    uint64_t accepted_bytes
    uint64_t kernel_dropped
    uint64_t timestamps_replaced
    uint64_t rejected[32]
    uint32_t rejected_mask             # bit per reason

cdef enum Otherwise:                   # what `_offer_otherwise` says besides False and True
    GO_ON = 2

cdef void record_prepare(Record* record, const Listener* listener) noexcept nogil

@final
cdef class Appender:
    cdef readonly Arena arena
    cdef Publisher publisher
    cdef Topic** topics                # by topic index, NULL: not known to the intake
    cdef uint32_t topic_capacity
    cdef uint64_t random_state
    cdef int64_t now_ms
    cdef int64_t tick_ms
    cdef int pressure                  # 0 run, 1 pause, 2 shed
    cdef uint32_t flags                # SEALED, OPENED since begin()
    cdef uint32_t open_count
    cdef uint32_t touched_count
    cdef Slot* touched[48]             # TOUCHED_MAX
    cdef Deltas pending
    cdef Input* input                  # being parsed, NULL between reads
    cdef Chooser chooser
    cdef Input input_before            # a look ahead
    cdef Deltas pending_before

    # One parse: begin, any number of offer/refuse/skip, end. Everything in between is committed by end() at the latest.
    cdef void begin(self, Input* input, int64_t now_ms, int64_t tick_ms) noexcept nogil
    cdef uint32_t end(self) noexcept nogil
    # False: the record was not taken, input says why (BLOCKED, TOPIC_WAIT); offer it again later. True: accepted, or refused and counted.
    cdef bint offer(self, Input* input, Topic* topic, Record* record, uint64_t sequence) noexcept nogil
    # Counts and answers a record that is refused. False: its session takes no further rejection (BLOCKED).
    cdef bint refuse(self, Input* input, uint32_t reason, uint64_t sequence) noexcept nogil
    # A parse that stopped with BLOCKED_CHOICE: parse what is left in between, `chooser.gather` as long as it lies where it lies; then for good.
    cdef void look_ahead(self)
    cdef int choose(self) except -1
    cdef void commit(self) noexcept nogil
    cdef void seal(self, Slot* slot) noexcept nogil
    cdef void seal_topic(self, Topic* topic) noexcept nogil

    cdef int _offer_otherwise(self, Input* input, Topic* topic, Record* record, uint64_t sequence) noexcept nogil
    cdef bint _take(self, Input* input, Topic* topic, Record* record, uint64_t sequence, uint64_t fixed_bytes) noexcept nogil
    cdef bint _without_count(self, Input* input, Topic* topic, uint64_t sequence) noexcept nogil
    cdef bint _bound_timestamp(self, Input* input, Record* record) noexcept nogil
    cdef uint32_t _open(self, Slot* slot, const Origin* origin, uint64_t fixed_bytes) noexcept nogil
    cdef bint _write(self, Slot* slot, const Origin* origin, Record* record, uint64_t sequence, uint64_t fixed_bytes) noexcept nogil
    cdef bint _wait(self, Input* input, uint32_t blocked_reason, uint64_t sequence) noexcept nogil
    cdef uint32_t _commit_session(self) noexcept nogil
    cdef uint32_t _commit_ledger(self) noexcept nogil
    cdef bint _seal_open(self) noexcept nogil
