# Encodes records of Kafka's record batch v2 (DefaultRecord.writeTo; docs/kafka.md 10) into the open run of a batch.
#
#   length varint | attributes i8 = 0 | timestampDelta varlong | offsetDelta varint | keyLength varint (-1 null) key | valueLength varint (-1 null)
#   value | headerCount varint | per header: nameLength varint, name, valueLength varint (-1 null), value          (all varints zigzag)
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.unaligned cimport load_u64, store_u64
from ingestd.hotpath.varint cimport varint_bytes, varint_put

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
    uint32_t timestamp_replaced            # 1: it brought one that is out of bounds
    int64_t timestamp_ms                   # INT64_MIN: the record brings none

# The record's own headers, from the native protocol's form.
cdef unsigned char* headers_write(unsigned char* place, const unsigned char* wire, uint32_t count) noexcept nogil


# What the body of `record` takes whatever batch it goes to: all but its own length, timestamp delta and offset delta. Here and not in the
# .pyx, like the writer below: as calls between modules they cost some 3 ns of a record's 40.
cdef inline uint64_t record_fixed_bytes(const Record* record) noexcept nogil:
    cdef uint64_t total = 1 + varint_bytes(<uint64_t>(record.headers_count + record.headers_fixed_count) << 1)
    if record.key != NULL:
        total += varint_bytes(<uint64_t>record.key_bytes << 1) + record.key_bytes
    else:
        total += 1
    if record.value != NULL:
        total += varint_bytes(<uint64_t>record.value_bytes << 1) + record.value_bytes
    else:
        total += 1
    return total + record.headers_bytes + record.headers_fixed_bytes


# Copies a few bytes without the call that memcpy becomes where the length is not known.
cdef inline unsigned char* copy_short(unsigned char* place, const unsigned char* data, uint32_t length) noexcept nogil:
    if 8 <= length <= 16:
        store_u64(place, load_u64(data))
        store_u64(place + length - 8, load_u64(data + length - 8))
    else:
        memcpy(place, data, length)
    return place + length


# Writes `record` at `place`, which has room for it; body_bytes = fixed bytes + both deltas. Returns the address behind it.
cdef inline unsigned char* record_write(unsigned char* place, const Record* record, uint32_t body_bytes, uint64_t timestamp_delta_zigzag,
                                 uint32_t offset_delta) noexcept nogil:
    place = varint_put(place, <uint64_t>body_bytes << 1)
    place[0] = 0
    place = varint_put(place + 1, timestamp_delta_zigzag)
    place = varint_put(place, <uint64_t>offset_delta << 1)
    if record.key != NULL:
        place = varint_put(place, <uint64_t>record.key_bytes << 1)
        place = copy_short(place, record.key, record.key_bytes)
    else:
        place[0] = 1
        place += 1
    if record.value != NULL:
        place = varint_put(place, <uint64_t>record.value_bytes << 1)
        memcpy(place, record.value, record.value_bytes)
        place += record.value_bytes
    else:
        place[0] = 1
        place += 1
    place = varint_put(place, <uint64_t>(record.headers_count + record.headers_fixed_count) << 1)
    if record.headers_count:
        place = headers_write(place, record.headers, record.headers_count)
    if record.headers_fixed_count:
        memcpy(place, record.headers_fixed, record.headers_fixed_bytes)
        place += record.headers_fixed_bytes
    return place
