"""What a worker makes of the supervisor's word."""

import pytest

from ingestd.scoreboard import Pressure
from ingestd.worker.worker import pressure_in_force


@pytest.mark.parametrize("memory", Pressure)
def test_the_arenas_share_counts_only_while_it_is_short_for_everybody(memory: Pressure) -> None:
    given = max(memory, Pressure.PAUSE)
    assert pressure_in_force(given, memory, emptied=False, holds_back=False) is given
    assert pressure_in_force(given, memory, emptied=True, holds_back=False) is memory
    # The arena stays above the threshold for as long as a sick partition has its part of it.
    assert pressure_in_force(given, memory, emptied=False, holds_back=True) is memory
