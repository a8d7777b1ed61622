"""Time limits of a process that is stopped meanwhile. Time is in the loop's hands."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ingestd.producer.network.patience import LAST_LOOK_MS, time_limit


class Loop(asyncio.SelectorEventLoop):
    """Waits for nothing: where it would, its time goes on.

    ``stopped_s``: it comes back from its next wait so much later and without events, as after a stop of the process;
    ``unread`` is what it finds in the wait behind that.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.stopped_s = 0.0
        self.unread: list[Callable[[], object]] = []
        selector: Any = selectors.SelectSelector()
        selector.select = self._select
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s

    def _select(self, timeout: float | None) -> list[Any]:
        if self.stopped_s:
            if timeout != 0:
                self.now_s += self.stopped_s
                self.stopped_s = 0.0
        elif self.unread:
            self.unread.pop(0)()
        else:
            assert timeout is not None, "nothing will ever happen"
            self.now_s += timeout
        return []

    def later(self, seconds: float) -> "asyncio.Future[None]":
        future = self.create_future()
        self.call_later(seconds, future.set_result, None)
        return future

    def play(self, scenario: Coroutine[Any, Any, None]) -> None:
        try:
            self.run_until_complete(scenario)
        finally:
            self.close()


def test_an_answer_that_lies_in_the_socket_when_the_time_is_over_has_come_in_time() -> None:
    loop = Loop()

    async def scenario() -> None:
        answer = loop.create_future()
        loop.stopped_s = 99.0
        loop.unread.append(lambda: answer.set_result(7))
        async with time_limit(10):
            assert await answer == 7

    loop.play(scenario())


def test_a_peer_that_stays_silent_is_read_a_moment_longer() -> None:
    loop = Loop()

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with time_limit(10):
                await loop.create_future()
        assert loop.now_s == pytest.approx(10 + LAST_LOOK_MS / 1000)

    loop.play(scenario())


@pytest.mark.parametrize("seconds", [None, 10])
def test_a_limit_ends_with_what_it_is_for(seconds: float | None) -> None:
    loop = Loop()

    async def scenario() -> None:
        async with time_limit(seconds):
            await loop.later(9)
        await loop.later(99)

    loop.play(scenario())
