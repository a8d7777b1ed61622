"""The only broker restarts under load, its last answers withheld: what it forgot must cost neither loss nor duplicates.

A restart leaves the broker with the memory of each producer's last batch only. A producer that has five batches in
doubt then gets OUT_OF_ORDER_SEQUENCE_NUMBER for four of them, and Java's writes them again.
"""

import random
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import LineSender, make_lines
from tests.kafka.proxy import FaultProxy
from tests.kafka.reader import judge, read_until
from tests.kafka.test_end_to_end import line_listener

ENDLESS = 1 << 40
BATCH_BYTES = 4096
REQUEST_BYTES_MAX = 2 * BATCH_BYTES + 1000
"""A batch of each partition, and what stands around them."""
FLOW_BYTES = 100_000
"""So much goes to the broker once records flow again; it takes a fraction of a second."""
IN_DOUBT_SECONDS_MAX = 3.0
"""For several requests to go out without an answer; below request.timeout.ms."""


def restart_under_load(
    start_cluster: Callable[..., Cluster],
    make_daemon: Callable[..., Daemon],
    topic: str,
    kills: list[bool],
    seed: int,
) -> None:
    """One round per entry of ``kills`` (SIGTERM or SIGKILL), two senders, batches small enough for several in doubt."""
    choose = random.Random(seed)
    with FaultProxy() as proxy:
        cluster = start_cluster(advertised=[proxy.port])
        proxy.target = cluster.ports[0]
        cluster.create_topic(topic, 2)
        daemon = make_daemon(
            f"127.0.0.1:{proxy.port}",
            [line_listener(topic)],
            producer={"linger.ms": 2, "batch.size": BATCH_BYTES, "request.timeout.ms": 5000},
        )
        daemon.start()
        senders = {
            name: LineSender(f"{daemon.sockets}/lines", make_lines(name, ENDLESS, seed=seed), rate=3000, chunk=20)
            for name in ("a", "b")
        }
        for sender in senders.values():
            sender.start()
        for kill in kills:
            begun = proxy.forwarded_bytes["requests"]
            time.sleep(choose.uniform(0.7, 1.2))
            daemon.wait_for(partial(_sent_more_than, proxy, begun + FLOW_BYTES), 20, "records flow")
            proxy.withhold_answers()
            before, until_s = proxy.forwarded_bytes["requests"], time.monotonic() + IN_DOUBT_SECONDS_MAX
            while proxy.forwarded_bytes["requests"] < before + REQUEST_BYTES_MAX and time.monotonic() < until_s:
                time.sleep(0.02)
            time.sleep(0.25)
            # No late answer slips out between the cut and the end of the broker.
            proxy.refuse()
            cluster.nodes[0].restart(kill=kill)
            proxy.heal()
        time.sleep(1)
        sent = {name: sender.finish(now=True) for name, sender in senders.items()}
        total = sum(map(len, sent.values()))
        books = daemon.wait_settled(total)
        assert (books["delivered"], books["possible_duplicates"]) == (total, 0)
        # Proved by a later batch: without any such, the broker had forgotten nothing and nothing was tested.
        assert books["delivered_unconfirmed_offsets"] > 0
        verdict = judge(sent, read_until(cluster.direct, topic, total, 1))
        assert verdict.clean, verdict
        assert daemon.stop() == 0


def _sent_more_than(proxy: FaultProxy, count: int) -> bool:
    return proxy.forwarded_bytes["requests"] > count


def test_nothing_is_lost_doubled_or_reordered(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    restart_under_load(start_cluster, make_daemon, topic_name, [False, True], seed)


@pytest.mark.soak
def test_nothing_is_lost_doubled_or_reordered_in_twenty_restarts(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    restart_under_load(start_cluster, make_daemon, topic_name, [False, True] * 10, seed)


@pytest.mark.soak  # tests/faults/test_brokers.py has it, too
@pytest.mark.three_nodes
def test_the_leader_is_killed(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    cluster = start_cluster(3)
    cluster.create_topic(topic_name, 3)
    daemon = make_daemon(cluster.bootstrap, [line_listener(topic_name)], producer={"linger.ms": 2, "batch.size": 4096})
    daemon.start()
    sender = LineSender(f"{daemon.sockets}/lines", make_lines("a", ENDLESS, seed=seed), rate=3000, chunk=20)
    sender.start()
    time.sleep(1)
    leader = cluster.nodes[cluster.leader(topic_name, 0) - 1]
    leader.kill()
    daemon.wait_for(lambda: cluster.leader(topic_name, 0) not in (-1, leader.number), 30, "another leader")
    leader.start()
    time.sleep(1)
    sent = {"a": sender.finish(now=True)}
    books = daemon.wait_settled(len(sent["a"]))
    assert (books["delivered"], books["possible_duplicates"]) == (len(sent["a"]), 0)
    verdict = judge(sent, read_until(cluster.direct, topic_name, len(sent["a"]), 1))
    assert verdict.clean, verdict
