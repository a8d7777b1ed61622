# The arena without its batches: header, intent, ledger, topics, sessions.
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.intent cimport Intent
from ingestd.hotpath.layout cimport Absorbed, Cluster, Header, SessionRow, TopicRow
from ingestd.hotpath.region cimport Region

# What says that a header, or a row of the topic table, is as it was written.
cdef bint header_good(const Header* header) noexcept
cdef bint topic_good(const TopicRow* row) noexcept
# Both copies of a header name the same layout version, and it is not ours.
cdef bint header_foreign(const Header* first, const Header* second) noexcept


cdef class Tables(Region):
    cdef Header* header
    cdef Intent intent
    cdef SessionRow* sessions
    cdef uint64_t* ledger        # LEDGER_WORDS words; changed only through the intent
    cdef TopicRow* topic_rows
    cdef TopicRow* topic_copies
    cdef Cluster* cluster
    cdef Absorbed* absorbed
    cdef readonly uint32_t topic_count
    cdef uint32_t seed             # CRC register after the arena id
    cdef dict session_indexes      # session id -> row
    # Ids that made room for others: whatever arena knows them too knows them as they stood earlier.
    cdef set sessions_forgotten
    # Rows named by batches at the last look, and those marked since. Any other row has no record in the arena, unless
    # its session is connected.
    cdef set session_busy
    cdef bint session_marked       # some were
    cdef uint64_t session_look_left  # how many records had left the arena at the last look

    # Writes the header of a new arena.
    cdef int tables_create(self, uint64_t buffer_bytes, uint32_t topic_capacity, uint32_t session_capacity,
                           object reserve_pages, object now_ms) except -1
    # Checks the header of an existing one (repairing one damaged copy), applies a published intent, checks the topics.
    cdef int tables_open(self) except -1
    cdef int _attach(self) except -1
    cdef int _header_copy(self) except -1

    # Adds an absolute store of 8 aligned bytes inside the arena. INTENT_PAIRS bounds what one intent may take, and
    # nobody looks: each caller's sum is a constant.
    cdef void intent_add(self, uint64_t* place, uint64_t value) noexcept nogil
    # Publishes, applies and clears the intent built since the last call.
    cdef void intent_commit(self) noexcept nogil
    cdef void ledger_add(self, uint32_t word, uint64_t value) noexcept nogil

    cdef int _topic_write(self, uint32_t index, TopicRow* row) except -1
    cdef set sessions_in_batches(self)
    cdef int _sessions_look(self) except -1
    cdef int _session_mark(self, uint32_t index) except -1
