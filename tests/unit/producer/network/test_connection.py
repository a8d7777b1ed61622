"""What a connection, and its broker, owe: silence, deadlines, and what ends with a connection. No bytes flow."""

import asyncio
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.config.library import read_library_settings
from ingestd.kafka import produce
from ingestd.kafka.errors import AuthenticationError
from ingestd.kafka.messages import METADATA
from ingestd.kafka.sasl import OAuthBearer
from ingestd.producer.network.broker import Broker, Phase
from ingestd.producer.network.connection import Connection
from ingestd.producer.network.patience import LAST_LOOK_MS
from ingestd.producer.network.tokens import CredentialsError

SETTINGS = read_library_settings({"bootstrap.servers": "k:1", "request.timeout.ms": "10000"}).producer


class World:
    """A broker with a connection whose time and timers stand still; ``timers``: (seconds, call) of each."""

    def __init__(self) -> None:
        self.tick_ms = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        loop: Any = SimpleNamespace(create_future=asyncio.Future, call_later=self._call_later)
        clock: Any = SimpleNamespace(tick_ms=lambda: self.tick_ms)
        security: Any = SimpleNamespace()
        owner: Any = SimpleNamespace(unreachable=lambda _: None, lost=lambda *_: None, writable=lambda _: None)
        self.broker = Broker(1, "k", 1, SETTINGS, owner, loop, clock, Random(1), security, "c", "1")
        self.security = security
        self.connection = Connection(self.broker, "c", "1")
        self.aborted = False
        transport: Any = SimpleNamespace(abort=self._abort)
        self.connection._transport = transport

    def _call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        self.timers.append((delay_s, call))
        return SimpleNamespace(cancel=lambda: None)

    def _abort(self) -> None:
        self.aborted = True

    def ask(self, api_key: int = METADATA) -> None:
        self.connection.session.expect(api_key, 1, asyncio.Future(), self.tick_ms)

    def answer(self) -> None:
        self.connection._answered(self.connection.session.pending.popleft(), b"", 0)


@pytest.fixture
def world() -> Any:
    """In a loop that never turns."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield World()
    asyncio.set_event_loop(None)
    loop.close()


def test_a_broker_is_silent_from_its_last_answer_on(world: World) -> None:
    for tick_ms in (0, 1000, 2000):
        world.tick_ms = tick_ms
        world.ask()
    assert world.connection.silent_ms(4000) == 4000
    world.tick_ms = 4000
    world.answer()
    assert world.connection.silent_ms(6000) == 2000, "it is slow, and at it"
    assert world.connection.silent_ms(9000) == 5000, "it has fallen silent"
    world.answer()
    world.answer()
    assert world.connection.silent_ms(99_000) == 0, "nothing is owed"


def test_a_throttle_is_no_silence(world: World) -> None:
    world.ask()
    world.connection.throttled_until_ms = 5000
    assert world.connection.silent_ms(6000) == 1000


def test_the_oldest_request_has_the_timeout_whatever_was_answered_meanwhile(world: World) -> None:
    world.ask()
    world.ask()
    world.tick_ms = 8000
    world.answer()
    world.tick_ms = 10_000
    world.connection._watch()
    world.connection._watch()
    assert world.aborted


def test_an_answer_that_lies_in_the_socket_when_the_time_is_over_has_come_in_time(world: World) -> None:
    """As where the process was stopped: its timers come before what there is to read."""
    for round_ms in (0, 100_000):
        world.tick_ms = round_ms
        world.ask()
        world.tick_ms += 99_000
        world.connection._watch()
        assert (world.aborted, world.timers[-1][0]) == (False, LAST_LOOK_MS / 1000)
        world.answer()
        world.connection._watch()
        assert not world.aborted


def test_a_peer_is_read_once_more_when_its_time_is_over_and_no_longer(world: World) -> None:
    world.ask()
    world.ask()
    world.tick_ms = 99_000
    world.connection._watch()
    world.answer()
    world.connection._watch()
    assert world.aborted, "what was there has been read"


def test_without_answers_bytes_that_the_kernel_does_not_take_are_a_silence_and_end_the_connection(world: World) -> None:
    world.tick_ms = world.connection._last_ms = 1000
    world.connection.pause_writing()
    assert world.connection.silent_ms(5000) == 4000
    world.tick_ms = 10_999
    world.connection._watch()
    assert (world.aborted, world.timers[-1][0]) == (False, 0.001)
    world.tick_ms = 11_000
    world.connection._watch()
    assert (world.aborted, world.timers[-1][0]) == (False, LAST_LOOK_MS / 1000)
    world.connection._watch()
    assert world.aborted
    assert "request.timeout.ms" in str(world.connection.fault)


def test_a_renewal_without_credentials_ends_with_its_connection(world: World) -> None:
    async def no_credentials() -> None:
        raise CredentialsError("away")

    def steps(coroutine: Any) -> None:
        with pytest.raises(StopIteration):
            coroutine.send(None)

    world.security.mechanism = no_credentials
    steps(world.connection._login_again())
    assert len(world.timers) == 1
    world.connection.connection_lost(None)
    steps(world.connection._login_again())
    assert len(world.timers) == 1


def test_what_a_refused_login_is_blamed_for_is_judged_by_what_it_sent(world: World) -> None:
    world.security.refused = "the end of {}".format
    world.broker.owner.refused = lambda *_, **__: None  # type: ignore[method-assign]
    connection = Connection(world.broker, "c", "1", None, OAuthBearer("the-token"))
    connection._fail(AuthenticationError("no", credentials=True))
    assert str(connection.fault) == "no; the end of the-token"


def test_a_broker_that_is_being_connected_to_is_silent_where_something_waits_for_it(world: World) -> None:
    broker = world.broker
    broker.phase = Phase.CONNECTING
    assert broker.silent_ms(5000) == 0
    broker.ready_lanes.append(object())
    assert broker.silent_ms(5000) == 5000
    broker.phase = Phase.WAITING
    assert broker.silent_ms(5000) == 0
    broker.connection = world.connection
    world.ask(produce.API_KEY)
    assert broker.silent_ms(4000) == 4000


def test_reasons_that_differ_in_an_id_are_not_told_for_ever(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(500):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        world.broker._failed(OSError(f"refused, trace {letters}"))
    assert caplog.text.count("cannot connect to k:1") == 50
