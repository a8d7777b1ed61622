# Encodes records of Kafka's record batch v2 (producer contract, 4.3) into the open run of a batch.
#
#   length varint | attributes i8 = 0 | timestampDelta varlong | offsetDelta varint | keyLength varint (-1 null) key | valueLength varint (-1 null)
#   value | headerCount varint | per header: nameLength varint, name, valueLength varint (-1 null), value          (all varints zigzag)
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef struct Record:                        # one record as a format found it; points into the read window, the ring, or held bytes
    const unsigned char* key               # NULL: no key (which is not an empty one)
    const unsigned char* value             # NULL: tombstone
    const unsigned char* headers           # the record's own headers as the native protocol writes them, already checked
    const unsigned char* headers_fixed     # the listener's headers, already encoded for Kafka
    uint32_t key_bytes
    uint32_t value_bytes
    uint32_t headers_count                 # own
    uint32_t headers_bytes                 # own, as they will be encoded for Kafka
    uint32_t headers_fixed_count
    uint32_t headers_fixed_bytes
    int32_t partition                      # -1: choose
    int64_t timestamp_ms                   # INT64_MIN: the record brings none

# What the body of `record` takes whatever batch it goes to: all but its own length, timestamp delta and offset delta.
cdef uint64_t record_fixed_bytes(const Record* record) noexcept nogil
# Writes `record` at `place`, which has room for it; body_bytes = fixed bytes + both deltas. Returns the address behind it.
cdef unsigned char* record_write(unsigned char* place, const Record* record, uint32_t body_bytes, uint64_t timestamp_delta_zigzag,
                                 uint32_t offset_delta) noexcept nogil
