# Rejections to be answered, as coalesced ranges of sequences.
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.input cimport Input, RejectedRange


cdef void ranges_add(Input* input, uint64_t sequence, uint32_t reason) noexcept nogil
cdef list ranges_take(Input* input)
cdef void ranges_free(Input* input) noexcept nogil
