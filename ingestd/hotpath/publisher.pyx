"""Publishes a worker's books: ledger words and gauges, stored into its scoreboard row under a seqlock.

The sequence word is odd while the row is being written; a reader takes what it read between two equal even values. Words are the sum
over the worker's arenas. The main arena is read at every publishing, drain-only ones at `sum_up`: a sum of both always balances,
because each part was taken whole.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.layout cimport LEDGER_WORDS

cdef enum:                         # words of the row, as ingestd/scoreboard.py has them
    WORD_SEQLOCK = 64
    WORD_LEDGER = 65
    WORD_DRAIN_ARENAS = 199
    WORD_DRAIN_PAGES = 200
    WORD_OLDEST_CREATED = 201
    WORD_IN_DOUBT = 202
    ROW_BYTES = 4096

cdef enum:                         # summed gauges, by their distance from WORD_LEDGER
    GAUGE_BUFFERED = 128
    GAUGE_OPEN = 129
    GAUGE_SEALED = 130
    GAUGE_STAMPED = 131
    GAUGE_FREE_PAGES = 132
    GAUGE_TOTAL_PAGES = 133
    SUMMED_WORDS = 134


cdef extern from *:
    """
    static inline void ingestd_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    void fence "ingestd_fence"() noexcept nogil


cdef class Publisher:
    """Writes the row behind `row` (4096 writable bytes, 8-aligned), or nowhere with None."""

    def __init__(self, Arena arena not None, row: memoryview | None) -> None:
        cdef unsigned char[::1] bytes_of_row
        self.arena = arena
        self.drained = []
        self.row = NULL
        if row is not None:
            bytes_of_row = row
            if len(bytes_of_row) != ROW_BYTES or <size_t>&bytes_of_row[0] % 8:
                raise ValueError("a scoreboard row is 4096 bytes at an address divisible by 8")
            self.view = row
            self.row = <uint64_t*>&bytes_of_row[0]
            # A worker that died while writing leaves it odd.
            self.row[WORD_SEQLOCK] += self.row[WORD_SEQLOCK] & 1

    def attach(self, Arena arena not None) -> None:
        """Adds the books of a drain-only arena."""
        self.drained.append(arena)

    def detach(self, Arena arena not None) -> None:
        """Takes a drain-only arena out; its books have been absorbed by the main one."""
        self.drained.remove(arena)

    def sum_up(self, in_doubt_batches: int) -> None:
        """Reads the drain-only arenas anew and stores the slow gauges, then publishes. For once per second."""
        cdef Arena arena
        cdef uint64_t pages = 0
        memset(self.drained_words, 0, sizeof(self.drained_words))
        created = [self.arena.oldest_created_ms] if self.arena.oldest_created_ms else []
        for arena in self.drained:
            self._add(self.drained_words, arena)
            # They take nothing more in: their free pages are no room.
            self.drained_words[GAUGE_FREE_PAGES] = self.drained_words[GAUGE_TOTAL_PAGES] = 0
            pages += <uint64_t>arena.intake_pages - <uint64_t>arena.free_pages
            if arena.oldest_created_ms:
                created.append(arena.oldest_created_ms)
        if self.row == NULL:
            return
        self.row[WORD_SEQLOCK] += 1
        fence()
        self.row[WORD_DRAIN_ARENAS] = <uint64_t>len(self.drained)
        self.row[WORD_DRAIN_PAGES] = pages
        self.row[WORD_OLDEST_CREATED] = <uint64_t>min(created, default=0)
        self.row[WORD_IN_DOUBT] = <uint64_t>in_doubt_batches
        fence()
        self.row[WORD_SEQLOCK] += 1
        self.publish()

    cdef void _add(self, uint64_t* words, Arena arena) noexcept nogil:
        cdef uint32_t word
        for word in range(LEDGER_WORDS):
            words[word] += arena.ledger[word]
        words[GAUGE_BUFFERED] += <uint64_t>arena.buffered_records
        words[GAUGE_OPEN] += <uint64_t>arena.open_batches
        words[GAUGE_SEALED] += <uint64_t>arena.sealed_batches
        words[GAUGE_STAMPED] += <uint64_t>arena.stamped_batches
        words[GAUGE_FREE_PAGES] += <uint64_t>arena.free_pages
        words[GAUGE_TOTAL_PAGES] += arena.intake_pages

    cdef void publish(self) noexcept nogil:
        cdef uint64_t[134] words
        if self.row == NULL:
            return
        memcpy(words, self.drained_words, sizeof(words))
        self._add(words, self.arena)
        self.row[WORD_SEQLOCK] += 1
        fence()
        memcpy(self.row + WORD_LEDGER, words, sizeof(words))
        fence()
        self.row[WORD_SEQLOCK] += 1


def store_block(target: memoryview, words: memoryview) -> None:
    """Stores `words` (u64) over `target` under the seqlock in its first word; the first of `words` is left out."""
    cdef uint64_t[::1] there = target
    cdef const uint64_t[::1] here = words
    if len(there) < 2 or len(here) > len(there) or len(here) < 2:
        raise ValueError("the words do not fit into the block")
    # A writer that died in between leaves it odd.
    there[0] += 1 + (there[0] & 1)
    fence()
    memcpy(&there[1], &here[1], (len(here) - 1) * sizeof(uint64_t))
    fence()
    there[0] += 1
