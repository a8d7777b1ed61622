# Loads and stores at any address, little-endian hosts only (the arena's header magic tells). memcpy is the one legal way and compiles to a move.
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint16_t load_u16(const unsigned char* place) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, place, 2)
    return value


cdef inline uint32_t load_u32(const unsigned char* place) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, place, 4)
    return value


cdef inline int32_t load_i32(const unsigned char* place) noexcept nogil:
    cdef int32_t value
    memcpy(&value, place, 4)
    return value


cdef inline uint64_t load_u64(const unsigned char* place) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, place, 8)
    return value


cdef inline int64_t load_i64(const unsigned char* place) noexcept nogil:
    cdef int64_t value
    memcpy(&value, place, 8)
    return value


cdef inline void store_u32(unsigned char* place, uint32_t value) noexcept nogil:
    memcpy(place, &value, 4)


cdef inline void store_u64(unsigned char* place, uint64_t value) noexcept nogil:
    memcpy(place, &value, 8)
