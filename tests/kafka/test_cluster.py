"""The test cluster itself: nodes come up, take what they are told, and come back with their data."""

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from tests.kafka.cluster import Cluster
from tests.kafka.proxy import FaultProxy
from tests.kafka.reader import read_topic


def produce(bootstrap: str, topic: str, *values: bytes) -> int:
    """Sends through librdkafka; returns how many it could not deliver in 30 s."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value)
    return producer.flush(30)


@pytest.mark.soak
@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_a_node_comes_back_with_its_records(start_cluster: Callable[..., Cluster], topic_name: str, kill: bool) -> None:
    cluster = start_cluster()
    cluster.create_topic(topic_name)
    assert produce(cluster.bootstrap, topic_name, b"before") == 0
    old_pid = cluster.nodes[0].pid
    cluster.nodes[0].restart(kill=kill)
    assert cluster.nodes[0].pid != old_pid
    assert produce(cluster.bootstrap, topic_name, b"after") == 0
    assert [record.value for record in read_topic(cluster.direct, topic_name)] == [b"before", b"after"]


def test_clients_are_led_through_the_proxy(start_cluster: Callable[..., Cluster], topic_name: str) -> None:
    with FaultProxy() as proxy:
        cluster = start_cluster(advertised=[proxy.port])
        proxy.target = cluster.ports[0]
        cluster.create_topic(topic_name)
        assert produce(f"127.0.0.1:{proxy.port}", topic_name, b"x" * 5000) == 0
        assert proxy.forwarded_bytes["requests"] > 5000
        proxied = dict(proxy.forwarded_bytes)
        assert len(read_topic(cluster.direct, topic_name)) == 1
        assert proxy.forwarded_bytes == proxied


@pytest.mark.soak  # test_broker_restart.py does the same with a daemon
@pytest.mark.three_nodes
def test_another_node_leads_when_the_leader_is_killed(start_cluster: Callable[..., Cluster], topic_name: str) -> None:
    cluster = start_cluster(3)
    cluster.create_topic(topic_name)
    leader = cluster.leader(topic_name, 0)
    assert produce(cluster.bootstrap, topic_name, b"before") == 0
    cluster.nodes[leader - 1].kill()
    assert produce(cluster.bootstrap, topic_name, b"after") == 0
    assert cluster.leader(topic_name, 0) not in (leader, -1)
    assert [record.value for record in read_topic(cluster.direct, topic_name)] == [b"before", b"after"]


def test_a_paused_node_answers_after_it_is_resumed(start_cluster: Callable[..., Cluster], topic_name: str) -> None:
    cluster = start_cluster()
    cluster.create_topic(topic_name)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    cluster.nodes[0].pause()
    producer.produce(topic_name, b"x")
    assert producer.flush(0.5) == 1
    cluster.nodes[0].resume()
    assert producer.flush(30) == 0
