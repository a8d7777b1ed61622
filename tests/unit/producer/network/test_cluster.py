"""Metadata: leaders by epoch, denial, and when to ask again."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from ingestd.kafka.messages import ClusterInfo, PartitionInfo, TopicInfo
from ingestd.kafka.produce import TOPIC_ID_NONE
from ingestd.producer.network.cluster import FOREVER_MS, UNKNOWN_TOPIC_BACKOFF_MAX_MS, Cluster

ID_1 = bytes(15) + b"\1"
ID_2 = bytes(15) + b"\2"
BROKERS = {1: ("a", 9092), 2: ("b", 9092)}


def make() -> Cluster:
    return Cluster(["t"], 300_000, 600_000, 100, 1000, Random(1))


def info(*leaders: tuple[int, int], code: int = 0, topic_id: bytes = ID_1, **changes: Any) -> ClusterInfo:
    partitions = tuple(PartitionInfo(index, 0, leader, epoch) for index, (leader, epoch) in enumerate(leaders))
    row = TopicInfo("t", code, topic_id, partitions)
    return ClusterInfo(BROKERS, "c", (row,), 0, 0)._replace(**changes)


def leader(cluster: Cluster, partition: int = 0) -> int:
    return cluster.topics["t"].leader(partition)


def test_an_answer_is_taken_in_and_told_once() -> None:
    cluster = make()
    [topic] = cluster.update(info((1, 0), (-1, 0)), 0)
    assert topic.leader_bytes == b"\1\0"
    assert cluster.by_id[ID_1] is topic
    assert topic.row.topic_id == ID_1
    assert cluster.update(info((1, 0), (-1, 0)), 1) == []


def test_a_new_topic_is_asked_about_at_once_and_a_known_one_keeps_the_backoff() -> None:
    cluster = make()
    for tick_ms in range(5):
        cluster.update(info(code=3), tick_ms)
    cluster.add("t")
    assert cluster.due_in_ms(5) >= 800
    topic = cluster.add("other")
    assert cluster.due_in_ms(5) == 0
    assert cluster.asked(5) == ["t", "other"]
    assert cluster.topics["other"] is topic


def test_an_older_leader_epoch_is_not_believed() -> None:
    cluster = make()
    cluster.update(info((1, 5)), 0)
    cluster.update(info((2, 4)), 1)
    assert leader(cluster) == 1
    cluster.update(info((2, 6)), 2)
    assert leader(cluster) == 2


def test_a_recreated_topic_begins_again() -> None:
    cluster = make()
    cluster.update(info((1, 5)), 0)
    cluster.update(info((2, 0), topic_id=ID_2), 1)
    assert leader(cluster) == 2
    assert cluster.by_id == {ID_2: cluster.topics["t"]}


def test_a_broker_that_names_no_topic_ids_does_not_make_a_topic_another_one() -> None:
    cluster = make()
    cluster.update(info((1, 5)), 0)
    row = cluster.topics["t"].row
    assert cluster.update(info((1, 5), topic_id=TOPIC_ID_NONE), 1) == []
    cluster.update(info((2, 4), topic_id=TOPIC_ID_NONE), 2)
    assert leader(cluster) == 1
    assert cluster.topics["t"].row is row
    assert cluster.by_id == {ID_1: cluster.topics["t"]}


def test_a_hint_needs_a_newer_epoch_and_a_known_node() -> None:
    cluster = make()
    cluster.update(info((1, 5)), 0)
    topic = cluster.topics["t"]
    assert not cluster.hint(topic, 0, 2, 5, {})
    assert cluster.hint(topic, 0, 1, 5, {}), "what is known already needs no question"
    assert not cluster.hint(topic, 0, 9, 6, {})
    assert cluster.hint(topic, 0, 9, 6, {9: ("z", 1)})
    assert (leader(cluster), cluster.brokers[9]) == (9, ("z", 1))
    assert not cluster.hint(topic, 3, 1, 9, {})


def test_denial_is_timed_from_its_first_answer_and_ends_with_a_good_one() -> None:
    cluster = make()
    topic = cluster.topics["t"]
    cluster.update(info(code=3), 10)
    cluster.update(info(code=3), 500)
    assert cluster.denied_since(topic, 0) == (10, 3)
    cluster.update(info((1, 0)), 600)
    assert cluster.denied_since(topic, 0) == (-1, 0)


def test_a_partition_beyond_the_count_is_denied_since_that_count() -> None:
    cluster = make()
    cluster.update(info((1, 0)), 10)
    cluster.update(info((1, 0)), 99)
    assert cluster.denied_since(cluster.topics["t"], 4) == (10, 3)


def test_an_outage_between_two_denials_is_none() -> None:
    cluster = make()
    topic = cluster.topics["t"]
    cluster.update(info(code=3), 10)
    cluster.failed(500_000)
    cluster.update(info(code=3), 900_000)
    assert cluster.denied_since(topic, 0) == (900_000, 3)
    cluster.update(info(code=3), 905_000)
    assert cluster.denied_since(topic, 0) == (900_000, 3)


def test_an_outage_does_not_count_against_a_partition_that_its_topic_does_not_have() -> None:
    cluster = make()
    for tick_ms in (10, 300_010, 600_010):
        cluster.update(info((1, 0)), tick_ms)
        assert cluster.denied_since(cluster.topics["t"], 4) == (10, 3), "it is asked for every five minutes only"
    cluster.update(info((1, 0)), 1_200_000)
    assert cluster.denied_since(cluster.topics["t"], 4) == (1_200_000, 3)


def test_a_leaderless_partition_keeps_its_topic() -> None:
    cluster = make()
    cluster.update(info((1, 0)), 0)
    cluster.update(info(code=5), 1)
    assert leader(cluster) == 1


def test_one_request_at_a_time_and_backoff_after_failures() -> None:
    cluster = make()
    assert cluster.due_in_ms(0) == 0
    assert cluster.asked(0) == ["t"]
    assert cluster.due_in_ms(0) == FOREVER_MS
    cluster.failed(0)
    assert 80 <= cluster.due_in_ms(0) <= 120


def test_a_healthy_cluster_is_asked_again_at_max_age() -> None:
    cluster = make()
    cluster.update(info((1, 0)), 1000)
    assert cluster.due_in_ms(1000) == 300_000
    cluster.want()
    assert 80 <= cluster.due_in_ms(1000) <= 120


def test_a_stuck_election_is_not_asked_about_more_than_twice_a_second() -> None:
    cluster = make()
    tick_ms = asked = 0
    while tick_ms < 60_000:
        tick_ms += cluster.due_in_ms(tick_ms)
        cluster.asked(tick_ms)
        cluster.update(info((-1, 0)), tick_ms)
        cluster.want()
        asked += 1
    assert 10 < asked < 120


def test_an_unknown_topic_is_asked_for_ever_more_rarely() -> None:
    cluster = make()
    tick_ms = 0
    for _ in range(20):
        tick_ms += cluster.due_in_ms(tick_ms)
        cluster.update(info(code=3), tick_ms)
    assert 0.8 * UNKNOWN_TOPIC_BACKOFF_MAX_MS <= cluster.due_in_ms(tick_ms) <= UNKNOWN_TOPIC_BACKOFF_MAX_MS


def test_a_missing_topic_does_not_delay_what_is_asked_for() -> None:
    cluster = make()
    other = cluster.add("other")
    missing = TopicInfo("other", 3, bytes(16), ())
    shown = info((1, 0))
    for tick_ms in range(20):
        cluster.update(shown._replace(topics=(*shown.topics, missing)), tick_ms)
    assert cluster.due_in_ms(19) >= 0.8 * UNKNOWN_TOPIC_BACKOFF_MAX_MS
    cluster.want()
    assert cluster.due_in_ms(19) <= 1000
    assert other.is_denied


@pytest.mark.parametrize("code", [3, 5])
def test_an_election_beside_a_missing_topic_is_asked_about_as_often_as_one_alone(code: int) -> None:
    cluster = make()
    cluster.add("other")
    election = info((1, 0), (-1, 0)) if code == 3 else info(code=5)
    for tick_ms in range(20):
        cluster.update(election._replace(topics=(*election.topics, TopicInfo("other", 3, bytes(16), ()))), tick_ms)
    assert cluster.due_in_ms(19) <= 1000


def test_a_leader_that_is_not_among_the_brokers_is_asked_about() -> None:
    cluster = make()
    cluster.update(info((1, 6)), 0)
    assert cluster.hint(cluster.topics["t"], 0, 3, 7, {3: ("c", 9092)})
    assert cluster.due_in_ms(0) == 300_000
    cluster.update(info((1, 6)), 1000)
    assert leader(cluster) == 3, "its epoch is the highest"
    assert cluster.due_in_ms(1000) <= 120


def test_a_topic_without_records_leaves_the_request_and_comes_back_on_use() -> None:
    cluster = make()
    topic = cluster.topics["t"]
    assert cluster.asked(1000) == ["t"]
    cluster.update(info((1, 0)), 1000)
    assert cluster.asked(600_999) == ["t"]
    cluster.update(info((1, 0)), 600_999)
    assert cluster.asked(601_000) == []
    cluster.update(ClusterInfo(BROKERS, "c", (), 0, 0), 601_000)
    assert cluster.due_in_ms(601_500) == 299_500, "an idle topic is no unmet need"
    assert leader(cluster) == 1
    assert cluster.used(topic, 700_000)
    assert not cluster.used(topic, 700_001)
    assert cluster.due_in_ms(700_000) == 0
    assert cluster.asked(700_001) == ["t"]


def test_a_topic_that_a_caller_waits_for_is_used() -> None:
    cluster = make()
    cluster.asked(0)
    cluster.update(info((1, 0)), 0)
    assert cluster.asked(600_000) == []
    cluster.update(ClusterInfo(BROKERS, "c", (), 0, 0), 600_000)
    cluster.add("t")
    assert cluster.asked(700_000) == ["t"]
    cluster.update(info((1, 0)), 700_000)
    assert cluster.asked(1_299_999) == ["t"]
    assert cluster.asked(1_300_000) == []


@pytest.mark.parametrize(
    "use", [lambda cluster: cluster.add("t"), lambda cluster: cluster.used(cluster.topics["t"], 600_001)]
)
def test_an_answer_that_leaves_out_what_was_used_meanwhile_is_not_enough(use: Callable[[Cluster], object]) -> None:
    cluster = make()
    cluster.asked(0)
    cluster.update(info((1, 0)), 0)
    assert cluster.asked(600_000) == []
    use(cluster)
    cluster.update(ClusterInfo(BROKERS, "c", (), 0, 0), 600_002)
    assert cluster.due_in_ms(601_000) == 0
    assert cluster.asked(601_000) == ["t"]
    cluster.update(info((1, 0)), 601_001)
    assert cluster.due_in_ms(601_001) == 300_000


def test_a_topic_that_the_cluster_does_not_show_stays_in_the_request() -> None:
    cluster = make()
    cluster.asked(0)
    cluster.update(info(code=3), 0)
    assert cluster.asked(2_000_000) == ["t"]


def test_an_age_of_zero_still_leaves_the_cluster_its_pauses() -> None:
    cluster = Cluster(["t"], 0, 600_000, 100, 1000, Random(1))
    cluster.update(info((1, 0)), 0)
    assert 80 <= cluster.due_in_ms(0) <= 120


def test_the_first_request_without_an_answer_begins_the_time_that_leads_to_a_rebootstrap() -> None:
    cluster = make()
    assert cluster.trying_since_ms == -1
    for tick_ms in (10, 20):
        cluster.asked(tick_ms)
        cluster.failed(tick_ms)
    assert cluster.trying_since_ms == 10
    cluster.forget_brokers(30)
    assert (cluster.brokers, cluster.trying_since_ms, cluster.due_in_ms(5000)) == ({}, 30, 0)
    cluster.update(info((1, 0)), 40)
    assert cluster.trying_since_ms == -1
