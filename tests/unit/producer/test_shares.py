from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingestd.producer import shares
from ingestd.producer.shares import REVIEW_MS, Shares


class Budget:
    """Nothing is held or released."""

    held: frozenset[Any] = frozenset()

    def review(self, _keys: object, _level: float) -> tuple[list[Any], list[Any]]:
        return [], []


class Loop:
    """Keeps what is to be called, and in how many ms."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Any, tuple[Any, ...]]] = []

    def call_later(self, seconds: float, function: Any, *arguments: Any) -> None:
        self.calls.append((round(seconds * 1000), function, arguments))


@pytest.mark.parametrize(("cpu_ms", "pause_ms"), [(0, REVIEW_MS), (3, 150)])
def test_a_look_that_costs_much_is_repeated_less_often(
    cpu_ms: int, pause_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the wall clock says: a look may have been interrupted by others."""
    times = iter((0, cpu_ms * 1_000_000))
    monkeypatch.setattr(shares, "time", SimpleNamespace(thread_time_ns=lambda: next(times)))
    full = SimpleNamespace(arena=SimpleNamespace(level=0.9), level=0.0, budget=Budget(), keys={}, intake=object())
    loop = Loop()
    looking = Shares(cast(Any, {1: full}), None, lambda: None, cast(Any, loop))
    looking.look()
    delay_ms, review, arguments = loop.calls.pop()
    assert delay_ms == REVIEW_MS
    review(*arguments)
    assert [delay_ms for delay_ms, _, _ in loop.calls] == [pause_ms]
