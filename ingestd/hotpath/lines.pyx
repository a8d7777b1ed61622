"""Format `lines`: one record a line, ended by a newline; a datagram may carry several, its last one needs no newline.

The value is the line without its newline, byte for byte: a carriage return in front of the newline stays. A line of nothing, or of
a carriage return alone, is refused as `empty` and counted (rsyslog drops such lines without a word). A line longer than its limit is
refused once, as `line_too_large`, and skipped up to its newline: nothing is cut short in silence.
"""

from libc.stddef cimport size_t
from libc.stdint cimport INT64_MIN, uint32_t
from libc.string cimport memchr

from ingestd.hotpath.appender cimport Appender, record_prepare
from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.input cimport KEY_FIELD, KEY_SENDER, Input, Listener
from ingestd.hotpath.layout cimport REJECTED_EMPTY, REJECTED_KEY_TOO_LARGE, REJECTED_LINE_TOO_LARGE
from ingestd.hotpath.limits cimport KEY_BYTES_MAX

cdef enum:
    NEWLINE = 10
    CARRIAGE_RETURN = 13


cdef size_t lines_parse(Appender appender, Input* input, const unsigned char* data, size_t length, bint last) noexcept nogil:
    cdef const unsigned char* place = data
    cdef const unsigned char* end = data + length
    cdef const unsigned char* scan = data + input.scanned_bytes
    cdef const unsigned char* newline
    cdef size_t line_bytes
    cdef Record record
    record_prepare(&record, input.listener)
    input.scanned_bytes = 0
    while place < end:
        newline = <const unsigned char*>memchr(scan, NEWLINE, end - scan)
        if newline == NULL:
            if not last or input.skipping:
                return rest_of_line(appender, input, place, end) - data
            newline = end
        line_bytes = newline - place
        if input.skipping:
            input.skipping = False
        elif line_bytes == 0 or (line_bytes == 1 and place[0] == CARRIAGE_RETURN):
            appender.refuse(input, REJECTED_EMPTY, 0)
        elif line_bytes > input.listener.line_bytes_max:
            appender.refuse(input, REJECTED_LINE_TOO_LARGE, 0)
        elif not offer_value(appender, input, &record, place, line_bytes):
            return place - data
        place = newline + 1
        scan = place
    return length


# Bytes without a newline yet: held, unless they already make too long a line. Returns the address behind what was consumed.
cdef const unsigned char* rest_of_line(Appender appender, Input* input, const unsigned char* place, const unsigned char* end) noexcept nogil:
    if input.skipping:
        return end
    if <size_t>(end - place) > input.listener.line_bytes_max:
        appender.refuse(input, REJECTED_LINE_TOO_LARGE, 0)
        input.skipping = True
        return end
    input.scanned_bytes = <uint32_t>(end - place)
    return place


cdef bint offer_value(Appender appender, Input* input, Record* record, const unsigned char* data, size_t length) noexcept nogil:
    cdef const Listener* listener = input.listener
    record.value = data
    record.value_bytes = <uint32_t>length
    record.key = NULL
    if listener.key_kind == KEY_FIELD:
        pick_field(listener, record)
        if record.key != NULL and record.key_bytes > KEY_BYTES_MAX:
            return appender.refuse(input, REJECTED_KEY_TOO_LARGE, 0)
    elif listener.key_kind == KEY_SENDER:
        record.key = input.origin.key
        record.key_bytes = input.origin.key_bytes
    record.partition = -1
    record.timestamp_ms = INT64_MIN
    return appender.offer(input, listener.topic, record, 0)


# The key is field N, counted from 1; a line with fewer fields has no key. The last field reaches to the end of the line.
cdef void pick_field(const Listener* listener, Record* record) noexcept nogil:
    cdef const unsigned char* place = record.value
    cdef const unsigned char* end = place + record.value_bytes
    cdef const unsigned char* delimiter
    cdef uint32_t field = listener.key_field
    while field > 1:
        delimiter = <const unsigned char*>memchr(place, listener.key_delimiter, end - place)
        if delimiter == NULL:
            return
        place = delimiter + 1
        field -= 1
    delimiter = <const unsigned char*>memchr(place, listener.key_delimiter, end - place)
    record.key = place
    record.key_bytes = <uint32_t>((delimiter if delimiter != NULL else end) - place)
