# The intent: how several words of the arena change as one. Absolute (offset, value) stores are collected in the
# intent pages, published by
# one store of `word` (their number and CRC), applied, and cleared by one store. Whoever opens the arena after our
# death finds either no valid
# intent (nothing of it happened) or a valid one, and applies it (again). Only the worker's loop thread builds intents.
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.layout cimport INTENT_PAIRS
from ingestd.hotpath.store cimport store_barrier, store_release


cdef struct IntentPair:
    uint64_t offset                # from the start of the mapping, a multiple of 8
    uint64_t value

cdef struct IntentPages:
    uint64_t word                  # crc32c of the pairs:32 | their number:32 (low half); 0: none published
    uint64_t reserved
    IntentPair pairs[510]

cdef struct Intent:                # builder, in our own memory
    unsigned char* base
    IntentPages* pages
    uint64_t bytes_max             # stores lie below this offset: in front of the data pages
    uint32_t seed                  # CRC register after the arena id
    uint32_t count


cdef inline void intent_stage(Intent* intent, uint64_t* place, uint64_t value) noexcept nogil:
    cdef IntentPair* pair = &intent.pages.pairs[intent.count]
    pair.offset = <uint64_t>(<unsigned char*>place - intent.base)
    pair.value = value
    intent.count += 1


cdef inline void intent_stage_changes(Intent* intent, uint64_t* place, const uint64_t* values,
                                      uint32_t words) noexcept nogil:
    cdef uint32_t index
    for index in range(words):
        if place[index] != values[index]:
            intent_stage(intent, place + index, values[index])


cdef inline uint32_t intent_crc(const Intent* intent, uint32_t count) noexcept nogil:
    return crc32c_update(intent.seed, <unsigned char*>intent.pages.pairs, count * sizeof(IntentPair))


cdef inline void intent_publish(Intent* intent) noexcept nogil:
    cdef uint64_t crc = intent_crc(intent, intent.count)
    store_release(&intent.pages.word, crc << 32 | intent.count)


cdef inline void intent_apply(Intent* intent, uint32_t count) noexcept nogil:
    cdef uint32_t index
    for index in range(count):
        store_release(<uint64_t*>(intent.base + intent.pages.pairs[index].offset), intent.pages.pairs[index].value)


cdef inline void intent_clear(Intent* intent) noexcept nogil:
    store_release(&intent.pages.word, 0)
    store_barrier()
    intent.count = 0


# True if a published intent was found and applied.
cdef inline bint intent_recover(Intent* intent) noexcept nogil:
    cdef uint64_t word = intent.pages.word
    cdef uint32_t count = <uint32_t>word
    cdef uint32_t index
    cdef bint valid = 0 < count <= INTENT_PAIRS
    if valid:
        valid = intent_crc(intent, count) == word >> 32
    if valid:
        for index in range(count):
            if intent.pages.pairs[index].offset % 8 != 0 or intent.pages.pairs[index].offset > intent.bytes_max - 8:
                valid = False
    if valid:
        intent_apply(intent, count)
    intent_clear(intent)
    return valid
