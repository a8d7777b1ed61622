"""Codecs of record batches: the one place that imports their libraries.

Each writes the form that Kafka's Java side and librdkafka both read (docs/kafka.md 11): one gzip member, one raw snappy
block, one LZ4 frame with *independent* blocks, one zstd frame. All of them release the interpreter while they work.
"""

import threading
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import cramjam
import deflate
import lz4.frame  # type: ignore[import-untyped]
import zstandard

from ingestd.limits import BATCH_OVERHEAD_BYTES

NONE: Final = 0
GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4
CODECS: Final = {"none": NONE, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
"""By the value of ``compression.type``."""
PLAIN_BYTES_MAX: Final = 256 << 20
"""What a batch of ours may become when decompressed again."""
SMALL_BYTES_MAX: Final = 256
"""Records of a batch up to here, a line of a log or so, gain nothing (``python -m benchmarks.codecs --small``)."""
GZIP_LEVEL: Final = 6
"""What ``compression.gzip.level = -1`` stands for, in Java too."""
LZ4_LEVEL: Final = 9
"""Kafka's name for the fast compressor (``Lz4BlockOutputStream``)."""
_LZ4_HIGH: Final = range(3, 13)
"""The levels of the high-compression coder; the library takes the fast one below, and the highest beyond."""
_GZIP_WINDOW: Final = 31


Compressed = bytes | bytearray | cramjam.Buffer
"""What the libraries give: contiguous bytes."""


class Codec(NamedTuple):
    """A codec's number, as in a batch's attributes, and its level, as in ``compression.<codec>.level`` (else 0)."""

    number: int
    level: int


PLAIN: Final = Codec(NONE, 0)
_DEFAULTS: Final = {GZIP: -1, SNAPPY: 0, LZ4: LZ4_LEVEL, ZSTD: 3}


class _Compressors(threading.local):
    """zstd's, which are reused, by level: one may work for one thread at a time."""

    def __init__(self) -> None:
        self.by_level: dict[int, zstandard.ZstdCompressor] = {}


_zstd_compressors: Final = _Compressors()
_zstd_decompressor = zstandard.ZstdDecompressor()


def default_codec(number: int) -> Codec:
    """The codec of that number at Kafka's default level."""
    return Codec(number, _DEFAULTS[number]) if number else PLAIN


def _gzip(plain: memoryview, level: int) -> Compressed:
    compressed: bytearray = deflate.gzip_compress(plain, GZIP_LEVEL if level == -1 else level)
    return compressed


def _snappy(plain: memoryview, _: int) -> Compressed:
    return cramjam.snappy.compress_raw(plain)


def _lz4(plain: memoryview, level: int) -> Compressed:
    high = 0 if level == LZ4_LEVEL else min(max(level, _LZ4_HIGH.start), _LZ4_HIGH.stop - 1)
    compressed: bytes = lz4.frame.compress(
        plain,
        compression_level=high,
        block_size=lz4.frame.BLOCKSIZE_MAX256KB,
        block_linked=False,
        store_size=False,
    )
    return compressed


def _zstd(plain: memoryview, level: int) -> Compressed:
    compressors = _zstd_compressors.by_level
    compressor = compressors.get(level)
    if compressor is None:
        compressor = compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressor.compress(plain)


_COMPRESSORS: Final[dict[int, Callable[[memoryview, int], Compressed]]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}


def encode(codec: Codec, plain: memoryview) -> Compressed:
    """``plain`` in the form of ``codec``, larger or not. Any thread may call it."""
    return _COMPRESSORS[codec.number](plain, codec.level)


def compress(codec: Codec, plain: memoryview) -> Compressed | None:
    """The records area compressed, or None where that is not smaller (the batch then goes out plain).

    Any thread may call it.
    """
    if len(plain) <= SMALL_BYTES_MAX:
        return None
    compressed = encode(codec, plain)
    return compressed if len(compressed) < len(plain) else None


def worth_compressing(batch: Any, codec: Codec) -> bool:
    """``batch`` is to be compressed with ``codec``, and its size does not speak against it."""
    return bool(
        codec.number != NONE and batch.codec == NONE and batch.size_bytes > BATCH_OVERHEAD_BYTES + SMALL_BYTES_MAX
    )


def compress_batch(arena: Any, batch: Any, codec: Codec) -> Any:
    """Compresses a sealed batch in its arena; returns its snapshot, the old one where it stays plain."""
    if not worth_compressing(batch, codec):
        return batch
    with arena.view(batch.entry) as whole, whole[BATCH_OVERHEAD_BYTES:] as plain:
        payload = compress(codec, plain)
    return put_compressed(arena, batch, codec, payload)


def put_compressed(arena: Any, batch: Any, codec: Codec, payload: Compressed | None) -> Any:
    """Swaps a sealed batch's records for what ``compress`` made of them; returns its snapshot.

    None, or no pages in the arena: it stays plain.
    """
    if payload is not None and arena.compress(batch.entry, payload, codec.number):
        return arena.batch(batch.entry)
    return batch


def decompress(codec: int, payload: bytes | memoryview) -> bytes:
    """The records area of a batch of ours as it was before ``compress``. Raises ValueError for other codecs."""
    if codec == GZIP:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(payload, PLAIN_BYTES_MAX)
    if codec == SNAPPY:
        return bytes(cramjam.snappy.decompress_raw(payload))
    if codec == LZ4:
        plain: bytes = lz4.frame.decompress(payload)
        return plain
    if codec == ZSTD:
        return _zstd_decompressor.decompress(payload, max_output_size=PLAIN_BYTES_MAX)
    if codec == NONE:
        return bytes(payload)
    raise ValueError(f"no codec {codec}")
