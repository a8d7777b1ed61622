# Format `raw`: a datagram is a record, any bytes.
from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.input cimport Input
from libc.stddef cimport size_t

# Returns the bytes consumed: all, or none when the record has to wait.
cdef size_t raw_parse(Appender appender, Input* input, const unsigned char* data, size_t length) noexcept nogil
