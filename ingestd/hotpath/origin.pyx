"""A sender in two forms: the fixed bytes of its provenance runs, and a record key for listeners with ``key = "sender"``.

As a key, a connection is its number in decimal, a session its id in hex, a datagram path the path, a UDP sender ``address:port`` with
IPv6 addresses in brackets.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy, strlen

from ingestd.hotpath.input cimport (
    KEY_SENDER, SENDER_ANSWER, SENDER_CONNECTION, SENDER_IPV4, SENDER_IPV6, SENDER_PATH, SENDER_SESSION, Listener, Origin,
)
from ingestd.hotpath.unaligned cimport load_u16, load_u32


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET
        AF_INET6
    uint16_t ntohs(uint16_t value) noexcept
    const char* inet_ntop(int family, const void* address, char* text, uint32_t text_bytes) noexcept


# sockaddr_in:  family u16 | port u16 big-endian | address 4 bytes | 8 bytes of nothing.
# sockaddr_in6: family u16 | port u16 big-endian | flow u32 | address 16 bytes | scope u32.
cdef enum:
    PORT_OFFSET = 2
    IPV4_OFFSET = 4
    IPV6_OFFSET = 8
    IPV6_BYTES = 28


# The run's bytes above its count: sender, listener, kind, so that a reader coming down from the end meets the kind first.
cdef void origin_tail(Origin* origin, uint8_t kind, uint8_t listener, const void* sender, uint32_t sender_bytes) noexcept nogil:
    memcpy(origin.tail, sender, sender_bytes)
    origin.tail[sender_bytes] = listener
    origin.tail[sender_bytes + 1] = kind
    origin.tail_bytes = sender_bytes + 2
    origin.has_sequence = kind & 0x7F == SENDER_SESSION
    origin.head_bytes = origin.tail_bytes + 4 + (8 if origin.has_sequence else 0)
    origin.tag = <uint64_t>kind << 56 | <uint64_t>listener << 48


cdef void origin_connection(Origin* origin, const Listener* listener, uint32_t number, bint delivered) noexcept nogil:
    origin_tail(origin, SENDER_CONNECTION | (SENDER_ANSWER if delivered else 0), listener.index, &number, 4)
    origin.tag |= number
    origin.key_bytes = <uint32_t>snprintf(<char*>origin.key, sizeof(origin.key), b"%u", number)


cdef void origin_session(Origin* origin, const Listener* listener, uint32_t row, const uint8_t* session_id, bint delivered) noexcept nogil:
    cdef int index
    origin_tail(origin, SENDER_SESSION | (SENDER_ANSWER if delivered else 0), listener.index, &row, 4)
    origin.tag |= row
    for index in range(16):
        snprintf(<char*>origin.key + 2 * index, 3, b"%02x", <unsigned int>session_id[index])
    origin.key_bytes = 32


cdef void origin_path(Origin* origin, const Listener* listener, const unsigned char* path, uint32_t path_bytes) noexcept nogil:
    origin_tail(origin, SENDER_PATH, listener.index, path, 0)
    origin.key_bytes = min(path_bytes, <uint32_t>sizeof(origin.key))
    memcpy(origin.key, path, origin.key_bytes)


cdef void origin_udp(Origin* origin, const Listener* listener, const unsigned char* source, uint32_t source_bytes, uint64_t* distinct) noexcept nogil:
    cdef uint8_t[18] sender
    cdef uint16_t port = ntohs(load_u16(source + PORT_OFFSET))
    if source_bytes >= IPV6_BYTES:
        memcpy(sender, source + IPV6_OFFSET, 16)
        memcpy(&sender[16], &port, 2)
        if origin.tail_bytes == 20 and memcmp(origin.tail, sender, 18) == 0:
            return
        origin_tail(origin, SENDER_IPV6, listener.index, sender, 18)
        # 18 bytes do not fit the tag: a sender that differs from the one before takes the next number.
        distinct[0] += 1
        origin.tag |= distinct[0] & <uint64_t>0xFFFFFFFFFFFFULL
    else:
        memcpy(sender, source + IPV4_OFFSET, 4)
        memcpy(&sender[4], &port, 2)
        if origin.tail_bytes == 8 and memcmp(origin.tail, sender, 6) == 0:
            return
        origin_tail(origin, SENDER_IPV4, listener.index, sender, 6)
        origin.tag |= <uint64_t>load_u32(sender) << 16 | port
    if listener.key_kind == KEY_SENDER:
        udp_key(origin, AF_INET6 if origin.tail_bytes == 20 else AF_INET, sender, port)


cdef void udp_key(Origin* origin, int family, const uint8_t* address, uint16_t port) noexcept nogil:
    cdef char* text = <char*>origin.key
    cdef size_t length = 0
    if family == AF_INET6:
        text[0] = c'['
        length = 1
    inet_ntop(family, address, text + length, 64)
    length = strlen(text)
    if family == AF_INET6:
        text[length] = c']'
        length += 1
    length += snprintf(text + length, sizeof(origin.key) - length, b":%u", <unsigned int>port)
    origin.key_bytes = <uint32_t>length
