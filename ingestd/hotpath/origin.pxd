# Senders, as provenance runs and record keys name them.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ingestd.hotpath.input cimport Listener, Origin

cdef void origin_connection(Origin* origin, const Listener* listener, uint32_t number, bint delivered) noexcept nogil
cdef void origin_session(Origin* origin, const Listener* listener, uint32_t row, const uint8_t* session_id, bint delivered) noexcept nogil
cdef void origin_path(Origin* origin, const Listener* listener, const unsigned char* path, uint32_t path_bytes) noexcept nogil
# `source` is a sockaddr_in or sockaddr_in6 of `source_bytes`; `distinct` tells IPv6 senders apart, see origin.pyx.
cdef void origin_udp(Origin* origin, const Listener* listener, const unsigned char* source, uint32_t source_bytes, uint64_t* distinct) noexcept nogil
