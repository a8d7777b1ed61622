# The arena's batches: directory entries, page runs, states. Everything that intake calls; all of it without the GIL.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from ingestd.hotpath.layout cimport Entry
from ingestd.hotpath.pages cimport PageMap
from ingestd.hotpath.tables cimport Tables
from ingestd.hotpath.walker cimport Walker


cdef enum OpenVerdict:
    OPENED = 0
    ARENA_FULL = 1                 # no run of the needed length outside the reserve

# write cursor of a partition's open batch; invariant: 61 <= committed_front <= front <= back <= run_bytes
cdef struct OpenBatch:
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
    uint32_t topic
    uint32_t partition
    int64_t number

cdef struct Identity:              # first line of an entry
    uint64_t state
    uint64_t run
    uint64_t commit
    uint64_t count
    uint64_t route
    int64_t number
    int64_t base_timestamp_ms
    int64_t max_timestamp_ms

cdef struct Stamp:                 # second line
    int64_t producer_id
    uint64_t sequence
    int64_t first_send_ms
    uint64_t attempts
    int64_t created_ms
    uint64_t synced[2]
    uint64_t provenance


cdef inline uint32_t state_of(const Entry* entry) noexcept nogil:
    return entry.state & 255


cdef inline uint32_t codec_of(const Entry* entry) noexcept nogil:
    return entry.state >> 8 & 255


cdef inline uint32_t generation_of(const Entry* entry) noexcept nogil:
    return entry.state >> 32


cdef inline uint64_t state_word(uint32_t generation, uint32_t codec, uint32_t state) noexcept nogil:
    return <uint64_t>generation << 32 | codec << 8 | state


cdef inline uint64_t run_word(uint64_t first, uint64_t pages) noexcept nogil:
    return pages << 32 | first


cdef class Directory(Tables):
    cdef Entry* directory
    cdef unsigned char* data       # first data page
    cdef PageMap pages
    cdef uint32_t entry_count
    cdef uint32_t intake_pages     # pages below the reserve
    cdef uint32_t* views           # per entry: memoryviews that are still held
    cdef int64_t views_held
    cdef int32_t* free_entries     # stack, lowest index on top at first
    cdef int64_t free_entry_count
    cdef int32_t* sealed           # ring of entries for take_sealed()
    cdef uint32_t sealed_first
    cdef uint32_t sealed_count
    cdef int32_t* older            # list of the entries in use, in the order of their opening
    cdef int32_t* newer
    cdef int32_t oldest
    cdef int32_t newest
    cdef int64_t next_number
    # Some entry is DONE or FAILED and its last view came back while an intent was being built.
    cdef bint lingering
    cdef readonly int64_t free_pages          # outside the reserve
    cdef readonly int64_t free_reserve_pages
    cdef readonly int64_t buffered_records    # running gauge; buffered() counts them anew
    cdef readonly int64_t open_batches        # with at least one committed record
    cdef readonly int64_t sealed_batches
    cdef readonly int64_t stamped_batches
    cdef readonly int64_t frees                # batches whose pages came back, ever: a waiting reader tries again

    cdef int directory_attach(self) except -1
    # Opens a batch with a run that has room for `needed_bytes` (records and provenance, header apart) and, if the
    # free pages allow, for
    # `wanted_bytes`. Nothing of it is in the file before its first commit.
    cdef OpenVerdict batch_open(self, OpenBatch* batch, uint32_t topic, uint32_t partition, uint32_t needed_bytes,
                                uint32_t wanted_bytes, int64_t now_ms, int64_t tick_ms) noexcept nogil
    # Adds the stores that commit everything written to `batch` so far, and moves its committed_* cursors.
    cdef void commit_add(self, OpenBatch* batch) noexcept nogil
    # OPEN -> SEALED: moves provenance up, gives tail pages back, queues the entry for take_sealed(); batch.entry
    # becomes -1. Everything must
    # be committed; a batch without records is given up. Stores still in the intent are committed with it.
    cdef void batch_seal(self, OpenBatch* batch) noexcept nogil

    cdef uint32_t content_seed(self, uint32_t entry, uint32_t generation) noexcept nogil
    cdef void identity_read(self, uint32_t entry, Identity* line) noexcept nogil
    cdef void identity_stage(self, uint32_t entry, Identity* line) noexcept nogil
    cdef void stamp_read(self, uint32_t entry, Stamp* line) noexcept nogil
    cdef void stamp_stage(self, uint32_t entry, Stamp* line) noexcept nogil
    cdef bint identity_good(self, uint32_t entry) noexcept nogil
    cdef bint stamp_good(self, uint32_t entry) noexcept nogil
    cdef unsigned char* run_start(self, uint32_t entry) noexcept nogil
    cdef uint32_t run_bytes(self, uint32_t entry) noexcept nogil
    # A run of that many pages, the reserve included; -1: none.
    cdef int64_t run_take(self, uint32_t pages) noexcept nogil
    cdef void run_give(self, uint64_t run) noexcept nogil
    cdef void seal_stage(self, uint32_t entry, uint32_t provenance_bytes) noexcept nogil
    # As in Tables; then frees what `lingering` tells of.
    cdef void intent_commit(self) noexcept nogil
    # Any state in use -> FREE, with a new generation: the entry and its pages may be used again.
    cdef void entry_free(self, uint32_t entry) noexcept nogil
    # SEALED or STAMPED -> DONE or FAILED, and FREE unless it is still being sent. The ledger's stores must be in the
    # intent already.
    cdef void entry_finish(self, uint32_t entry, uint32_t state) noexcept nogil
    cdef void view_given(self, uint32_t entry) noexcept nogil
    cdef void view_returned(self, uint32_t entry) noexcept nogil
    # Starts a walk over the batch's provenance; over nothing, where that is found damaged.
    cdef void walk(self, uint32_t entry, Walker* walker) noexcept nogil
    cdef void list_append(self, uint32_t entry) noexcept nogil
    cdef void list_insert(self, uint32_t entry, uint32_t older) noexcept nogil    # right behind `older`
    cdef void list_remove(self, uint32_t entry) noexcept nogil
    cdef void _count_pages(self, int64_t first, int64_t pages) noexcept nogil
    cdef void _reap(self) noexcept nogil
    cdef uint64_t _open_run(self, const OpenBatch* batch) noexcept nogil
    cdef uint32_t _identity_crc(self, uint32_t entry, const Identity* line) noexcept nogil
    cdef uint32_t _stamp_crc(self, uint32_t entry, const Stamp* line) noexcept nogil
