"""Whom metadata is asked of, and for how long. Time is in the loop's hands, and no bytes flow."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.config.library import read_library_settings
from ingestd.kafka import messages
from ingestd.producer.network.brokers import SILENT_MS, Brokers
from ingestd.producer.network.cluster import Cluster
from ingestd.producer.network.connection import ConnectionLostError
from tests.unit.producer.network.test_patience import Loop

SETTINGS = read_library_settings({"bootstrap.servers": "k:1,l:1"}).producer


class World:
    """Two servers, both connected; ``answer`` is what the one that is asked will say."""

    def __init__(self, loop: Loop) -> None:
        self.answer = loop.create_future()
        clock: Any = SimpleNamespace(tick_ms=lambda: int(loop.now_s * 1000))
        owner: Any = SimpleNamespace()
        random = Random(1)
        cluster = Cluster((), 1000, 1000, 10, 10, random)
        self.brokers = Brokers(cluster, SETTINGS, owner, lambda _: None, loop, clock, random, "c", "1")
        for seed in self.brokers.seeds:
            connection: Any = SimpleNamespace(
                broker=seed,
                silent_ms=lambda _: 0,
                throttled_until_ms=0,
                in_flight=0,
                call=self._call,
                throttle=lambda *_: None,
            )
            seed.connection = connection

    async def _call(self, *_: object) -> Any:
        return await self.answer


def test_metadata_that_lies_in_the_socket_when_patience_is_over_has_come_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info: Any = SimpleNamespace(throttle_ms=0)
    monkeypatch.setattr(messages, "metadata_response", lambda *_: info)
    loop = Loop()

    async def scenario() -> None:
        world = World(loop)
        loop.stopped_s = 99.0
        loop.unread.append(lambda: world.answer.set_result((1, b"", 0)))
        assert await world.brokers._ask(()) is info

    loop.play(scenario())


def test_a_silent_broker_is_not_waited_for_where_another_can_be_asked() -> None:
    loop = Loop()

    async def scenario() -> None:
        with pytest.raises(ConnectionLostError, match="is silent"):
            await World(loop).brokers._ask(())
        assert SILENT_MS / 1000 <= loop.now_s < SILENT_MS / 1000 + 1

    loop.play(scenario())
