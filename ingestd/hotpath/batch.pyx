"""The record encoder: Kafka record batch v2 records, written straight to where they will be sent from."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.unaligned cimport load_i32, load_u16
from ingestd.hotpath.varint cimport varint_bytes, varint_put, zigzag


cdef uint64_t record_fixed_bytes(const Record* record) noexcept nogil:
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


cdef unsigned char* record_write(unsigned char* place, const Record* record, uint32_t body_bytes, uint64_t timestamp_delta_zigzag,
                                 uint32_t offset_delta) noexcept nogil:
    place = varint_put(place, <uint64_t>body_bytes << 1)
    place[0] = 0
    place = varint_put(place + 1, timestamp_delta_zigzag)
    place = varint_put(place, <uint64_t>offset_delta << 1)
    if record.key != NULL:
        place = varint_put(place, <uint64_t>record.key_bytes << 1)
        memcpy(place, record.key, record.key_bytes)
        place += record.key_bytes
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


# The record's own headers come first, the listener's last: a consumer's lastHeader() then sees what the operator set.
cdef unsigned char* headers_write(unsigned char* place, const unsigned char* wire, uint32_t count) noexcept nogil:
    cdef uint32_t name_bytes
    cdef int32_t value_bytes
    while count:
        count -= 1
        name_bytes = load_u16(wire)
        wire += 2
        place = varint_put(place, <uint64_t>name_bytes << 1)
        memcpy(place, wire, name_bytes)
        place += name_bytes
        wire += name_bytes
        value_bytes = load_i32(wire)
        wire += 4
        place = varint_put(place, zigzag(value_bytes))
        if value_bytes > 0:
            memcpy(place, wire, <uint32_t>value_bytes)
            place += value_bytes
            wire += value_bytes
    return place


def encode_headers(headers) -> bytes:
    """Kafka's encoding of `headers`, (name: str, value: bytes or None) pairs, as `ListenerSpec.headers` wants it."""
    out = bytearray()
    for name, value in headers:
        encoded = name.encode()
        _append_varint(out, len(encoded))
        out += encoded
        if value is None:
            _append_varint(out, -1)
        else:
            _append_varint(out, len(value))
            out += value
    return bytes(out)


cdef _append_varint(out: bytearray, int value):
    cdef unsigned char place[10]
    cdef unsigned char* end = varint_put(place, zigzag(value))
    out += place[:end - place]
