"""Senders under which a cluster is spoilt, and what must hold of their records afterwards."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.faults.conftest import BadDay
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon, Setting
from tests.kafka.load import SessionSender, make_lines
from tests.kafka.reader import Verdict, judge, read_until
from tests.kafka.test_end_to_end import frame_listener

ENDLESS = 1 << 40
SENDERS = ("a", "b", "c")
RATE = 1000.0


class Load:
    """Three sessions that send to one topic of a daemon of their own, from :meth:`start` to :meth:`settle`."""

    def __init__(
        self,
        cluster: Cluster,
        make_daemon: Callable[..., Daemon],
        topic: str,
        seed: int,
        *,
        producer: Mapping[str, Setting] | None = None,
        rate: float = RATE,
    ) -> None:
        self.cluster = cluster
        self.topic = topic
        settings = {"batch.size": 16384, **(producer or {})}
        self.daemon = make_daemon(cluster.bootstrap, [frame_listener(topic)], producer=settings)
        self.daemon.start()
        address = self.daemon.address("unix-stream:{sockets}/app")
        self.senders = {
            name: SessionSender(address, topic, make_lines(name, ENDLESS, seed=seed), rate=rate) for name in SENDERS
        }
        for sender in self.senders.values():
            sender.start()

    @property
    def delivered(self) -> int:
        """Records delivered by now."""
        return int(self.daemon.ledger()["delivered"])

    def wait_progress(self, seconds: float = 60.0, records: int = 1000) -> float:
        """Waits until so many more records are delivered than now; returns how many seconds that took."""
        began, before = time.monotonic(), self.delivered
        self.daemon.wait_for(lambda: self.delivered >= before + records, seconds, "delivery goes on")
        return time.monotonic() - began

    def finish(self) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """Ends the senders and waits until nothing is buffered: (what was sent, by sender; the books)."""
        sent: dict[str, list[Any]] = {name: sender.finish(now=True) for name, sender in self.senders.items()}
        assert {name: sender.failed for name, sender in self.senders.items() if sender.failed} == {}
        return sent, self.daemon.wait_settled(sum(map(len, sent.values())), 120)

    def settle(self, day: BadDay, told: str = "", *, scattered: bool = False) -> Verdict:
        """Ends the senders: everything accepted must be there once and in order, and the books must say so.

        ``scattered``: keys may have moved to other partitions meanwhile.
        """
        sent, books = self.finish()
        total = sum(map(len, sent.values()))
        verdict = judge(sent, read_until(self.cluster.direct, self.topic, total, 60))
        if scattered:
            verdict.scattered = []
        day.judge(verdict, told)
        assert verdict.clean, verdict
        assert (books["accepted"], books["delivered"], books["possible_duplicates"]) == (total, total, 0)
        return verdict
