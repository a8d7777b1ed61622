"""Codecs: forms that Kafka's Java side takes, and back again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.producer.compression import CODECS, LZ4, ZSTD, compress, decompress

TEXT = b"the quick brown fox jumps over the lazy dog " * 8000


@pytest.mark.parametrize("codec", [LZ4, ZSTD])
@given(data=st.binary(max_size=4000), times=st.integers(1, 40))
def test_what_is_compressed_comes_back(codec: int, data: bytes, times: int) -> None:
    plain = data * times
    compressed = compress(codec, memoryview(plain))
    if compressed is None:
        assert len(plain) < 100_000
    else:
        assert len(compressed) < len(plain)
        assert decompress(codec, compressed) == plain


def test_lz4_blocks_are_independent_beyond_64_kib() -> None:
    compressed = compress(LZ4, memoryview(TEXT))
    assert compressed is not None
    assert compressed[:4] == bytes.fromhex("04224d18")
    assert compressed[4] & 0x20, "linked blocks are refused by Java"
    assert decompress(LZ4, compressed) == TEXT


def test_zstd_is_one_frame() -> None:
    compressed = compress(ZSTD, memoryview(TEXT))
    assert compressed is not None
    assert compressed.count(bytes.fromhex("28b52ffd")) == 1


@pytest.mark.parametrize("codec", [LZ4, ZSTD])
def test_what_does_not_shrink_is_left(codec: int) -> None:
    assert compress(codec, memoryview(b"q")) is None


def test_plain_is_plain() -> None:
    assert decompress(CODECS["none"], b"abc") == b"abc"
    with pytest.raises(ValueError, match="no codec 9"):
        decompress(9, b"")
