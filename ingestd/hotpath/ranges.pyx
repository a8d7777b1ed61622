"""Rejections of one stream, kept for its sender as (first sequence, count, reason) until they are taken."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport abort, free, realloc

from ingestd.hotpath.input cimport Input, RejectedRange


cdef void ranges_add(Input* input, uint64_t sequence, uint32_t reason) noexcept nogil:
    cdef RejectedRange* last
    cdef RejectedRange* grown
    cdef uint32_t capacity
    if input.range_count:
        last = &input.ranges[input.range_count - 1]
        if last.reason == reason and last.first_sequence + last.count == sequence:
            last.count += 1
            return
    if input.range_count == input.range_capacity:
        # Bounded by the records of one read: they are taken after each.
        capacity = max(<uint32_t>8, input.range_capacity * 2)
        grown = <RejectedRange*>realloc(input.ranges, capacity * sizeof(RejectedRange))
        if grown == NULL:
            abort()
        input.ranges = grown
        input.range_capacity = capacity
    last = &input.ranges[input.range_count]
    last.first_sequence = sequence
    last.count = 1
    last.reason = reason
    input.range_count += 1


cdef list ranges_take(Input* input):
    cdef uint32_t index
    taken = [
        (input.ranges[index].first_sequence, input.ranges[index].count, input.ranges[index].reason) for index in range(input.range_count)
    ]
    input.range_count = 0
    return taken


cdef void ranges_free(Input* input) noexcept nogil:
    free(input.ranges)
    input.ranges = NULL
    input.range_count = input.range_capacity = 0
