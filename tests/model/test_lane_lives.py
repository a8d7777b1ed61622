"""Lanes and recovery together, against all that a broker may do, over the deaths of many processes."""

from dataclasses import replace

import pytest

from tests.model.lane_life import Life, Trouble

LIMITS = (1, 3, 7)
ALL = Trouble(limits=LIMITS, refusals=True, repairs=True)
TROUBLES = {
    "deaths": Trouble(),
    "a limit that changes": Trouble(limits=LIMITS),
    "a limit that changes, without deaths": Trouble(limits=LIMITS, deaths=0),
    "refusals": ALL,
    "refusals that pass": Trouble(passing=0.1),
    "refusals that pass, and a limit that changes": Trouble(passing=0.1, limits=LIMITS),
    "few retries": Trouble(limits=LIMITS, retries_max=2),
    "the last epoch": replace(ALL, first_epoch=32766),
    "memory that does not last": replace(ALL, forgetful=True),
    "some without idempotence": replace(ALL, toggling=True, first_epoch=32766),
}


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", TROUBLES)
def test_nothing_is_lost_and_nothing_is_there_twice_untold(name: str, seed: int) -> None:
    life = Life(seed, 40, TROUBLES[name])
    life.run()
    life.judge()
