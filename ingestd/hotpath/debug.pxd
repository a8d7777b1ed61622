# Checks of what must hold between two lines of ours, compiled in by INGESTD_DEBUG (`make sanitize`) and gone otherwise.
cdef extern from *:
    """
    #ifdef INGESTD_DEBUG
    #include <stdlib.h>
    #define ingestd_invariant(holds) do { if (!(holds)) abort(); } while (0)
    #else
    #define ingestd_invariant(holds) ((void)0)
    #endif
    """
    void invariant "ingestd_invariant"(bint holds) noexcept nogil
