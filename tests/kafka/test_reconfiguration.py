"""Other sizes and numbers of arenas at the next start: what they hold is drained, and the books go on."""

from collections.abc import Callable

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import LineSender, make_lines
from tests.kafka.reader import judge, read_until
from tests.kafka.test_end_to_end import line_listener


@pytest.mark.parametrize(
    ("workers", "buffer_memory"),
    [
        pytest.param(3, 8 << 20, marks=pytest.mark.soak, id="more"),
        pytest.param(1, 8 << 20, id="fewer"),
        pytest.param(2, 4 << 20, marks=pytest.mark.soak, id="smaller"),
    ],
)
def test_what_older_arenas_hold_is_delivered(
    start_cluster: Callable[..., Cluster],
    make_daemon: Callable[..., Daemon],
    topic_name: str,
    workers: int,
    buffer_memory: int,
    seed: int,
) -> None:
    cluster = start_cluster()
    cluster.create_topic(topic_name, 3)
    settings = {"stop.timeout.ms": 500}
    daemon = make_daemon(
        cluster.bootstrap,
        [line_listener(topic_name)],
        topics={topic_name: {"partitions": 3}},
        settings=settings,
        producer={"buffer.memory": 8 << 20},
    )
    cluster.nodes[0].stop()
    daemon.start()
    senders = {
        name: LineSender(f"{daemon.sockets}/lines", make_lines(name, 2500, size=200, seed=seed))
        for name in ("a", "b", "c", "d")
    }
    for sender in senders.values():
        sender.start()
    sent = {name: sender.finish() for name, sender in senders.items()}
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 10_000, 20, "all accepted")
    daemon.stop()
    daemon.configure(workers=workers, producer={"buffer.memory": buffer_memory}, settings=settings)
    cluster.nodes[0].start()
    daemon.start()
    late = LineSender(f"{daemon.sockets}/lines", make_lines("late", 500, seed=seed))
    late.start()
    sent["late"] = late.finish()
    books = daemon.wait_settled(10_500)
    assert (books["received"], books["accepted"], books["delivered"]) == (10_500, 10_500, 10_500)
    verdict = judge(sent, read_until(cluster.direct, topic_name, 10_500, 1))
    assert verdict.clean, verdict
    daemon.wait_for(
        lambda: len(list(daemon.state_directory.glob("*.arena"))) == workers, 20, "drained arenas to be removed"
    )
