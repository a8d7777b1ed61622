"""How long a caller of ``AsyncProducer`` waits. Time is in the loop's hands."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingestd.producer import AsyncProducer
from ingestd.producer.library.async_producer import LATE_S_MAX
from tests.unit.producer.network.test_patience import Loop


class Waiting:
    """A producer that can only wait; ``stir`` is the news that is waited for."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.handover = SimpleNamespace(waiting=0)
        self.producer = AsyncProducer.__new__(AsyncProducer)
        self.producer._loop = self.loop
        self.producer._handover = cast(Any, self.handover)
        self.producer._waiters = []
        self.settled = False

    def stir(self) -> None:
        self.settled = True
        self.producer._stirred()

    def wait(self, seconds: float) -> bool:
        """What comes of it, at ``loop.now_s``."""
        found: list[bool] = []

        async def scenario() -> None:
            found.append(await self.producer._wait(lambda: self.settled, seconds))

        self.loop.play(scenario())
        assert self.handover.waiting == 0
        return found[0]


def test_news_that_a_loop_has_not_read_as_it_stood_still_have_come_in_time() -> None:
    waiting = Waiting()
    waiting.loop.stopped_s = 99.0
    waiting.loop.unread += [lambda: None, waiting.stir]
    assert waiting.wait(10)


@pytest.mark.parametrize("seconds", [0, 10])
def test_a_wait_that_ends_in_time_is_not_made_longer(seconds: float) -> None:
    waiting = Waiting()
    assert not waiting.wait(seconds)
    assert waiting.loop.now_s == pytest.approx(seconds)


def test_a_loop_that_came_late_waits_a_moment_longer() -> None:
    waiting = Waiting()
    waiting.loop.stopped_s = 10.2
    assert not waiting.wait(10)
    assert waiting.loop.now_s == pytest.approx(10.4)
    waiting = Waiting()
    waiting.loop.stopped_s = 99.0
    assert not waiting.wait(10)
    assert waiting.loop.now_s == pytest.approx(99 + LATE_S_MAX)
