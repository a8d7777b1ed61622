"""Hysteresis of the pressure cell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.scoreboard import Pressure
from ingestd.supervisor.pressure import Thresholds, arena_level, memory_level, next_pressure

THRESHOLDS = Thresholds(high=0.9, low=0.7)
LEVELS = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("now", "level", "then"),
    [
        (Pressure.RUN, 0.89, Pressure.RUN),
        (Pressure.RUN, 0.9, Pressure.PAUSE),
        (Pressure.RUN, 0.96, Pressure.SHED),
        (Pressure.PAUSE, 0.75, Pressure.PAUSE),
        (Pressure.PAUSE, 0.69, Pressure.RUN),
        (Pressure.SHED, 0.92, Pressure.SHED),
        (Pressure.SHED, 0.89, Pressure.PAUSE),
        (Pressure.SHED, 0.1, Pressure.RUN),
    ],
)
def test_steps(now: Pressure, level: float, then: Pressure) -> None:
    assert next_pressure(now, level, THRESHOLDS) is then


@given(st.sampled_from(Pressure), LEVELS)
def test_the_same_level_twice_changes_nothing(now: Pressure, level: float) -> None:
    once = next_pressure(now, level, THRESHOLDS)
    assert next_pressure(once, level, THRESHOLDS) is once


@given(st.sampled_from(Pressure), LEVELS, LEVELS)
def test_a_higher_level_never_means_less_pressure(now: Pressure, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert next_pressure(now, low, THRESHOLDS) <= next_pressure(now, high, THRESHOLDS)


def test_an_arena_that_was_never_published_is_empty() -> None:
    assert arena_level(0, 0) == 0.0
    assert arena_level(25, 100) == 0.75


def test_the_nearer_end_of_memory_counts() -> None:
    assert memory_level(60, 100, 0, 0) == pytest.approx(0.4)
    assert memory_level(60, 100, 10, 9) == pytest.approx(0.9)
    assert memory_level(5, 100, 10, 1) == pytest.approx(0.95)
