"""When what keeps us from a broker begins, and when it ends. No bytes flow."""

import socket
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ingestd.kafka import produce
from ingestd.kafka.session import State
from ingestd.producer.network import broker as broker_module
from ingestd.producer.network.broker import Phase
from ingestd.producer.network.connection import SETTLED_MS
from ingestd.producer.network.resolver import Address
from tests.unit.producer.network.test_connection import World, world
from tests.unit.producer.network.test_patience import Loop

__all__ = ["world"]


def connect(world: World) -> None:
    """As far as the end of the set-up."""
    broker = world.broker
    broker.connection, broker.phase = world.connection, Phase.READY
    world.connection.session.state = State.READY
    world.connection.session.versions = {produce.API_KEY: 9}
    world.connection._negotiated()


def refuse(world: World) -> None:
    world.broker._failed(OSError("refused"))


def times(world: World) -> tuple[int, int] | None:
    """(Since when, last tried) of the trouble; None: there is none."""
    trouble = world.broker.trouble
    return None if trouble is None else (trouble.since_tick_ms, trouble.tried_tick_ms)


def test_a_trouble_ends_with_an_answer_and_not_with_a_connection(world: World) -> None:
    broker = world.broker
    world.tick_ms = 1000
    refuse(world)
    world.tick_ms = 3000
    connect(world)
    assert times(world) == (1000, 1000)
    assert (broker.is_ready, broker.is_usable) == (True, False)
    world.connection.connection_lost(None)
    assert times(world) == (1000, 3000)
    connect(world)
    world.ask()
    world.answer()
    assert times(world) is None
    assert broker.is_usable


@pytest.mark.parametrize("late", [False, True], ids=["waited for", "not waited for any more"])
def test_any_answer_counts(world: World, late: bool) -> None:
    refuse(world)
    connect(world)
    world.ask()
    if late:
        world.connection.session.pending[0].context.cancel()
    world.answer()
    assert times(world) is None


def test_a_broker_that_is_asked_nothing_is_no_trouble_once_it_has_left_the_connection_open(world: World) -> None:
    world.tick_ms = 100
    refuse(world)
    connect(world)
    world.connection.settle(100 + SETTLED_MS - 1)
    assert times(world)
    world.connection.settle(100 + SETTLED_MS)
    assert times(world) is None
    assert (world.broker.failures, world.connection.failed) == (0, False)


@pytest.mark.parametrize("stuck_ms", [SETTLED_MS - 1, SETTLED_MS], ids=["busy", "stuck"])
def test_without_answers_a_line_that_is_busy_in_every_look_is_no_trouble_where_bytes_move(
    world: World, stuck_ms: int
) -> None:
    refuse(world)
    connect(world)
    world.connection.pause_writing()
    world.connection._last_ms = 3 * SETTLED_MS
    world.connection.settle(3 * SETTLED_MS + stuck_ms)
    assert (times(world) is None) == (stuck_ms < SETTLED_MS)


def test_a_first_request_that_is_refused_late_is_a_trouble_and_has_a_cure(world: World) -> None:
    connect(world)
    world.connection.settle(SETTLED_MS)
    world.ask()
    assert world.connection.stage == "first request"
    world.connection.connection_lost(None)
    assert times(world)
    assert "security.protocol" in world.broker.last_error


@pytest.mark.parametrize("acks", [0, 1])
def test_a_connection_that_was_left_open_and_ends_where_nothing_is_owed_is_no_trouble(world: World, acks: int) -> None:
    """Idle for too long or, without answers, at any time."""
    connect(world)
    world.broker.settings = msgspec.structs.replace(world.broker.settings, acks=acks)
    world.connection.settle(SETTLED_MS)
    world.connection.connection_lost(None)
    assert times(world) is None
    assert world.broker.last_error == "closed by the broker"


def test_no_token_is_fetched_for_a_broker_that_refuses_to_connect(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without an end is not kept: its endpoint would be asked at every attempt."""
    steps = []

    class Socket:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: steps.append(name) if name == "close" else None

    async def nothing() -> None:
        return None

    async def one_address(*_: object) -> list[Address]:
        return [Address(2, 1, 6, ("127.0.0.1", 1))]

    async def refused(*_: object) -> None:
        raise ConnectionRefusedError(111, "")

    async def fetched() -> None:
        steps.append("a token")

    security: Any = SimpleNamespace(tls_context=nothing, mechanism=fetched)
    loop = Loop()
    monkeypatch.setattr(socket, "socket", lambda *_: Socket())
    monkeypatch.setattr(loop, "sock_connect", refused)
    monkeypatch.setattr(broker_module, "addresses", one_address)
    world.broker.loop, world.broker.security = loop, security
    world.broker.settings = msgspec.structs.replace(
        world.broker.settings, send_buffer_bytes=-1, receive_buffer_bytes=-1
    )

    async def scenario() -> None:
        with pytest.raises(ConnectionRefusedError):
            await world.broker._reach()

    loop.play(scenario())
    assert steps == ["close"]


def test_one_that_owes_an_answer_is_a_trouble_for_as_long_as_it_owes_it(world: World) -> None:
    refuse(world)
    connect(world)
    world.ask()
    world.connection.settle(100 * SETTLED_MS)
    assert times(world)


def test_what_ends_before_it_is_ready_settles_nothing(world: World) -> None:
    refuse(world)
    state: Any = State.NEGOTIATING
    world.connection.session.state = state
    world.connection.settle(100 * SETTLED_MS)
    assert times(world)
