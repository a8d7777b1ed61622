"""The demo's judgement: it must notice every way in which a record can go wrong."""

import pytest

from ingestd.cli.demo_cluster import Arrived, index_of, value_of


def test_a_record_is_known_byte_for_byte() -> None:
    value = value_of("logs", 17)
    assert index_of("logs", value) == 17
    assert index_of("logs", b"device-3\t" + value) == 17
    for wrong in (None, b"", value[:-1], value.replace(b"a line", b"a lime"), value_of("orders", 17), b"x" + value):
        assert index_of("logs", wrong) == -1


def arrived(*indexes: int, count: int = 4) -> Arrived:
    found = Arrived(count)
    for index in indexes:
        found.add(0, b"k", index)
    return found


def test_all_once_in_order_is_exact() -> None:
    found = arrived(0, 1, 2, 3)
    assert found.exact
    assert (found.total, found.per_partition) == (4, [4, 0, 0, 0])


@pytest.mark.parametrize(
    ("indexes", "figures"),
    [
        ((0, 1, 3), (1, 0, 0, 0)),
        ((0, 1, 1, 2, 3), (0, 1, 0, 0)),
        ((0, 1, 2, 3, -1), (0, 0, 1, 0)),
        ((0, 1, 2, 3, 4), (0, 0, 1, 0)),
        ((0, 2, 1, 3), (0, 0, 0, 1)),
        ((1, 1, 1, 2, 3), (1, 2, 0, 0)),
    ],
)
def test_every_fault_is_noticed(indexes: tuple[int, ...], figures: tuple[int, int, int, int]) -> None:
    found = arrived(*indexes)
    assert not found.exact
    assert (found.missing, found.doubled, found.foreign, found.disordered) == figures


def test_order_is_that_of_a_key_in_a_partition() -> None:
    found = Arrived(4)
    for partition, key, index in ((0, b"a", 2), (0, b"b", 0), (1, b"a", 1), (0, b"a", 3)):
        found.add(partition, key, index)
    assert found.exact
