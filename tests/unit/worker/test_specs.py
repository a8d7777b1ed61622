"""From the configuration to the record path's numbers."""

from hypothesis import given
from hypothesis import strategies as st

from ingestd.worker.specs import encode_headers, varint


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_varints_are_zigzag(value: int) -> None:
    decoded = shift = 0
    for byte in varint(value):
        decoded |= (byte & 0x7F) << shift
        shift += 7
    assert (decoded >> 1) ^ -(decoded & 1) == value


def test_headers_are_kafkas() -> None:
    assert encode_headers([("host", b"gw-7"), ("empty", b"")]) == b"\x08host\x08gw-7\x0aempty\x00"
    assert encode_headers([]) == b""
