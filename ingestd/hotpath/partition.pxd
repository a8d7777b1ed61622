# Which partition a record goes to (docs/partitioning.md): by Kafka's murmur2 or librdkafka's CRC-32 of its key, in turn, or, where neither
# applies, sticky with the adaptive choice of KIP-794.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t

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

cdef enum Partitioner:         # of one topic; a partition that a record names comes before any
    PARTITIONER_MURMUR2 = 0    # by key; sticky without one. Kafka's built-in
    PARTITIONER_CRC32 = 1      # by key; sticky without one and with an empty one. librdkafka's consistent_random
    PARTITIONER_STICKY = 2     # whatever the key: partitioner.ignore.keys
    PARTITIONER_ROUND_ROBIN = 3
    PARTITIONER_PYTHON = 4     # asked once per read, see chooser.pyx

cdef struct Sticky:            # of one topic
    bint chosen                # False: `partition` has not been drawn yet
    uint32_t partition         # where records without key go now
    uint64_t produced_bytes    # encoded bytes sent there since it was drawn
    uint64_t draws             # ever

cdef struct Partitions:        # of one topic, as the intake knows them
    uint32_t count             # 0: not known
    uint64_t modulo_factor
    uint32_t* available        # partitions with a leader that are not held, ascending
    uint32_t available_count
    uint32_t* weighted         # partitions to draw from by weight, ascending
    uint32_t* cumulative       # their weights' running sum
    uint32_t weighted_count    # 0: no weights, every available one is as good

# Draws the next sticky partition: by weight, without weights uniform among the available ones, none available: among all.
cdef void sticky_draw(Sticky* sticky, const Partitions* partitions, uint64_t* random_state) noexcept nogil
# Makes the weights from queue lengths, one per partition, as Kafka's BuiltInPartitioner.updatePartitionLoadStats: longest + 1 - own. Left out
# are partitions with a negative length and those that are not available. No weights where all partitions are equal.
cdef void weigh(Partitions* partitions, const int32_t* lengths) noexcept nogil
# The partition of a key by its CRC-32.
cdef uint32_t keyed_by_crc32(const Partitions* partitions, const unsigned char* key, size_t length) noexcept nogil

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


# The partition whose turn it is, as RoundRobinPartitioner: among the available ones, none available: among all.
cdef inline uint32_t rotated(const Partitions* partitions, uint64_t rotation) noexcept nogil:
    if partitions.available_count:
        return partitions.available[rotation % partitions.available_count]
    return <uint32_t>(rotation % partitions.count)
