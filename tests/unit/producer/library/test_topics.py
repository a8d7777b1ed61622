"""The topics of a program: made known on demand, changed by metadata, held while records wait."""

import asyncio
from collections.abc import Iterator

import pytest

from ingestd.config.library import read_library_settings
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.producer.library.engine import Engine
from ingestd.producer.library.topics import NO_ROW, Topics, topic_capacity
from ingestd.producer.weights import Weights

SETTINGS = read_library_settings({"bootstrap.servers": "127.0.0.1:1"}).producer


class World:
    """An engine on an event loop that never runs: nothing is connected."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        engine = Engine(SETTINGS, "c", loop, loop.call_soon, lambda: None)
        self.topics = engine.topics
        self.producer = engine._producer

    def metadata(self, name: str, *leaders: int, code: int = 0) -> None:
        found = self.producer.topic(name)
        assert found is not None
        found.code = code
        found.leaders = [(leader, 0) for leader in leaders]
        self.topics.update(name, b"" if code else found.leader_bytes, self.producer)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_topic_is_known_once_it_was_wanted_and_open_once_metadata_shows_it(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop)
    world.topics.want("t", world.producer)
    topic = world.topics.known["t"]
    assert (topic.index, topic.count, topic.open, topic.admits(None), topic.denied) == (0, 0, False, False, False)
    world.metadata("t", 1, -1)
    assert (topic.count, topic.open, list(topic.leaders)) == (2, True, [1, -1])
    assert topic.admits(1) and not topic.admits(2)
    world.topics.want("t", world.producer)
    assert world.topics.known == {"t": topic}


@pytest.mark.parametrize("name", ["t" * 250, "\ud800"], ids=ascii)
def test_a_name_that_no_topic_can_have_is_denied_and_nobody_is_asked(
    loop: asyncio.AbstractEventLoop, name: str
) -> None:
    world = World(loop)
    for _ in range(2):
        world.topics.want(name, world.producer)
    assert world.topics.known[name].denied
    assert world.producer.topic(name) is None


def test_a_topic_that_is_denied_closes_and_opens_again(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop)
    world.topics.want("t", world.producer)
    world.metadata("t", 1)
    world.metadata("t", 1, code=29)
    topic = world.topics.known["t"]
    assert (topic.open, topic.denied) == (False, True)
    world.metadata("t", 1, 2)
    assert (topic.open, topic.denied, topic.count) == (True, False, 2)


def test_a_held_topic_is_closed_until_it_is_let_go(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop)
    for name in ("a", "b"):
        world.topics.want(name, world.producer)
        world.metadata(name, 1)
    known = world.topics.known
    world.topics.hold(frozenset("a"))
    assert (known["a"].open, known["b"].open) == (False, True)
    world.topics.hold(frozenset("b"))
    assert (known["a"].open, known["b"].open) == (True, False)
    world.topics.hold(frozenset())
    assert (known["a"].open, known["b"].open) == (True, True)


def test_beyond_the_table_a_topic_is_denied(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop)
    arena = Arena.create(None, buffer_bytes=1 << 20, topic_capacity=1, session_capacity=1, now_ms=1)
    intake = Intake(arena, None, seed=1)
    topics = Topics(SETTINGS, arena, intake, Weights(intake, world.producer.queue_lengths, loop))
    topics.want("one", world.producer)
    topics.want("two", world.producer)
    assert (topics.known["two"].index, topics.known["two"].denied) == (NO_ROW, True)
    assert (topic_capacity(32 << 20), topic_capacity(4 << 20), topic_capacity(1 << 40)) == (1024, 128, 1024)


def test_news_of_a_topic_that_nobody_wanted_change_nothing(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop)
    world.topics.update("other", b"\1", world.producer)
    assert world.topics.known == {}
