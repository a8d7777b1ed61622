"""Map of the arena's free pages; see pages.pxd. The Python methods are for tests and offline tools."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free


cdef extern from *:
    """
    #define count_trailing_zeros(word) ((uint32_t)__builtin_ctzll(word))
    #define count_leading_zeros(word) ((uint32_t)__builtin_clzll(word))
    """
    uint32_t count_trailing_zeros(uint64_t word) noexcept nogil
    uint32_t count_leading_zeros(uint64_t word) noexcept nogil


cdef uint64_t ALL_FREE = <uint64_t>0 - 1


cdef inline uint64_t bits(uint32_t first, uint32_t count) noexcept nogil:
    return (ALL_FREE if count == 64 else (<uint64_t>1 << count) - 1) << first


cdef class PageMap:
    """Free runs of `page_count` pages, all free at first."""

    def __cinit__(self, uint32_t page_count):
        cdef uint32_t index
        self.page_count = page_count
        self.leaf_count = 1
        while <uint64_t>self.leaf_count * 64 < page_count:
            self.leaf_count *= 2
        self.words = <uint64_t*>calloc(self.leaf_count, sizeof(uint64_t))
        self.head = <uint32_t*>calloc(2 * self.leaf_count, sizeof(uint32_t))
        self.tail = <uint32_t*>calloc(2 * self.leaf_count, sizeof(uint32_t))
        self.best = <uint32_t*>calloc(2 * self.leaf_count, sizeof(uint32_t))
        if self.words == NULL or self.head == NULL or self.tail == NULL or self.best == NULL:
            raise MemoryError()
        self.give(0, page_count)

    def __dealloc__(self):
        free(self.words)
        free(self.head)
        free(self.tail)
        free(self.best)

    cdef int64_t find(self, uint32_t pages) noexcept nogil:
        cdef uint32_t node = 1
        cdef uint32_t node_pages = self.leaf_count * 64
        cdef uint32_t first = 0
        cdef uint32_t length
        cdef uint64_t word
        if pages == 0 or self.best[1] < pages:
            return -1
        while node < self.leaf_count:
            node_pages >>= 1
            if self.best[2 * node] >= pages:
                node = 2 * node
            elif self.tail[2 * node] + self.head[2 * node + 1] >= pages:
                return first + node_pages - self.tail[2 * node]
            else:
                first += node_pages
                node = 2 * node + 1
        word = self.words[node - self.leaf_count]
        for length in range(1, pages):
            word &= word >> 1
        return first + count_trailing_zeros(word)

    cdef void take(self, uint32_t first, uint32_t pages) noexcept nogil:
        self._mark(first, pages, False)

    cdef void give(self, uint32_t first, uint32_t pages) noexcept nogil:
        self._mark(first, pages, True)

    cdef bint all_free(self, uint32_t first, uint32_t pages) noexcept nogil:
        cdef uint32_t at = first
        cdef uint32_t count
        cdef uint64_t mask
        while at < first + pages:
            count = min(64 - at % 64, first + pages - at)
            mask = bits(at % 64, count)
            if self.words[at // 64] & mask != mask:
                return False
            at += count
        return True

    cdef void _mark(self, uint32_t first, uint32_t pages, bint free) noexcept nogil:
        cdef uint32_t at = first
        cdef uint32_t count, low, high, node, half
        cdef uint32_t node_pages = 64
        if pages == 0:
            return
        while at < first + pages:
            count = min(64 - at % 64, first + pages - at)
            if free:
                self.words[at // 64] |= bits(at % 64, count)
            else:
                self.words[at // 64] &= ~bits(at % 64, count)
            self._leaf(at // 64)
            at += count
        low = self.leaf_count + first // 64
        high = self.leaf_count + (first + pages - 1) // 64
        while low > 1:
            low >>= 1
            high >>= 1
            half = node_pages
            node_pages *= 2
            for node in range(low, high + 1):
                self.head[node] = self.head[2 * node]
                if self.head[node] == half:
                    self.head[node] += self.head[2 * node + 1]
                self.tail[node] = self.tail[2 * node + 1]
                if self.tail[node] == half:
                    self.tail[node] += self.tail[2 * node]
                self.best[node] = max(self.best[2 * node], self.best[2 * node + 1])
                self.best[node] = max(self.best[node], self.tail[2 * node] + self.head[2 * node + 1])

    cdef void _leaf(self, uint32_t index) noexcept nogil:
        cdef uint64_t word = self.words[index]
        cdef uint32_t node = self.leaf_count + index
        cdef uint32_t length = 0
        if word == ALL_FREE:
            self.head[node] = self.tail[node] = self.best[node] = 64
            return
        self.head[node] = count_trailing_zeros(~word)
        self.tail[node] = count_leading_zeros(~word)
        while word != 0:
            word &= word << 1
            length += 1
        self.best[node] = length

    def lowest(self, uint32_t pages):
        """First page of the lowest free run of that length, or -1."""
        return self.find(pages)

    def mark(self, uint32_t first, uint32_t pages, bint free):
        """Marks pages free or taken."""
        if <uint64_t>first + pages > self.page_count:
            raise ValueError("pages outside the map")
        self._mark(first, pages, free)
