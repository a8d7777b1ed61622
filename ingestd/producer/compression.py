"""Codecs of record batches: the one place that imports them.

Kafka's Java side takes one LZ4 frame with *independent* blocks, or one zstd frame (docs/kafka.md 11).
"""

from collections.abc import Callable
from typing import Any, Final

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from ingestd.limits import BATCH_OVERHEAD_BYTES

NONE: Final = 0
LZ4: Final = 3
ZSTD: Final = 4
CODECS: Final = {"none": NONE, "lz4": LZ4, "zstd": ZSTD}
"""By the value of ``compression.type``."""
ZSTD_LEVEL: Final = 3
PLAIN_BYTES_MAX: Final = 256 << 20
"""What a batch of ours may become when decompressed again."""

_zstd_compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
_zstd_decompressor = zstandard.ZstdDecompressor()


def _lz4(plain: memoryview) -> bytes:
    compressed: bytes = lz4.frame.compress(plain, block_linked=False, store_size=False)
    return compressed


def _zstd(plain: memoryview) -> bytes:
    return _zstd_compressor.compress(plain)


_COMPRESSORS: Final[dict[int, Callable[[memoryview], bytes]]] = {LZ4: _lz4, ZSTD: _zstd}


def compress(codec: int, plain: memoryview) -> bytes | None:
    """The records area compressed, or None where that is not smaller (the batch then goes out plain)."""
    compressed = _COMPRESSORS[codec](plain)
    return compressed if len(compressed) < len(plain) else None


def compress_batch(arena: Any, batch: Any, codec: int) -> Any:
    """Compresses a sealed batch in its arena; returns its snapshot, the old one where it stays plain."""
    if codec == NONE or batch.codec != NONE:
        return batch
    with arena.view(batch.entry) as whole, whole[BATCH_OVERHEAD_BYTES:] as plain:
        payload = compress(codec, plain)
    if payload is not None and arena.compress(batch.entry, payload, codec):
        return arena.batch(batch.entry)
    return batch


def decompress(codec: int, payload: bytes | memoryview) -> bytes:
    """The records area of a batch of ours as it was before ``compress``. Raises ValueError for other codecs."""
    if codec == LZ4:
        plain: bytes = lz4.frame.decompress(payload)
        return plain
    if codec == ZSTD:
        return _zstd_decompressor.decompress(payload, max_output_size=PLAIN_BYTES_MAX)
    if codec == NONE:
        return bytes(payload)
    raise ValueError(f"no codec {codec}")
