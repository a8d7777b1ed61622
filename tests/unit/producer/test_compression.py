"""Codecs: forms that Kafka's Java side takes, judged by other libraries than those that wrote them, and back again."""

import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.producer.compression import (
    CODECS,
    GZIP,
    LZ4,
    PLAIN,
    SMALL_BYTES_MAX,
    SNAPPY,
    ZSTD,
    Codec,
    compress,
    decompress,
    default_codec,
)
from tests.reference.lz4_slow import lz4_frame_blocks
from tests.reference.snappy_slow import snappy_block

TEXT = b"the quick brown fox jumps over the lazy dog " * 8000
LEVELS = [
    *(Codec(GZIP, level) for level in (-1, 1, 6, 9)),
    Codec(SNAPPY, 0),
    *(Codec(LZ4, level) for level in (1, 9, 10, 17)),
    *(Codec(ZSTD, level) for level in (-131072, 1, 3, 22)),
]
DEFAULTS = [default_codec(number) for number in (GZIP, SNAPPY, LZ4, ZSTD)]


def compressed(codec: Codec, plain: bytes) -> bytes:
    """The payload, which must be smaller."""
    payload = compress(codec, memoryview(plain))
    assert payload is not None
    assert len(payload) < len(plain)
    return bytes(payload)


def lines(count: int, seed: int) -> bytes:
    """Text as logs have it: repeated words, and numbers that do not compress."""
    random = Random(seed)
    words = ("GET", "POST", "/orders", "/users", "timeout", "refused", "upstream")
    return b"".join(
        b"%08x %s\n" % (random.getrandbits(32), " ".join(random.choices(words, k=6)).encode()) for _ in range(count)
    )


@pytest.mark.parametrize("codec", LEVELS, ids=str)
@given(data=st.binary(max_size=4000), times=st.integers(1, 40))
def test_what_is_compressed_comes_back(codec: Codec, data: bytes, times: int) -> None:
    plain = data * times
    payload = compress(codec, memoryview(plain))
    if payload is not None:
        assert len(payload) < len(plain)
        assert decompress(codec.number, memoryview(payload)) == plain
    else:
        assert times == 1 or len(plain) <= 1000 or codec.level == -131072


@pytest.mark.parametrize("size", [1, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 65_536, 65_537, 1 << 20, 4 << 20])
@pytest.mark.parametrize("codec", DEFAULTS, ids=str)
def test_every_size_comes_back(codec: Codec, size: int, seed: int) -> None:
    plain = lines(size // 20 + 1, seed)[:size]
    payload = compress(codec, memoryview(plain))
    if size <= SMALL_BYTES_MAX:
        assert payload is None, "one or two records gain nothing"
    elif size > 1000:
        assert payload is not None
        assert decompress(codec.number, memoryview(payload)) == plain


@pytest.mark.parametrize("size", [1, 300, 4096, 131_072])
@pytest.mark.parametrize("codec", LEVELS, ids=str)
def test_what_does_not_shrink_is_left(codec: Codec, size: int, seed: int) -> None:
    assert compress(codec, memoryview(Random(seed).randbytes(size))) is None


@pytest.mark.parametrize("codec", DEFAULTS, ids=str)
def test_the_largest_that_does_not_shrink_is_left(codec: Codec, seed: int) -> None:
    assert compress(codec, memoryview(Random(seed).randbytes(4 << 20))) is None


def test_levels_have_their_effect(seed: int) -> None:
    plain = lines(5000, seed)

    def size(number: int, level: int) -> int:
        return len(compressed(Codec(number, level), plain))

    assert size(GZIP, 9) < size(GZIP, -1) < size(GZIP, 1)
    assert size(GZIP, -1) == size(GZIP, 6)
    assert size(LZ4, 12) <= size(LZ4, 10) < size(LZ4, 1) < size(LZ4, 9), "9 is Kafka's word for the fast one"
    assert size(LZ4, 17) == size(LZ4, 12), "the library's highest"
    assert size(ZSTD, 19) < size(ZSTD, 3) < size(ZSTD, -50)


@pytest.mark.parametrize("level", [-1, 1, 9])
def test_gzip_is_one_member_without_a_time(level: int, seed: int) -> None:
    plain = lines(3000, seed)
    payload = compressed(Codec(GZIP, level), plain)
    assert payload[:8] == bytes.fromhex("1f8b0800 00000000"), "deflate, no name, no time"
    one = zlib.decompressobj(31)
    assert one.decompress(payload) == plain
    assert (one.eof, one.unused_data) == (True, b"")


def test_snappy_is_one_raw_block(seed: int) -> None:
    plain = lines(5000, seed)
    payload = compressed(default_codec(SNAPPY), plain)
    assert payload[:4] not in (b"\x82SNA", b"\xff\x06\x00\x00"), "neither xerial nor snappy's own framing"
    assert snappy_block(payload) == plain


@pytest.mark.parametrize("level", [9, 1, 12])
def test_lz4_is_one_frame_of_independent_blocks_beyond_64_kib(level: int, seed: int) -> None:
    plain = lines(20_000, seed)
    assert len(plain) > 2 * 256 << 10
    payload = compressed(Codec(LZ4, level), plain)
    blocks, rest = lz4_frame_blocks(payload)
    assert b"".join(blocks) == plain
    assert len(blocks) > 2
    assert rest == b"", "nothing behind the end mark"


def test_zstd_is_one_frame() -> None:
    payload = compressed(default_codec(ZSTD), TEXT)
    assert payload.count(bytes.fromhex("28b52ffd")) == 1


@pytest.mark.parametrize(
    ("number", "payload"),
    [
        (GZIP, "1f8b08000000000000ff010c00f3ff16000000010a68656c6c6f003ea907970c000000"),
        (SNAPPY, "0c2c16000000010a68656c6c6f00"),
        (LZ4, "04224d186040820c00008016000000010a68656c6c6f0000000000"),
        (ZSTD, "28b52ffd200c61000016000000010a68656c6c6f00"),
    ],
)
def test_what_others_wrote_is_read(number: int, payload: str) -> None:
    """Kafka's golden payloads of one record."""
    assert decompress(number, bytes.fromhex(payload)) == bytes.fromhex("16000000010a68656c6c6f00")


def test_plain_is_plain() -> None:
    assert decompress(CODECS["none"], b"abc") == b"abc"
    assert default_codec(0) is PLAIN
    with pytest.raises(ValueError, match="no codec 9"):
        decompress(9, b"")
