"""Figures for people."""

import pytest

from ingestd.admin.text import bytes_text, duration_text, table


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1_016, "1016 bytes"),
        (1_024_000, "1000 KiB"),
        (1_048_575, "1024 KiB"),
        (67_108_864, "64 MiB"),
        (105_000_000, "100 MiB"),
        (5_368_709, "5.12 MiB"),
        (1 << 34, "16 GiB"),
        (1 << 45, "32 TiB"),
    ],
)
def test_sizes_have_binary_units(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (59_999, "59s"),
        (60_000, "1min"),
        (90_061_000, "1d 1h"),
        (3_605_000, "1h"),
        (3_660_000, "1h 1min"),
    ],
)
def test_durations_have_their_two_largest_units(duration_ms: int, text: str) -> None:
    assert duration_text(duration_ms) == text


def test_columns_are_aligned() -> None:
    assert table([("a", "n"), ("long", "5"), ("b", "1000")]) == "a        n\nlong     5\nb     1000"
