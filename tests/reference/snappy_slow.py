"""A raw snappy block read by its specification (snappy's format_description.txt): slow and obvious."""

from tests.reference.lz4_slow import copy


def snappy_block(block: bytes) -> bytes:
    """The plain bytes; AssertionError where the block is not one as a whole."""
    size = shift = at = 0
    while True:
        byte = block[at]
        size |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            break
    plain = bytearray()
    while at < len(block):
        tag, kind = block[at], block[at] & 3
        at += 1
        if kind == 0:
            length = (tag >> 2) + 1
            if length > 60:
                extra = length - 60
                length = int.from_bytes(block[at : at + extra], "little") + 1
                at += extra
            plain += block[at : at + length]
            at += length
            continue
        if kind == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | block[at]
            at += 1
        else:
            width = 2 if kind == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(block[at : at + width], "little")
            at += width
        assert 0 < offset <= len(plain)
        copy(plain, offset, length)
    assert len(plain) == size
    return bytes(plain)
