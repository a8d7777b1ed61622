"""The map of free pages against a list of booleans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.pages import PageMap


def lowest(free: list[bool], pages: int) -> int:
    """The obvious search."""
    for first in range(len(free) - pages + 1):
        if all(free[first : first + pages]):
            return first
    return -1


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1), st.integers(1, 200)), max_size=40),
)
def test_the_lowest_run_is_found(size: int, steps: list[tuple[bool, float, float, int]]) -> None:
    pages = PageMap(size)
    free = [True] * size
    for give, start, length, wanted in steps:
        first = int(start * (size - 1))
        count = max(1, int(length * (size - first)))
        pages.mark(first, count, give)
        free[first : first + count] = [give] * count
        assert pages.lowest(wanted) == lowest(free, wanted)
        assert pages.lowest(1) == lowest(free, 1)


def test_five_million_pages_are_searched_without_looking_at_each() -> None:
    pages = PageMap(5_242_880)
    pages.mark(0, 5_242_000, False)
    pages.mark(77, 3, True)
    assert pages.lowest(3) == 77
    assert pages.lowest(4) == 5_242_000
    assert pages.lowest(880) == 5_242_000
    assert pages.lowest(881) == -1


def test_pages_outside_the_map_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        PageMap(100).mark(90, 11, True)
    assert PageMap(100).lowest(101) == -1
    assert PageMap(100).lowest(0) == -1
