# Base-128 varints: zigzag ones as in Kafka's records, plain ones (LEB128) as in provenance gaps. The caller has made sure of the room.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    /* ceil(bits / 7) without a loop or a division: 9/64 is just over 1/7 for 1..64 bits. */
    static inline unsigned ingestd_varint_bytes(unsigned long long value)
    {
        return ((unsigned)(__builtin_clzll(value | 1) ^ 63) * 9 + 73) / 64;
    }
    """
    uint32_t varint_bytes "ingestd_varint_bytes"(uint64_t value) noexcept nogil


cdef inline uint64_t zigzag(int64_t value) noexcept nogil:
    return (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)


# Writes upward from `place`; returns the address behind it.
cdef inline unsigned char* varint_put(unsigned char* place, uint64_t value) noexcept nogil:
    while value >= 0x80:
        place[0] = <unsigned char>(value | 0x80)
        place += 1
        value >>= 7
    place[0] = <unsigned char>value
    return place + 1


# Writes downward: the first byte goes to place[-1]; returns the address of the last byte written.
cdef inline unsigned char* varint_put_down(unsigned char* place, uint64_t value) noexcept nogil:
    while value >= 0x80:
        place -= 1
        place[0] = <unsigned char>(value | 0x80)
        value >>= 7
    place -= 1
    place[0] = <unsigned char>value
    return place
