# Checks of names that came from outside: topics against a listener's allow-list, header names as UTF-8.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from ingestd.hotpath.input cimport Listener, Topic

cdef bint utf8_valid(const unsigned char* text, size_t length) noexcept nogil
# The allowed topic of that name, or NULL and the reason (a legal name that is not allowed, or none that Kafka would take).
cdef Topic* topic_find(const Listener* listener, const unsigned char* name, size_t length, uint32_t* verdict) noexcept nogil
