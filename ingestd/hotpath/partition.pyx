"""Partition choice as in Kafka's Java producer: murmur2 for keys, sticky with byte counting (KIP-794) without."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.unaligned cimport load_u32

cdef enum:
    MULTIPLIER = 0x5bd1e995
    POSITIVE = 0x7fffffff


cdef uint32_t murmur2_of(const unsigned char* key, size_t length) noexcept nogil:
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


cdef uint32_t keyed(const Partitions* partitions, const unsigned char* key, size_t length) noexcept nogil:
    return fast_modulo(murmur2_of(key, length) & POSITIVE, partitions.modulo_factor, partitions.count)


cdef void sticky_draw(Sticky* sticky, const Partitions* partitions, uint64_t* random_state) noexcept nogil:
    # xorshift64*: a worker draws once per batch, quality beyond uniformity buys nothing.
    cdef uint64_t x = random_state[0]
    cdef uint32_t draw
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    random_state[0] = x
    draw = <uint32_t>((x * <uint64_t>0x2545F4914F6CDD1DULL) >> 32)
    sticky.chosen = True
    sticky.produced_bytes = 0
    if partitions.available_count:
        sticky.partition = partitions.available[(<uint64_t>draw * partitions.available_count) >> 32]
    else:
        sticky.partition = <uint32_t>((<uint64_t>draw * partitions.count) >> 32)


def murmur2(key: bytes) -> int:
    """Kafka's murmur2 of `key` as an unsigned 32-bit number (`Utils.murmur2`)."""
    return murmur2_of(<const unsigned char*>key, len(key))


def partition_for_key(key: bytes, int count) -> int:
    """The partition of `key` among `count`, as `BuiltInPartitioner.partitionForKey` has it. `count` is at least 1."""
    cdef Partitions partitions
    if count < 1:
        raise ValueError(f"a topic has at least one partition, not {count}")
    partitions.count = <uint32_t>count
    partitions.modulo_factor = <uint64_t>0xFFFFFFFFFFFFFFFFULL // partitions.count + 1
    return keyed(&partitions, <const unsigned char*>key, len(key))
