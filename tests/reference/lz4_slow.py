"""LZ4 frames read by their specification (lz4_Frame_format.md, lz4_Block_format.md): slow and obvious.

Strict as Kafka's ``Lz4BlockInputStream``: one frame, each block by itself. A match that reaches into an earlier block
is an error, so linked blocks are found out.
"""

MAGIC = bytes.fromhex("04224d18")
END_MARK = bytes(4)


def lz4_frame_blocks(frame: bytes) -> tuple[list[bytes], bytes]:
    """The plain blocks of the frame at the beginning of ``frame``, and what stands behind it. AssertionError."""
    assert frame[:4] == MAGIC
    flags, block_descriptor = frame[4], frame[5]
    assert flags >> 6 == 1, "version"
    assert flags & 0x20, "blocks must be independent"
    assert not flags & 0x1F, "no checksums, no content size, no dictionary"
    block_bytes_max = 1 << (8 + 2 * (block_descriptor >> 4 & 7))
    at = 7
    blocks = []
    while frame[at : at + 4] != END_MARK:
        word = int.from_bytes(frame[at : at + 4], "little")
        data = frame[at + 4 : at + 4 + (word & 0x7FFFFFFF)]
        blocks.append(data if word >> 31 else lz4_block(data))
        assert len(blocks[-1]) <= block_bytes_max
        at += 4 + len(data)
    return blocks, frame[at + 4 :]


def _length(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    if nibble == 15:
        while data[at] == 255:
            nibble += 255
            at += 1
        nibble += data[at]
        at += 1
    return nibble, at


def lz4_block(data: bytes) -> bytes:
    """One compressed block."""
    plain = bytearray()
    at = 0
    while True:
        token = data[at]
        literals, at = _length(data, at + 1, token >> 4)
        plain += data[at : at + literals]
        at += literals
        if at == len(data):
            return bytes(plain)
        offset = int.from_bytes(data[at : at + 2], "little")
        assert 0 < offset <= len(plain), "a match outside of its block"
        match, at = _length(data, at + 2, token & 15)
        copy(plain, offset, match + 4)


def copy(plain: bytearray, offset: int, length: int) -> None:
    """Appends ``length`` bytes from ``offset`` back, which may run into what is being appended."""
    piece = bytes(plain[-offset:])
    plain += (piece * (length // offset + 1))[:length]
