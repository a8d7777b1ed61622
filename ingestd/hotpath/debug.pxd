# Checks that are compiled in by INGESTD_DEBUG (`make sanitize`) and gone otherwise.
from libc.stddef cimport size_t

cdef extern from *:
    """
    #ifdef INGESTD_DEBUG
    #include <stdlib.h>
    #define ingestd_invariant(holds) do { if (!(holds)) abort(); } while (0)
    #else
    #define ingestd_invariant(holds) ((void)0)
    #endif
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #define ingestd_forbid(place, length) __asan_poison_memory_region(place, length)
    #define ingestd_allow(place, length) __asan_unpoison_memory_region(place, length)
    #else
    #define ingestd_forbid(place, length) ((void)0)
    #define ingestd_allow(place, length) ((void)0)
    #endif
    """
    # What must hold between two lines of ours.
    void invariant "ingestd_invariant"(bint holds) noexcept nogil
    # Bytes of a buffer of ours behind what was received: a parser that reads on into them is as wrong as one that leaves the buffer.
    void forbid "ingestd_forbid"(const void* place, size_t length) noexcept nogil
    void allow "ingestd_allow"(const void* place, size_t length) noexcept nogil
