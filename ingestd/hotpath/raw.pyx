"""Format `raw`: a datagram is a record, whatever its bytes; one of no bytes is refused as empty.

There is no field to take a key from that would mean the same in every device's bytes, yet a key field may be configured: the
datagram is then looked at as one line would be.
"""

from libc.stddef cimport size_t

from ingestd.hotpath.appender cimport Appender, record_prepare
from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.input cimport Input
from ingestd.hotpath.layout cimport REJECTED_EMPTY
from ingestd.hotpath.lines cimport offer_value


cdef size_t raw_parse(Appender appender, Input* input, const unsigned char* data, size_t length) noexcept nogil:
    cdef Record record
    if length == 0:
        appender.refuse(input, REJECTED_EMPTY, 0)
        return 0
    record_prepare(&record, input.listener)
    return length if offer_value(appender, input, &record, data, length) else 0
