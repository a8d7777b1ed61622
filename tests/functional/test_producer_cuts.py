"""A connection that breaks at every byte of a request and of its answer; answers that come too late."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from tests.fakes.broker import PRODUCE, CutAnswer, FakeCluster
from tests.functional.producer_rig import lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_an_answer_that_ends_at_any_byte_leaves_its_batch_in_doubt_and_no_more(reset: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, reconnect_backoff_ms=1, reconnect_backoff_max_ms=1) as rig:
            expected = [b"first"]
            rig.send(b"first")
            await rig.idle()
            whole = 75  # size, correlation id and body of the usual answer of version 13
            for cut in range(0, whole, 3):
                cluster.brokers[1].control(PRODUCE, lambda request, cut=cut: CutAnswer(request.handle(), cut, reset))  # type: ignore[misc]
                rig.send(b"%d" % cut)
                rig.send(b"%d behind" % cut)
                expected += [b"%d" % cut, b"%d behind" % cut]
                await rig.idle()
            assert lines_of(cluster.log("t")) == expected
            ledger = rig.arena.ledger()
            assert (ledger["delivered"], ledger["possible_duplicates"]) == (len(expected), 0)
            assert len(rig.events.delivered) == len(expected), "each batch has ended once"

    run(scenario())


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_request_that_arrives_in_part_is_sent_again_as_a_whole(reset: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        async with running(cluster, reconnect_backoff_ms=1, reconnect_backoff_max_ms=1) as rig:
            expected = [b"first"]
            rig.send(b"first")
            await rig.idle()
            for kept in (0, 1, 3, 4, 11, 12, 40, 100, 150, 170):
                broker.cut_requests.append((PRODUCE, kept, reset))
                for line in (b"%d" % kept + b"." * 100, b"%d behind" % kept):
                    rig.send(line)
                    expected.append(line)
                await rig.idle()
            assert broker.cut_requests == []
            assert lines_of(cluster.log("t")) == expected
            assert rig.arena.ledger()["possible_duplicates"] == 0

    run(scenario())


def test_without_an_answer_in_time_all_that_is_in_flight_goes_out_again_and_late_bytes_are_not_read() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 3})
        broker = cluster.brokers[1]
        async with running(cluster, partitions=3, request_timeout_ms=200, max_request_size=2000) as rig:
            for number in range(30):
                rig.send(b"%d" % number)
            await rig.idle()
            broker.delay_s = 0.35
            connections = broker.connections
            for number in range(30, 60):
                rig.send(b"%d" % number + b"." * 900)
            await rig.until(lambda: broker.connections > connections)
            broker.delay_s = 0
            await rig.idle()
            await asyncio.sleep(0.3)
            found = sorted(int(line.rstrip(b".")) for index in range(3) for line in lines_of(cluster.log("t", index)))
            assert found == list(range(60))
            assert (rig.arena.ledger()["delivered"], rig.arena.ledger()["possible_duplicates"]) == (60, 0)
            assert len(rig.events.delivered) == 60
            assert rig.producer.meter.figures.counts[Count.BATCHES_SENT] > 60

    run(scenario())
