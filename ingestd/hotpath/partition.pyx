"""Partition choice as in Kafka's Java producer: murmur2 for keys, sticky with byte counting (KIP-794) without."""

from libc.stdint cimport uint32_t, uint64_t


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
