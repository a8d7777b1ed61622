"""The record encoder: byte for byte what Kafka's own producers write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.batch import encode_headers
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.record_encoder import PlainRecord, encode_batch
from tests.reference.rig import NOW_MS, Rig, push

T = 1_700_000_000_000
LEADER_EPOCH = slice(12, 16)  # overwritten by the broker and outside of the checksum

# Built alike by several independent clients of Kafka.
G1 = """00000000000000000000003d0000000002e641a44b0000000000000000018bcf
e568000000018bcfe56800ffffffffffffffffffffffffffff00000001160000
00010a68656c6c6f00"""
G2 = """0000000000000000000000650000000002bf8658f30000000000020000018bcf
e568000000018bcfe56ddcffffffffffffffffffffffffffff000000032c0000
00046b3104763106046831027804683100026e010c0009020000002a00b81704
046b33010210d0bad0bbd18ed1870400ff"""
G3 = """00000000000000000000004400000000026a87084f0000000000010000018bcf
e568000000018bcfe56801000000000000109200030000006400000002100000
00026102310012000202026204323200"""
G4 = """000000000000000000000088000000000299dc93680000000000010000018bcf
e568000000018bcfe5680000200000000000017fff7fffffff000000020e0000
00010278009a01000002018c0179797979797979797979797979797979797979
7979797979797979797979797979797979797979797979797979797979797979
7979797979797979797979797979797979797900"""
G5 = """00000000000000000000004400000000029bae6d9c0000000000010000018bcf
e568000000018bcfe56801000000000000109200030000000000000002100000
00026102310012000202026204323200"""

TWO = [WireRecord(b"1", b"a", 0, T), WireRecord(b"22", b"b", 0, T + 1)]
GOLDEN = {
    "G1": (G1, (-1, -1, -1), [WireRecord(b"hello", None, 0, T)]),
    "G2": (
        G2,
        (-1, -1, -1),
        [
            WireRecord(b"v1", b"k1", 0, T, ((b"h1", b"x"), (b"h1", b""), (b"n", None))),
            WireRecord(b"", b"", 0, T - 5),
            WireRecord(None, b"k3", 0, T + 1500, (("ключ".encode(), b"\x00\xff"),)),
        ],
    ),
    "G3": (G3, (4242, 3, 100), TWO),
    "G4": (G4, (2**53 + 1, 32767, 2**31 - 1), [WireRecord(b"x", None, 0, T), WireRecord(b"y" * 70, None, 0, T)]),
    "G5": (G5, (4242, 3, 0), TWO),
}


def batch_bytes(rig: Rig, stamp: tuple[int, int, int]) -> bytes:
    """The one batch that the rig holds, stamped."""
    rig.intake.seal_all()
    (batch,) = rig.arena.take_sealed()
    rig.arena.stamp(batch.entry, *stamp, 0, NOW_MS)
    with rig.arena.view(batch.entry) as view:
        found = bytearray(view)
    found[LEADER_EPOCH] = bytes(4)
    return bytes(found)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_batches(name: str) -> None:
    expected, stamp, records = GOLDEN[name]
    rig = Rig()
    push(rig.stream("frames"), records_frame(records, topic=b"t0"))
    assert batch_bytes(rig, stamp).hex() == expected.replace("\n", "")


small = st.binary(max_size=80)
some_bytes = small | st.integers(0, 3_000).map(lambda size: b"z" * size)
header = st.tuples(st.text(max_size=20).map(str.encode), st.none() | small)
plain = st.builds(
    PlainRecord,
    st.integers(T - 86_400_000 * 7, T + 3_000_000),
    st.none() | small,
    st.none() | some_bytes,
    st.lists(header, max_size=5).map(tuple),
)


@given(st.lists(plain, min_size=1, max_size=12), st.lists(header, max_size=3))
def test_as_the_slow_encoder(records: list[PlainRecord], fixed: list[tuple[bytes, bytes | None]]) -> None:
    rig = Rig(batch_bytes=1 << 20)
    blob = encode_headers([(name.decode(), value) for name, value in fixed])
    stream = rig.stream("frames", headers=blob, header_count=len(fixed))
    wire = [WireRecord(item.value, item.key, 0, item.timestamp_ms, item.headers) for item in records]
    # One partition, so one batch unless its predicted run fills: let the prediction grow first.
    for _ in range(7):
        push(stream, records_frame([WireRecord(b"w" * 300_000, None, 0)], topic=b"t0"))
    rig.drain()
    push(stream, records_frame(wire, topic=b"t0"))
    expected = [item._replace(headers=(*item.headers, *fixed)) for item in records]
    assert batch_bytes(rig, (9, 1, 5)) == encode_batch(expected, 9, 1, 5)
