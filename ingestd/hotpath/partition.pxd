# Which partition a record goes to: Kafka's murmur2 for keys, KIP-794 sticky for records without one (docs/kafka.md 12).
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.unaligned cimport load_u32

cdef extern from *:
    """
    #include <stdint.h>
    /* value % modulus by two multiplications (Lemire, Kaser, Kurz 2019); factor = UINT64_MAX / modulus + 1. Exact for all 32-bit operands. */
    static inline uint32_t ingestd_fast_modulo(uint32_t value, uint64_t factor, uint32_t modulus)
    {
        return (uint32_t)(((unsigned __int128)(factor * value) * modulus) >> 64);
    }
    """
    uint32_t fast_modulo "ingestd_fast_modulo"(uint32_t value, uint64_t factor, uint32_t modulus) noexcept nogil

cdef struct Sticky:            # of one topic
    bint chosen                # False: `partition` has not been drawn yet
    uint32_t partition         # where records without key go now
    uint64_t produced_bytes    # encoded bytes sent there since it was drawn

cdef struct Partitions:        # of one topic, as the intake knows them
    uint32_t count             # 0: not known
    uint64_t modulo_factor
    uint32_t* available        # partitions with a leader that are not held, ascending
    uint32_t available_count

# Draws the next sticky partition: uniform among the available ones, none available: among all.
cdef void sticky_draw(Sticky* sticky, const Partitions* partitions, uint64_t* random_state) noexcept nogil

cdef enum:
    MULTIPLIER = 0x5bd1e995
    POSITIVE = 0x7fffffff


cdef inline uint32_t murmur2_of(const unsigned char* key, size_t length) noexcept nogil:
    cdef const unsigned char* end = key + (length & ~<size_t>3)
    cdef uint32_t h = <uint32_t>0x9747b28c ^ <uint32_t>length
    cdef uint32_t k
    cdef size_t tail = length & 3
    while key < end:
        k = load_u32(key) * <uint32_t>MULTIPLIER
        k ^= k >> 24
        h = (h * <uint32_t>MULTIPLIER) ^ (k * <uint32_t>MULTIPLIER)
        key += 4
    if tail:
        if tail == 3:
            h ^= <uint32_t>key[2] << 16
        if tail >= 2:
            h ^= <uint32_t>key[1] << 8
        h = (h ^ key[0]) * <uint32_t>MULTIPLIER
    h = (h ^ (h >> 13)) * <uint32_t>MULTIPLIER
    return h ^ (h >> 15)


# The partition of a key: all partitions count, available or not.
cdef inline uint32_t keyed(const Partitions* partitions, const unsigned char* key, size_t length) noexcept nogil:
    return fast_modulo(murmur2_of(key, length) & POSITIVE, partitions.modulo_factor, partitions.count)
