"""The scripted cluster on an event loop in a thread of its own, for code under test that blocks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.fakes.broker import FakeBroker, FakeCluster

Value = TypeVar("Value")
SECONDS_MAX = 10.0


class ThreadedCluster:
    """``call(function)`` runs it on the cluster's loop: scripts and logs are only touched there."""

    def __init__(self, nodes: int = 1, topics: dict[str, int] | None = None) -> None:
        self.cluster = FakeCluster(nodes, topics)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted cluster")

    def call(self, function: Callable[[], Value]) -> Value:
        async def run() -> Value:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(SECONDS_MAX)

    def start(self) -> None:
        self._thread.start()
        self.resume()

    def resume(self) -> None:
        """All brokers listen again, where they did before."""
        asyncio.run_coroutine_threadsafe(self.cluster.start(), self._loop).result(SECONDS_MAX)

    def pause(self) -> None:
        """All brokers go away."""
        asyncio.run_coroutine_threadsafe(self.cluster.stop(), self._loop).result(SECONDS_MAX)

    def stop_node(self, node: int) -> None:
        """One broker goes away."""
        asyncio.run_coroutine_threadsafe(self.cluster.brokers[node].stop(), self._loop).result(SECONDS_MAX)

    def start_node(self, node: int) -> None:
        """It is back, where it was."""
        asyncio.run_coroutine_threadsafe(self.cluster.brokers[node].start(), self._loop).result(SECONDS_MAX)

    def end(self) -> None:
        self.pause()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_MAX)
        self._loop.close()

    @property
    def bootstrap(self) -> str:
        return ",".join(self.cluster.bootstrap)

    @property
    def broker(self) -> FakeBroker:
        """The first node."""
        return self.cluster.brokers[1]


@contextmanager
def scripted(nodes: int = 1, **topics: int) -> Iterator[ThreadedCluster]:
    """A running cluster with these topics and partition counts; ended behind the test."""
    cluster = ThreadedCluster(nodes, topics)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.end()
