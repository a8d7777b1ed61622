"""Whom metadata is asked of, for how long, and who is tried again. Time is in the loop's hands, and no bytes flow."""

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
        cluster = Cluster(("t",), 1000, 1000, 10, 10, random)
        self.brokers = Brokers(cluster, SETTINGS, owner, lambda _: None, loop, clock, random, "c", "1")
        for seed in self.brokers.seeds:
            connection: Any = SimpleNamespace(
                broker=seed,
                silent_ms=lambda _: 0,
                throttled_until_ms=0,
                in_flight=0,
                call=self._call,
                throttle=lambda *_: None,
                settle=lambda _: None,
                served=True,
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


class Outage(World):
    """No broker of three could be reached, the last one was tried first; now the servers answer. ``wanted``: nodes, in
    the order in which they are to be connected to."""

    def __init__(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(loop)
        self.wanted: list[int] = []
        self.brokers.cluster.brokers = {node: ("k", node) for node in (1, 2, 3)}
        for loop.now_s, node in enumerate((3, 2, 1)):
            broker = self.brokers.get(node)
            assert broker is not None
            monkeypatch.setattr(broker, "owner", SimpleNamespace(unreachable=lambda _: None))
            broker._failed(OSError("refused"))
            monkeypatch.setattr(broker, "want", lambda node=node: self.wanted.append(node))

    def leads(self, *nodes: int) -> None:
        self.brokers.cluster.topics["t"].leaders = [(node, 1) for node in nodes]

    @property
    def named(self) -> list[str]:
        return sorted(trouble.address for trouble in self.brokers.troubles())


def test_behind_an_outage_the_one_that_was_tried_longest_ago_is_tried_and_not_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop()

    async def scenario() -> None:
        world = Outage(loop, monkeypatch)
        world.leads(1, 2, 3)
        for node in (3, 2, 1):
            world.brokers.look_for_ways()
            assert world.wanted.pop() == node
            assert not world.wanted
            loop.now_s += 1
            world.brokers.by_node[node]._failed(OSError("refused"))
        assert world.named == ["k:1", "k:2", "k:3"]

    loop.play(scenario())


def test_one_that_is_connected_and_has_not_answered_yet_does_not_keep_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop()

    async def scenario() -> None:
        world = Outage(loop, monkeypatch)
        world.leads(1, 3)
        last = world.brokers.by_node[3]
        last.connection = world.brokers.seeds[0].connection
        world.brokers.look_for_ways()
        assert world.wanted == [1]

    loop.play(scenario())


def test_a_broker_that_leads_nothing_of_ours_is_neither_tried_nor_named_once_another_serves_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop()

    async def scenario() -> None:
        world = Outage(loop, monkeypatch)
        world.leads(1, -1)
        world.brokers.by_node[2].ready_lanes.append(object())
        assert world.named == ["k:1", "k:2"]
        for _ in range(2):
            world.brokers.look_for_ways()
        assert world.wanted == [2, 2]

    loop.play(scenario())


def test_as_long_as_nobody_serves_us_all_that_were_tried_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()

    async def scenario() -> None:
        world = Outage(loop, monkeypatch)
        for seed in world.brokers.seeds:
            seed.connection.served = False  # type: ignore[union-attr]
        world.brokers.look_for_ways()
        assert world.named == ["k:1", "k:2", "k:3"]
        assert not world.wanted, "a request for metadata finds its way by itself"

    loop.play(scenario())
