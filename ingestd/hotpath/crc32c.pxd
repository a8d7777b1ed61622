# CRC-32C on the bare register (no inversion); see crc32c.h.
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "crc32c.h" nogil:
    uint32_t crc32c_update(uint32_t register, const unsigned char* bytes, size_t length) noexcept
    uint32_t crc32c_update_lanes(uint32_t register, const unsigned char* bytes, size_t length) noexcept
    uint32_t crc32c_update_table(uint32_t register, const unsigned char* bytes, size_t length) noexcept
    uint32_t crc32c_shift(uint32_t register, uint64_t length) noexcept
