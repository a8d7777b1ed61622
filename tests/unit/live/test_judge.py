"""What is said of a cluster as a whole: brokers that cannot be reached, and settings of brokers."""

from dataclasses import replace
from typing import Any

import pytest

from ingestd.config.model import Config
from ingestd.config.reader import parse
from ingestd.kafka.describe import TopicDescription
from ingestd.live.judge import judge
from ingestd.live.view import Finding, Reached, View, Weight

BASE = '[producer]\nbootstrap.servers = ["a:1", "b:1"]\n{}\n[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\n'
BASE += 'format = "raw"\ntopic = "t"\n'
GOOD = View(
    seeds=[Reached("a:1", "", 13), Reached("b:1", "", 13)],
    nodes={1: Reached("a:1", "", 13), 2: Reached("b:1", "", 13)},
    topics={"t": TopicDescription("t", 0, (1, 2), (3, 3), (3, 3), -1 & 0xFFF)},
    topic_settings={"t": {}},
    broker_settings={1: {"producer.id.expiration.ms": "86400000", "replica.lag.time.max.ms": "30000"}, 2: {}},
)


def config(settings: str = "") -> Config:
    return parse(BASE.format(settings))


def found(view: View, settings: str = "") -> list[Finding]:
    return judge(config(settings), view)


def test_a_good_cluster_needs_no_word() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "settings", "weight", "part"),
    [
        (
            {"seeds": [Reached("a:1"), Reached("b:1", "refused")]},
            "",
            Weight.NOTE,
            "servers b:1: no connection: refused",
        ),
        ({"nodes": {2: Reached("b:9", "timed out")}}, "", Weight.FAILS, "broker 2: the cluster names it as b:9"),
        ({"identity_error": "CLUSTER_AUTHORIZATION_FAILED"}, "", Weight.FAILS, "no producer id: CLUSTER_AUTH"),
        ({"refusals": {"": "CLUSTER_AUTHORIZATION_FAILED"}}, "", Weight.NOTE, "brokers' settings are not told"),
        (
            {"broker_settings": {1: {"producer.id.expiration.ms": "86400000"}, 2: {"producer.id.expiration.ms": "5"}}},
            "",
            Weight.FAILS,
            "broker 2: producer.id.expiration.ms = 5",
        ),
        ({"broker_settings": {1: {"socket.request.max.bytes": "1000000"}}}, "", Weight.FAILS, "max.request.size"),
        ({"broker_settings": {1: {"connections.max.idle.ms": "540000"}}}, "", Weight.NOTE, "closes quiet connections"),
        (
            {"broker_settings": {1: {"connections.max.idle.ms": "-1"}, 2: {"connections.max.idle.ms": "7"}}},
            "",
            Weight.NOTE,
            "broker 2: connections.max.idle.ms = 7",
        ),
        ({}, "request.timeout.ms = 29999", Weight.NOTE, "replica.lag.time.max.ms = 30000"),
    ],
)
def test_it_is_found(changes: dict[str, Any], settings: str, weight: Weight, part: str) -> None:
    (finding,) = found(replace(GOOD, **changes), settings)
    assert finding.weight is weight
    assert part in str(finding)
    assert finding.cure


def test_without_idempotence_nobody_needs_to_be_remembered() -> None:
    view = replace(GOOD, broker_settings={1: {"producer.id.expiration.ms": "5"}})
    assert found(view, "enable.idempotence = false") == []


def test_a_broker_that_never_closes_quiet_connections_needs_no_word() -> None:
    assert found(replace(GOOD, broker_settings={1: {"connections.max.idle.ms": "-1"}})) == []


def test_without_acks_from_all_a_dead_follower_holds_up_nobody() -> None:
    assert found(GOOD, "request.timeout.ms = 10\nacks = 1\nenable.idempotence = false") == []


def test_what_fails_is_told_first() -> None:
    view = replace(GOOD, refusals={"": "X"}, identity_error="Y", nodes={1: Reached("a:1", "z")})
    assert [finding.weight for finding in found(view)] == [Weight.FAILS, Weight.FAILS, Weight.NOTE]


def test_of_a_cluster_that_nobody_reached_nothing_is_said() -> None:
    assert found(View([Reached("a:1", "refused"), Reached("b:1", "refused")])) == []
