"""Partition choice as in Kafka's Java producer (murmur2 for keys, KIP-794 without) and as in librdkafka (CRC-32)."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from "crc32.h" nogil:
    uint32_t crc32_of(const unsigned char* bytes, size_t length) noexcept


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
    sticky.draws += 1
    if partitions.weighted_count:
        sticky.partition = partitions.weighted[weighted_place(partitions, draw)]
    elif partitions.available_count:
        sticky.partition = partitions.available[(<uint64_t>draw * partitions.available_count) >> 32]
    else:
        sticky.partition = <uint32_t>((<uint64_t>draw * partitions.count) >> 32)


# The first running sum that is greater than the draw, scaled to their last.
cdef uint32_t weighted_place(const Partitions* partitions, uint32_t draw) noexcept nogil:
    cdef uint32_t low = 0, middle, high = partitions.weighted_count - 1
    cdef uint32_t wanted = <uint32_t>((<uint64_t>draw * partitions.cumulative[high]) >> 32)
    while low < high:
        middle = (low + high) // 2
        if partitions.cumulative[middle] > wanted:
            high = middle
        else:
            low = middle + 1
    return low


cdef void weigh(Partitions* partitions, const int32_t* lengths) noexcept nogil:
    cdef uint32_t index, partition, count = 0, total = 0
    cdef int32_t length, longest = 0, length_max = <int32_t>min(<uint32_t>0x7FFFFFFE, <uint32_t>0xFFFFFFFF // max(partitions.count, <uint32_t>1) - 1)
    cdef bint all_equal = True
    for index in range(partitions.available_count):
        partition = partitions.available[index]
        if lengths[partition] < 0:
            continue
        partitions.weighted[count] = partition
        all_equal = all_equal and lengths[partition] == lengths[partitions.weighted[0]]
        # Bounded, so that the sum of all weights fits: far above any queue.
        longest = max(longest, min(lengths[partition], length_max))
        count += 1
    if partitions.count < 2 or (all_equal and count == partitions.count):
        count = 0
    for index in range(count):
        length = min(lengths[partitions.weighted[index]], length_max)
        total += <uint32_t>(longest + 1 - length)
        partitions.cumulative[index] = total
    partitions.weighted_count = count


cdef uint32_t keyed_by_crc32(const Partitions* partitions, const unsigned char* key, size_t length) noexcept nogil:
    return fast_modulo(crc32_of(key, length), partitions.modulo_factor, partitions.count)


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


def partition_for_key_crc32(key: bytes, int count) -> int:
    """The partition of `key` (not empty) among `count`, as librdkafka's `consistent_random` has it. `count` is at least 1."""
    if count < 1:
        raise ValueError(f"a topic has at least one partition, not {count}")
    cdef Partitions partitions
    partitions.count = <uint32_t>count
    partitions.modulo_factor = <uint64_t>0xFFFFFFFFFFFFFFFFULL // partitions.count + 1
    return keyed_by_crc32(&partitions, <const unsigned char*>key, len(key))


def weights(lengths: list[int]) -> list[tuple[int, int]]:
    """(partition, running sum of weights) that queues of these lengths give, negative: left out; [] none: all are as good."""
    cdef uint32_t index, count = <uint32_t>len(lengths)
    cdef Partitions partitions
    cdef uint32_t* numbers = <uint32_t*>malloc((3 * <size_t>count + 1) * sizeof(uint32_t))
    cdef int32_t* given = <int32_t*>malloc((<size_t>count + 1) * sizeof(int32_t))
    if numbers == NULL or given == NULL:
        raise MemoryError
    try:
        partitions.available, partitions.weighted, partitions.cumulative = numbers, numbers + count, numbers + 2 * count
        partitions.count = partitions.available_count = count
        for index in range(count):
            partitions.available[index] = index
            given[index] = lengths[index]
        weigh(&partitions, given)
        return [(partitions.weighted[index], partitions.cumulative[index]) for index in range(partitions.weighted_count)]
    finally:
        free(numbers)
        free(given)
