"""When a wait ends, and what the sender hears of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.config.library import read_library_settings
from ingestd.config.model import NEVER_MS
from ingestd.config.model import Topic as Configured
from ingestd.kafka.errors import (
    CLUSTER_AUTHORIZATION_FAILED,
    LEADER_NOT_AVAILABLE,
    NETWORK_EXCEPTION,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from ingestd.metrics import Failed
from ingestd.producer.deadlines import Deadlines
from ingestd.producer.in_force import InForce
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Fail, Step
from tests.fakes.lane_world import DENIED, NOW_MS, make_item
from tests.unit.producer.network.test_cluster import info
from tests.unit.producer.network.test_cluster import make as make_cluster

TIMEOUT_MS = 1000
DENIED_MS = 5000


class World:
    """One partition with one batch, sealed at 0; ``told`` is what was to be carried out."""

    def __init__(self, timeout_ms: int = TIMEOUT_MS, *, final: bool = False) -> None:
        self.cluster = make_cluster()
        self.cluster.update(info((1, 0)), 0)
        self.lane = Lane(self.cluster.topics["t"], 0, lambda _: 0)
        self.lane.identity(7, 0)
        self.views = 0
        arena = SimpleNamespace(view_count=lambda _: self.views)
        item = make_item(0)
        item.arena, item.batch.entry = arena, 0
        self.lane.enqueue(item)
        self.told: list[Step] = []
        self.attended: list[Lane] = []
        settings = read_library_settings({"bootstrap.servers": "k:1"}).producer
        in_force = InForce(settings, [Configured("t", delivery_timeout_ms=timeout_ms)])
        brokers: Any = SimpleNamespace(cluster=self.cluster, trouble="")
        self.brokers = brokers
        sender: Any = SimpleNamespace(carry_out=self._carry_out, attend=self.attended.append)
        identity: Any = SimpleNamespace(refusal=0)
        self.identity = identity
        self.deadlines = Deadlines(DENIED_MS, in_force, brokers, sender, identity, final=final)

    def _carry_out(self, lane: Lane, steps: list[Step]) -> None:
        assert lane is self.lane
        self.told += steps

    def give_up(self, tick_ms: int) -> list[tuple[int, int]]:
        """(Reason, error code) of what was given up so far."""
        self.deadlines.give_up(self.lane, tick_ms)
        return [(step.reason, step.code) for step in self.told if isinstance(step, Fail)]


def test_nothing_is_given_up_before_its_time_and_never_where_there_is_none() -> None:
    world = World()
    world.lane.route = SimpleNamespace(is_ready=True)
    assert world.give_up(TIMEOUT_MS - 1) == []
    assert world.attended == []
    assert world.give_up(TIMEOUT_MS) == [(Failed.DELIVERY_TIMEOUT, 0)]
    assert world.attended == [world.lane]
    assert World(NEVER_MS).give_up(1 << 40) == []


@pytest.mark.parametrize(
    ("route", "met", "code", "text"),
    [
        (None, "", LEADER_NOT_AVAILABLE, "no leader is known"),
        (None, "k:1: refused", NETWORK_EXCEPTION, "k:1: refused"),
        (
            SimpleNamespace(is_ready=False, address="b:2", last_error="reset"),
            "k:1: refused",
            NETWORK_EXCEPTION,
            "b:2: reset",
        ),
        (SimpleNamespace(is_ready=True), "k:1: refused", 0, "delivery.timeout.ms passed"),
    ],
)
def test_what_expires_says_what_keeps_it_from_its_broker(route: Any, met: str, code: int, text: str) -> None:
    world = World()
    world.lane.route, world.brokers.trouble = route, met
    assert world.give_up(TIMEOUT_MS) == [(Failed.DELIVERY_TIMEOUT, code)]
    [step] = world.told
    assert isinstance(step, Fail)
    assert step.text.endswith(text)


def test_what_metadata_says_goes_before_the_state_of_a_connection() -> None:
    world = World()
    world.lane.route = SimpleNamespace(is_ready=False, address="b:2", last_error="reset")
    world.cluster.update(info(code=DENIED), 10)
    assert world.give_up(TIMEOUT_MS) == [(Failed.DELIVERY_TIMEOUT, DENIED)]


def test_a_topic_that_metadata_denies_is_given_up_by_the_time_of_its_answers() -> None:
    world = World(NEVER_MS)
    world.cluster.update(info(code=DENIED), 10)
    # No answer since: a cluster that is away has not denied anything meanwhile.
    assert world.give_up(10 + 2 * DENIED_MS) == []
    world.cluster.update(info(code=DENIED), 10 + DENIED_MS - 1)
    assert world.give_up(10 + 2 * DENIED_MS) == []
    world.cluster.update(info(code=DENIED), 10 + DENIED_MS)
    assert world.give_up(10 + 2 * DENIED_MS) == [(Failed.TOPIC_DENIED, DENIED)]


def test_a_partition_that_its_topic_does_not_have_is_given_up_like_a_denied_topic() -> None:
    world = World(NEVER_MS)
    world.lane.partition = 1
    world.cluster.update(info((1, 0)), DENIED_MS)
    assert world.give_up(DENIED_MS) == [(Failed.TOPIC_DENIED, UNKNOWN_TOPIC_OR_PARTITION)]


def test_a_partition_that_brokers_deny_is_given_up_once_no_view_of_it_is_out() -> None:
    world = World(NEVER_MS)
    for tick_ms in (100, 100 + DENIED_MS):
        assert world.give_up(tick_ms) == []
        item = world.lane.take(NOW_MS, tick_ms)
        assert item is not None
        world.lane.failed(item, DENIED, tick_ms)
        world.lane.resolve(tick_ms)
    world.views = 1
    assert world.give_up(100 + DENIED_MS) == []
    world.views = 0
    assert world.give_up(100 + DENIED_MS) == [(Failed.TOPIC_DENIED, DENIED)]


def test_what_is_in_flight_has_its_answer_first() -> None:
    world = World(NEVER_MS)
    world.lane.take(NOW_MS, 0)
    for tick_ms in (0, DENIED_MS):
        world.cluster.update(info(code=DENIED), tick_ms)
    assert world.give_up(DENIED_MS) == []


@pytest.mark.parametrize(
    ("final", "code", "told"),
    [
        (True, DENIED, [(Failed.TOPIC_DENIED, DENIED)]),
        (True, UNKNOWN_TOPIC_OR_PARTITION, []),
        (False, DENIED, []),
    ],
)
def test_a_final_refusal_ends_a_program_s_batches_behind_its_answer(
    final: bool, code: int, told: list[tuple[int, int]]
) -> None:
    world = World(final=final)
    item = world.lane.take(NOW_MS, 0)
    assert item is not None
    assert world.give_up(1) == []
    world.lane.failed(item, code, 1)
    world.lane.resolve(1)
    assert world.give_up(2) == told


@pytest.mark.parametrize(("final", "told"), [(True, [(Failed.TOPIC_DENIED, 31)]), (False, [])])
def test_a_producer_id_that_is_refused_ends_what_waits_for_one(final: bool, told: list[tuple[int, int]]) -> None:
    world = World(final=final)
    world.identity.refusal = CLUSTER_AUTHORIZATION_FAILED
    assert world.give_up(1) == [], "this lane has its numbers"
    world.lane.own = None
    assert world.give_up(1) == told
