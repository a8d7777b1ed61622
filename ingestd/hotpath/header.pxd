# The 61-byte header of a Kafka record batch v2, big-endian (Kafka's DefaultRecordBatch):
#   0 base offset i64 (0; the broker's to set) | 8 length i32 of what follows | 12 leader epoch i32 (-1) | 16 magic i8
# (2) |
#   17 crc u32 of all from 21 on | 21 attributes i16 (codec) | 23 last offset delta i32 | 27 base timestamp i64 | 35
# max timestamp i64 |
#   43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 record count i32
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.crc32c cimport crc32c_shift, crc32c_update
from ingestd.hotpath.layout cimport BATCH_HEADER_BYTES


cdef extern from *:
    """
    #define swap_bytes2(value) __builtin_bswap16(value)
    #define swap_bytes4(value) __builtin_bswap32(value)
    #define swap_bytes8(value) __builtin_bswap64(value)
    """
    unsigned short swap_bytes2(unsigned short value) noexcept nogil
    uint32_t swap_bytes4(uint32_t value) noexcept nogil
    uint64_t swap_bytes8(uint64_t value) noexcept nogil


cdef struct BatchHeader:
    uint32_t record_bytes
    uint32_t record_count
    uint32_t codec
    int64_t base_timestamp_ms
    int64_t max_timestamp_ms
    int64_t producer_id
    uint32_t producer_epoch        # 16 bits
    uint32_t base_sequence


cdef inline void put2(unsigned char* place, unsigned short value) noexcept nogil:
    value = swap_bytes2(value)
    memcpy(place, &value, 2)


cdef inline void put4(unsigned char* place, uint32_t value) noexcept nogil:
    value = swap_bytes4(value)
    memcpy(place, &value, 4)


cdef inline void put8(unsigned char* place, uint64_t value) noexcept nogil:
    value = swap_bytes8(value)
    memcpy(place, &value, 8)


# Writes the header in front of the records. `content_crc` is the register over the records that started at
# `content_seed`: Kafka's
# checksum, which started elsewhere, follows from it without a look at the records.
cdef inline void header_write(unsigned char* start, const BatchHeader* header, uint32_t content_seed,
                              uint32_t content_crc) noexcept nogil:
    cdef uint32_t crc
    put8(start, 0)
    put4(start + 8, BATCH_HEADER_BYTES - 12 + header.record_bytes)
    put4(start + 12, 0xFFFFFFFFu)
    start[16] = 2
    put2(start + 21, <unsigned short>header.codec)
    put4(start + 23, header.record_count - 1)
    put8(start + 27, <uint64_t>header.base_timestamp_ms)
    put8(start + 35, <uint64_t>header.max_timestamp_ms)
    put8(start + 43, <uint64_t>header.producer_id)
    put2(start + 51, <unsigned short>header.producer_epoch)
    put4(start + 53, header.base_sequence)
    put4(start + 57, header.record_count)
    crc = crc32c_update(0xFFFFFFFFu, start + 21, BATCH_HEADER_BYTES - 21)
    put4(start + 17, ~(crc32c_shift(content_seed ^ crc, header.record_bytes) ^ content_crc))
