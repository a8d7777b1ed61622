# Reads provenance runs: a cursor that walks down from the end of a batch's run. Invariant: floor <= at; nothing below
# floor is read.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.layout cimport (
    PROVENANCE_CONNECTION, PROVENANCE_DATAGRAM_PATH, PROVENANCE_SESSION, PROVENANCE_UDP4, PROVENANCE_UDP6,
)


cdef struct Walker:
    const unsigned char* floor     # first byte behind the records
    const unsigned char* at        # behind the next byte to read
    uint32_t records_left          # of the batch
    # the run last read
    const unsigned char* top       # where it starts, walking down
    const unsigned char* gaps      # behind its first gap byte
    uint32_t kind
    uint32_t delivered             # the answer bit
    uint32_t listener
    uint32_t sender_bytes
    const unsigned char* sender
    uint64_t first_sequence
    uint32_t record_count          # clipped at what the batch holds
    uint32_t first_index
    uint64_t skipped               # sum of its gaps


cdef inline void walk_start(Walker* walker, const unsigned char* floor, const unsigned char* end,
                            uint32_t record_count) noexcept nogil:
    walker.floor = floor
    walker.at = end
    walker.records_left = record_count
    walker.record_count = 0
    walker.first_index = 0


# Next varint walking down, into `value`; False at the floor or beyond 10 bytes.
cdef inline bint walk_gap(const unsigned char** at, const unsigned char* floor, uint64_t* value) noexcept nogil:
    cdef uint32_t shift = 0
    value[0] = 0
    while at[0] > floor and shift < 64:
        at[0] -= 1
        value[0] |= <uint64_t>(at[0][0] & 127) << shift
        if at[0][0] < 128:
            return True
        shift += 7
    return False


# Reads the next run; False at the end, or where the bytes make no sense (records_left is not 0 then).
cdef inline bint walk_next(Walker* walker) noexcept nogil:
    cdef uint32_t fixed, count
    cdef uint64_t gap
    walker.first_index += walker.record_count
    walker.record_count = 0
    if walker.records_left == 0 or walker.at - walker.floor < 6:
        return False
    walker.top = walker.at
    walker.kind = (walker.at - 1)[0] & 127
    walker.delivered = (walker.at - 1)[0] >> 7
    walker.listener = (walker.at - 2)[0]
    if walker.kind == PROVENANCE_CONNECTION or walker.kind == PROVENANCE_SESSION:
        walker.sender_bytes = 4
    elif walker.kind == PROVENANCE_UDP4:
        walker.sender_bytes = 6
    elif walker.kind == PROVENANCE_UDP6:
        walker.sender_bytes = 18
    elif walker.kind == PROVENANCE_DATAGRAM_PATH:
        walker.sender_bytes = 0
    else:
        return False
    fixed = 6 + walker.sender_bytes + (8 if walker.kind == PROVENANCE_SESSION else 0)
    if walker.at - walker.floor < fixed:
        return False
    walker.at -= 2 + walker.sender_bytes
    walker.sender = walker.at
    walker.first_sequence = 0
    if walker.kind == PROVENANCE_SESSION:
        walker.at -= 8
        memcpy(&walker.first_sequence, walker.at, 8)
    walker.at -= 4
    memcpy(&count, walker.at, 4)
    count = min(count, walker.records_left)
    if count == 0:
        return False
    walker.gaps = walker.at
    walker.skipped = 0
    walker.record_count = count
    if walker.kind == PROVENANCE_SESSION:
        for count in range(count - 1):
            if not walk_gap(&walker.at, walker.floor, &gap):
                walker.record_count = 0
                return False
            walker.skipped += gap
    walker.records_left -= walker.record_count
    return True


cdef inline uint32_t walk_row(const Walker* walker) noexcept nogil:
    cdef uint32_t row
    memcpy(&row, walker.sender, 4)
    return row
