"""Names from outside: a topic is looked up in the allow-list of its listener, a header's name must be UTF-8."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

from ingestd.hotpath.input cimport Listener, Topic
from ingestd.hotpath.layout cimport REJECTED_INVALID_TOPIC, REJECTED_TOPIC_NOT_ALLOWED
from ingestd.hotpath.limits cimport TOPIC_BYTES_MAX
from ingestd.hotpath.unaligned cimport load_u64


cdef Topic* topic_find(const Listener* listener, const unsigned char* name, size_t length, uint32_t* verdict) noexcept nogil:
    cdef uint32_t index
    cdef Topic* topic
    for index in range(listener.topic_count):
        topic = listener.topics[index]
        if topic.name_bytes == length and memcmp(topic.name, name, length) == 0:
            return topic
    verdict[0] = REJECTED_TOPIC_NOT_ALLOWED if topic_legal(name, length) else REJECTED_INVALID_TOPIC
    return NULL


# Kafka's Topic.validate: 1 to 249 of [a-zA-Z0-9._-], neither "." nor "..".
cdef bint topic_legal(const unsigned char* name, size_t length) noexcept nogil:
    cdef size_t index
    cdef unsigned char c
    cdef bint only_dots = True
    if length == 0 or length > TOPIC_BYTES_MAX:
        return False
    for index in range(length):
        c = name[index]
        if not (c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'0' <= c <= c'9' or c == c'.' or c == c'_' or c == c'-'):
            return False
        only_dots &= c == c'.'
    return not (only_dots and length <= 2)


# RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
cdef bint utf8_valid(const unsigned char* text, size_t length) noexcept nogil:
    cdef size_t at = 0, more
    cdef unsigned char lead, low, high
    while at < length:
        if length - at >= 8 and not load_u64(text + at) & <uint64_t>0x8080808080808080ULL:
            at += 8
            continue
        lead = text[at]
        at += 1
        if lead < 0x80:
            continue
        # The second byte's bounds exclude what the lead byte alone does not.
        low = 0x80
        high = 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if length - at < more or not low <= text[at] <= high:
            return False
        while more > 1:
            more -= 1
            if not 0x80 <= text[at + more] <= 0xBF:
                return False
        at += 1 if lead <= 0xDF else (2 if lead <= 0xEF else 3)
    return True
