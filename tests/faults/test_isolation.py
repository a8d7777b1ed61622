"""One broker hangs or is slow, one topic floods: what that costs the others. Ratios of one run, against null sinks.

Three sinks are one cluster; each leads one of three topics, and each topic has a sender of its own that sends as fast
as the daemon reads. What the other two get through while the third broker is spoilt is compared with what they got
before and after.
"""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from benchmarks.programs import Generator, Sink
from ingestd.client import Producer, ProducerRecord
from tests.faults.conftest import BadDay
from tests.kafka.daemon import Daemon
from tests.kafka.processes import free_ports
from tests.kafka.proxy import FaultProxy
from tests.kafka.test_end_to_end import frame_listener, line_listener

pytestmark = pytest.mark.faults
TOPICS = ("a", "b", "spoilt")
MEASURE_SECONDS = 6.0
SETTLE_SECONDS = 3.0
WARM_UP_RECORDS = 200_000
KEPT_MIN = 0.9
ENDLESS = 1 << 40
NARROW_BYTES_PER_SECOND = 125_000
TRICKLE_RECORDS = 400
TRICKLE_PAUSE_SECONDS = 0.02
TRICKLE_MEDIAN_SECONDS_MAX = 0.15
TRICKLE_SECONDS_MAX = 1.5


class World:
    """Three sinks, the third behind ``proxy``; a daemon with one worker; a generator for each topic."""

    def __init__(self, sinks: list[Sink], proxy: FaultProxy, daemon: Daemon) -> None:
        self.sinks = sinks
        self.proxy = proxy
        self.daemon = daemon

    def rate_of_others(self) -> float:
        """Records per second that the first two sinks acknowledged together, a while after what came before."""
        time.sleep(SETTLE_SECONDS)
        before, began = self._records(), time.monotonic()
        time.sleep(MEASURE_SECONDS)
        return (self._records() - before) / (time.monotonic() - began)

    def _records(self) -> int:
        return sum(sink.counters()["records"] for sink in self.sinks[:2])


@contextmanager
def running(folder: Path, make_daemon: Callable[..., Daemon]) -> Iterator[World]:
    """Everything starts, floods, and is ended behind the block; the sinks check that sequences tile."""
    with ExitStack() as stack:
        ports = free_ports(3)
        proxy = stack.enter_context(FaultProxy(ports[2]))
        nodes = [*ports[:2], proxy.port]
        topics = [f"{topic}:1" for topic in TOPICS]
        sinks = [
            stack.enter_context(Sink.run(folder, topics, port=port, node=node, nodes=nodes))
            for node, port in enumerate(ports, 1)
        ]
        listeners = [line_listener(topic, name=topic, listen=f"unix-stream:{{sockets}}/{topic}") for topic in TOPICS]
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in nodes)
        daemon = make_daemon(bootstrap, listeners, workers=1, producer={"buffer.memory": 32 << 20})
        daemon.start()
        for topic in TOPICS:
            generator = Generator("lines", f"{daemon.sockets}/{topic}", records=ENDLESS)
            stack.callback(generator.kill)
        for sink in sinks:
            sink.wait_for("records", WARM_UP_RECORDS)
        yield World(sinks, proxy, daemon)
        assert daemon.ledger()["balanced"]
        assert [sink.counters()["sequence_faults"] for sink in sinks] == [0, 0, 0]


@pytest.mark.parametrize("how", ["paused", "five seconds late", "one megabit a second"])
def test_a_sick_broker_costs_the_others_nothing(
    tmp_path: Path, make_daemon: Callable[..., Daemon], bad_day: BadDay, how: str
) -> None:
    """one of three brokers is sick under full load; rate of the other two against normal"""
    bad_day.fault = f"one of three brokers {how}, all topics at full load"
    with running(tmp_path, make_daemon) as world:
        before = world.rate_of_others()
        if how == "paused":
            os.kill(world.sinks[2].pid, signal.SIGSTOP)
        elif how == "five seconds late":
            world.proxy.delay(5)
        else:
            world.proxy.limit(NARROW_BYTES_PER_SECOND)
        spoilt = world.rate_of_others()
        if how == "paused":
            os.kill(world.sinks[2].pid, signal.SIGCONT)
        world.proxy.delay(0)
        world.proxy.limit(0)
        after = world.rate_of_others()
        kept = spoilt / statistics.mean((before, after))
        bad_day.told = f"the others at {kept:.0%} of normal"
        assert min(before, after) > 0
        assert kept >= KEPT_MIN


def test_a_flooding_topic_does_not_starve_a_trickle(
    tmp_path: Path, make_daemon: Callable[..., Daemon], bad_day: BadDay
) -> None:
    """one topic floods: how long records of a quiet topic on the same broker take to Kafka's answer"""
    with Sink.run(tmp_path, ["flood:6", "quiet:1"]) as sink:
        listeners = [line_listener("flood"), frame_listener("quiet")]
        bootstrap = f"127.0.0.1:{sink.port}"
        daemon = make_daemon(bootstrap, listeners, workers=1, producer={"buffer.memory": 16 << 20})
        daemon.start()
        generator = Generator("lines", f"{daemon.sockets}/lines", records=ENDLESS)
        try:
            time.sleep(2)
            took: list[float] = []

            def note(began: float, _: object) -> None:
                took.append(time.monotonic() - began)

            with Producer(daemon.address("unix-stream:{sockets}/app"), answer="delivered") as producer:
                for number in range(TRICKLE_RECORDS):
                    began = time.monotonic()
                    future = producer.send(ProducerRecord("quiet", b"%d" % number))
                    future.add_done_callback(partial(note, began))
                    time.sleep(TRICKLE_PAUSE_SECONDS)
        finally:
            generator.kill()
        assert len(took) == TRICKLE_RECORDS
        median, longest = statistics.median(took), max(took)
        bad_day.told = f"median {median * 1000:.0f} ms, longest {longest * 1000:.0f} ms"
        assert median < TRICKLE_MEDIAN_SECONDS_MAX
        assert longest < TRICKLE_SECONDS_MAX
