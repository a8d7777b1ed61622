# Format `lines`: one record a line.
from libc.stddef cimport size_t

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.input cimport Input

# Returns the bytes consumed. `last`: nothing follows, so that bytes behind the last newline are a line, too.
cdef size_t lines_parse(Appender appender, Input* input, const unsigned char* data, size_t length, bint last) noexcept nogil
# Offers `data` as the value of a record on the listener's topic, with the key that the listener asks for.
cdef bint offer_value(Appender appender, Input* input, Record* record, const unsigned char* data, size_t length) noexcept nogil
