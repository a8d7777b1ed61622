# A worker's buffer: one mapped file that is the accumulator, the crash safety and the outage spool (design section 5).
from libc.stdint cimport int64_t, uint32_t, uint64_t

from ingestd.hotpath.layout cimport Entry, SessionRow

cdef enum OpenVerdict:
    OPENED = 0
    ARENA_FULL = 1                 # no run of the needed length outside the reserve

cdef struct OpenBatch:             # write cursor of a partition's open batch; invariant: 61 <= committed_front <= front <= back <= run_bytes
    int64_t entry                  # directory index, -1: none open
    unsigned char* start           # the run's first byte (header space first)
    uint32_t front                 # offset behind the last record written
    uint32_t back                  # offset of the lowest provenance byte written
    uint32_t run_bytes
    uint32_t record_count
    uint32_t committed_front       # what the commit word says, plus the header space
    uint32_t committed_count
    uint32_t crc                   # rolling CRC-32C register up to committed_front
    uint32_t last_run              # offset of the newest provenance run's count field, 0: none (intake's own use)
    int64_t base_timestamp_ms      # of the first record
    int64_t max_timestamp_ms
    int64_t opened_tick_ms         # monotonic, for linger
    bint touched                   # has uncommitted records

cdef class Arena:
    cdef unsigned char* base       # the mapping
    cdef Entry* directory
    cdef SessionRow* sessions
    cdef uint64_t* ledger          # LEDGER_WORDS words; changed only through the intent page
    cdef readonly int64_t free_pages

    # Opens a batch with a run that has room for `needed_bytes` (records and provenance, header apart) and, if the free pages allow, for `wanted_bytes`.
    cdef OpenVerdict batch_open(self, OpenBatch* batch, uint32_t topic, uint32_t partition, uint32_t needed_bytes, uint32_t wanted_bytes,
                                int64_t now_ms, int64_t tick_ms) noexcept nogil
    # True if `stores` more stores fit the intent being built. A batch's commit takes 4 stores.
    cdef bint intent_room(self, uint32_t stores) noexcept nogil
    # Adds an absolute store of 8 aligned bytes inside the arena.
    cdef void intent_add(self, uint64_t* place, uint64_t value) noexcept nogil
    # Adds the stores that commit everything written to `batch` so far, and moves its committed_* cursors.
    cdef void commit_add(self, OpenBatch* batch) noexcept nogil
    # Publishes, applies and clears the intent built since the last call.
    cdef void intent_commit(self) noexcept nogil
    # OPEN -> SEALED: moves provenance up, gives tail pages back, queues the entry for take_sealed(); batch.entry becomes -1. Everything must be committed.
    cdef void batch_seal(self, OpenBatch* batch) noexcept nogil
