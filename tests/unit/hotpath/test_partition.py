"""Partition by key as in Kafka's Java producer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.partition import murmur2, partition_for_key
from tests.reference.record_encoder import murmur2 as murmur2_slow

COUNTS = (3, 6, 10, 12, 100)
# What Kafka's Utils.murmur2 itself puts out.
VECTORS = [
    (b"", 0x106E08D9, (0, 3, 1, 9, 81)),
    (b"a", 0xA2D0B27C, (1, 4, 4, 4, 24)),
    (b"ab", 0x12D8262A, (2, 2, 4, 2, 34)),
    (b"abc", 0x1C94221B, (0, 3, 7, 3, 7)),
    (b"abcd", 0xB11AB5F4, (2, 2, 0, 8, 0)),
    (b"21", 0xC5F2F8EC, (0, 0, 0, 0, 40)),
    (b"foobar", 0xD0E47BBE, (0, 0, 6, 6, 66)),
    (b"a-little-bit-long-string", 0xC53B1DA0, (2, 2, 2, 8, 12)),
    (b"a-little-bit-longer-string", 0xA768C9C3, (2, 5, 9, 11, 19)),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 0xFC7D49CD, (2, 5, 7, 5, 77)),
    (b"\0", 0x166197BC, (2, 2, 8, 8, 88)),
    (b"\xff" * 5, 0xEA504362, (0, 0, 6, 6, 26)),
    (bytes.fromhex("80818283848586"), 0xFD2567EA, (1, 4, 4, 10, 34)),
    (bytes(range(256)), 0x8BDE9476, (1, 4, 4, 10, 74)),
    ("clé-ключ-鍵".encode(), 0x06F18DBF, (0, 3, 9, 3, 59)),
    (b"user-42", 0x5700682C, (1, 4, 0, 4, 60)),
]


@pytest.mark.parametrize(("key", "expected", "partitions"), VECTORS)
def test_golden_vectors(key: bytes, expected: int, partitions: tuple[int, ...]) -> None:
    assert murmur2(key) == expected
    assert tuple(partition_for_key(key, count) for count in COUNTS) == partitions


@given(st.binary(max_size=300), st.integers(1, 2**31 - 1))
def test_as_the_slow_one(key: bytes, count: int) -> None:
    assert murmur2(key) == murmur2_slow(key)
    assert partition_for_key(key, count) == (murmur2_slow(key) & 0x7FFFFFFF) % count


@pytest.mark.parametrize("count", [0, -1])
def test_a_topic_has_partitions(count: int) -> None:
    with pytest.raises(ValueError, match="at least one partition"):
        partition_for_key(b"k", count)
