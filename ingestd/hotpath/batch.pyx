"""The record encoder: Kafka record batch v2 records, written straight to where they will be sent from."""

from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy

from ingestd.hotpath.unaligned cimport load_i32, load_u16
from ingestd.hotpath.varint cimport varint_bytes, varint_put, zigzag


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
