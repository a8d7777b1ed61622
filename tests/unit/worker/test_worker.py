"""What a worker makes of the supervisor's word."""

import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingestd.config.plan import WorkerPlan
from ingestd.scoreboard import Pressure
from ingestd.worker.status import StatusPipe
from ingestd.worker.worker import Worker, pressure_in_force


@pytest.mark.parametrize("memory", Pressure)
def test_the_arenas_share_counts_only_while_it_is_short_for_everybody(memory: Pressure) -> None:
    given = max(memory, Pressure.PAUSE)
    assert pressure_in_force(given, memory, emptied=False, holds_back=False) is given
    assert pressure_in_force(given, memory, emptied=True, holds_back=False) is memory
    # The arena stays above the threshold for as long as a sick partition has its part of it.
    assert pressure_in_force(given, memory, emptied=False, holds_back=True) is memory


@pytest.mark.parametrize(
    ("seen", "hurries"),
    [
        ((signal.SIGTERM,), False),
        # Its supervisor's, and that of somebody who tells the whole group.
        ((signal.SIGTERM, signal.SIGTERM), False),
        ((signal.SIGTERM, signal.SIGUSR1), True),
        ((signal.SIGUSR1, signal.SIGTERM), True),
        ((signal.SIGUSR1,), True),
    ],
)
def test_a_worker_drains_for_either_signal_and_hurries_for_one(
    seen: tuple[signal.Signals, ...], *, hurries: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(cast(WorkerPlan, None), StatusPipe(-1))
    handlers: dict[signal.Signals, Any] = {}
    drains: list[bool] = []

    async def drain() -> None:
        drains.append(worker._hurry)

    def pending(_row: object) -> None:
        for number in seen:
            handlers[number]()

    monkeypatch.setattr("gc.freeze", lambda: None)
    loop = SimpleNamespace(add_signal_handler=handlers.__setitem__)
    vars(worker).update(_loop=loop, _doors=SimpleNamespace(open=pending), _row=None, _beat=lambda: None, _drain=drain)
    with pytest.raises(StopIteration):
        worker._serve().send(None)
    assert drains == [hurries]
    # One that is told to drain already would be killed by the signal that may follow.
    assert list(handlers) == [signal.SIGUSR1, signal.SIGTERM]
