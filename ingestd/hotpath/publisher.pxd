# A worker's row of the scoreboard: ledger and gauges under a seqlock, so that every reader sees books that balance.
from libc.stdint cimport uint64_t

from ingestd.hotpath.arena cimport Arena

cdef class Publisher:
    cdef object view                # keeps the row mapped while we may write to it
    cdef uint64_t* row              # NULL: nobody reads
    cdef Arena arena
    cdef list drained               # other arenas whose books this worker answers for
    cdef uint64_t drained_words[256]    # their sum when they were last looked at, by word of the row from WORD_LEDGER on

    # Stores the main arena's books and gauges as they are now, the drained ones' as they were last summed up. Cheap: once per read.
    cdef void publish(self) noexcept nogil
    cdef void _add(self, uint64_t* words, Arena arena) noexcept nogil
