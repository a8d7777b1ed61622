"""CRC-32C: known values of the Castagnoli polynomial, and the slow reference for everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.crc32c import crc32c, crc32c_combine, crc32c_lanes, crc32c_portable
from tests.reference import crc32c_slow

# Every loop of the fast ones: bytes, words, three short lanes, three long lanes, folds of 256; and what is left behind.
LENGTHS = [0, 1, 7, 8, 9, 383, 384, 392, 511, 512, 513, 767, 768, 775, 1024, 3071, 3072, 3073, 3456, 6144, 10001]


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"", 0)],
)
def test_known_values(data: bytes, value: int) -> None:
    assert crc32c(data) == crc32c_lanes(data) == crc32c_portable(data) == value


@pytest.mark.parametrize("length", LENGTHS)
def test_folds_instruction_and_tables_agree_with_the_reference(length: int) -> None:
    data = bytes((index * 197 + index // 256) & 255 for index in range(length))
    assert crc32c(data) == crc32c_lanes(data) == crc32c_portable(data) == crc32c_slow.crc32c(data)


@given(st.binary(min_size=500, max_size=1600), st.integers(0, 63), st.integers(0, 0xFFFFFFFF))
def test_where_the_bytes_stand_and_what_went_before_make_no_difference(data: bytes, offset: int, value: int) -> None:
    placed = memoryview(bytes(offset) + data)[offset:]
    assert crc32c(placed, value) == crc32c_lanes(placed, value) == crc32c_portable(data, value)


@given(st.binary(max_size=500), st.binary(max_size=500))
def test_going_on_and_combining_are_the_checksum_of_the_whole(first: bytes, second: bytes) -> None:
    whole = crc32c_slow.crc32c(first + second)
    assert crc32c(second, crc32c(first)) == whole
    assert crc32c_lanes(second, crc32c_lanes(first)) == crc32c_portable(second, crc32c_portable(first)) == whole
    assert crc32c_combine(crc32c(first), crc32c(second), len(second)) == whole


def test_combining_over_a_megabyte() -> None:
    second = bytes(range(256)) * 4096
    assert crc32c_combine(crc32c(b"first"), crc32c(second), len(second)) == crc32c(b"first" + second)
