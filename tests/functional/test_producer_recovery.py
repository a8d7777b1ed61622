"""What a dead process left in its arena, delivered by the next one."""

import dataclasses
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from ingestd.hotpath.arena import Arena
from ingestd.producer.compression import ZSTD, Codec, decompress, encode
from tests.fakes.broker import (
    API_VERSIONS,
    CLOSE,
    METADATA,
    NOTHING,
    PRODUCE,
    FakeCluster,
    Nothing,
    Request,
    rebootstrap_required,
)
from tests.functional.producer_rig import Rig, clock, lines_of


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


async def die(cluster: FakeCluster, path: Path, lines: list[bytes], taken: int) -> None:
    """A process that has sent ``lines``, of which the broker took ``taken``, and saw no answer to them."""
    rig = Rig(cluster.bootstrap, path=path, request_timeout_ms=60_000)
    rig.send(b"first")
    await rig.idle()
    requests: list[Request] = []

    def hold(request: Request) -> Nothing:
        requests.append(request)
        if len(requests) <= taken:
            request.handle()
        return NOTHING

    cluster.brokers[1].control(PRODUCE, hold, times=len(lines))
    for line in lines:
        rig.send(line)
    await rig.until(lambda: len(requests) == len(lines))
    await rig.close()
    rig.arena.close()


async def live(cluster: FakeCluster, path: Path, *new: bytes) -> tuple[Rig, dict[str, int]]:
    arena = Arena.open(path, now_ms=clock()[0])
    rig = Rig(cluster.bootstrap, arena=arena)
    for line in new:
        rig.send(line)
    await rig.idle()
    ledger = rig.arena.ledger()
    await rig.close()
    return rig, ledger


LINES = [b"%d" % number for number in range(5)]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 3, 5])
def test_batches_in_doubt_are_resent_once_and_go_before_new_ones(tmp_path: Path, taken: int, restarted: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with cluster:
            await judge(cluster)

    async def judge(cluster: FakeCluster) -> None:
        await die(cluster, tmp_path / "a", LINES, taken)
        log = cluster.log("t")
        assert len(log.batches) == 1 + taken
        if restarted:
            log.restart()
        rig, ledger = await live(cluster, tmp_path / "a", b"new")
        assert lines_of(log) == [b"first", *LINES, b"new"]
        assert {batch.producer_id for batch in log.batches[:-1]} == {0}
        assert log.batches[-1].producer_id == 1
        assert ledger["delivered"] == 7
        assert ledger["possible_duplicates"] == 0
        assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 0

    run(scenario())


def test_where_the_broker_has_lost_them_they_go_out_under_new_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with cluster:
            await judge(cluster)

    async def judge(cluster: FakeCluster) -> None:
        await die(cluster, tmp_path / "a", LINES, 5)
        log = cluster.log("t")
        log.producers[0].batches = [dataclasses.replace(log.batches[-1], sequence=1000)]
        rig, ledger = await live(cluster, tmp_path / "a")
        assert lines_of(log) == [b"first", *LINES, *LINES]
        assert ledger["possible_duplicates"] == 5
        assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 1
        assert log.batches[-1].epoch == 1

    run(scenario())


def test_stamped_batches_are_not_sent_to_another_cluster(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with cluster:
            await judge(cluster)

    async def judge(cluster: FakeCluster) -> None:
        await die(cluster, tmp_path / "a", LINES, 0)
        other = FakeCluster(topics={"t": 1})
        other.cluster_id = "other"
        async with other:
            rig, _ = await live(other, tmp_path / "a", b"new")
        assert lines_of(other.log("t")) == [b"new"]
        assert rig.producer.parked == 5
        assert rig.arena.buffered() == 5
        rig.arena.close()
        # ... and are delivered once their own cluster is there again
        rig, ledger = await live(cluster, tmp_path / "a", b"late")
        assert lines_of(cluster.log("t")) == [b"first", *LINES, b"late"]
        assert (rig.producer.parked, ledger["delivered"]) == (0, 8)

    run(scenario())


@pytest.mark.parametrize("api_key", [API_VERSIONS, METADATA])
def test_a_server_that_only_sends_us_on_says_nothing_of_the_cluster(tmp_path: Path, api_key: int) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            await die(cluster, tmp_path / "a", LINES, 0)
        async with FakeCluster(topics={"t": 1}) as other:
            other.cluster_id = "other"
            # the first one asked sends us back to the bootstrap servers, before any has said which cluster this is
            other.brokers[1].control(api_key, rebootstrap_required)
            rig, _ = await live(other, tmp_path / "a", b"new")
            assert lines_of(other.log("t")) == [b"new"]
            assert rig.producer.parked == 5

    run(scenario())


def test_a_cluster_that_does_not_say_which_it_is_gets_what_was_left_by_its_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            cluster.cluster_id = None
            draining = left(cluster, tmp_path / "a", b"1", b"2")
            rig = Rig(cluster.bootstrap)
            rig.send(b"0")
            await rig.idle()
            rig.producer.attach(draining)
            rig.send(b"3")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"0", b"1", b"2", b"3"]
            await rig.close()

    run(scenario())


def test_what_is_in_doubt_at_the_other_cluster_is_resent_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster, other = FakeCluster(topics={"t": 1}), FakeCluster(topics={"t": 1})
        other.cluster_id = "other"
        async with cluster:
            await die(cluster, tmp_path / "a", LINES, 0)
        async with other:
            rig = Rig(other.bootstrap, arena=Arena.open(tmp_path / "a", now_ms=clock()[0]), request_timeout_ms=60_000)
            other.brokers[1].control(PRODUCE, lambda request: (request.handle(), NOTHING)[1])
            rig.send(b"new")
            await rig.until(lambda: other.log("t").batches)
            await rig.close()
            rig.arena.close()
            rig, _ = await live(other, tmp_path / "a", b"newer")
            assert lines_of(other.log("t")) == [b"new", b"newer"]
            assert rig.producer.parked == 5

    run(scenario())


def test_an_arena_without_stamped_batches_may_change_its_cluster(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            rig = Rig(cluster.bootstrap, path=tmp_path / "a")
            rig.send(b"a")
            await rig.idle()
            await rig.close()
            rig.arena.close()
        other = FakeCluster(topics={"t": 1})
        other.cluster_id = "other"
        async with other:
            rig, _ = await live(other, tmp_path / "a", b"b")
            assert lines_of(other.log("t")) == [b"b"]
            assert rig.arena.cluster_id == "other"

    run(scenario())


def test_sealed_batches_of_an_adopted_arena_are_delivered_and_it_is_drained(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with cluster:
            await judge(cluster)

    async def judge(cluster: FakeCluster) -> None:
        dead = Rig(cluster.bootstrap, path=tmp_path / "dead")
        for line in LINES:
            dead.fill(line)
        await dead.close()
        dead.arena.close()
        adopted = Arena.open(tmp_path / "dead", now_ms=clock()[0])
        rig = Rig(cluster.bootstrap)
        rig.producer.attach(adopted)
        rig.send(b"own")
        await rig.until(lambda: rig.producer.drained(adopted))
        await rig.idle()
        assert sorted(lines_of(cluster.log("t"))) == sorted([*LINES, b"own"])
        assert adopted.buffered() == 0
        rig.producer.detach(adopted)
        await rig.close()

    run(scenario())


def left(cluster: FakeCluster, path: Path, *lines: bytes) -> Arena:
    """An arena in which a process without brokers has left ``lines``, as its successor opens it."""
    rig = Rig(cluster.bootstrap, path=path)
    for line in lines:
        rig.fill(line)
    for _, ours, theirs in rig.streams.values():
        ours.close()
        theirs.close()
    rig.producer._closing = True
    rig.arena.close()
    return Arena.open(path, now_ms=clock()[0])


def test_what_a_draining_arena_holds_goes_before_what_came_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            older, old = left(cluster, tmp_path / "a", b"1", b"2"), left(cluster, tmp_path / "b", b"3")
            rig = Rig(cluster.bootstrap, draining=(older, old))
            rig.send(b"4")
            rig.send(b"5")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"1", b"2", b"3", b"4", b"5"]
            await rig.close()

    run(scenario())


def test_what_was_never_sent_goes_out_compressed_in_its_order(tmp_path: Path) -> None:
    """Small batches are compressed at once and large ones by a thread, whichever arena they are in."""

    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            lines = [b"%04d " % number + b"the same words again " * (500 if number % 3 else 20) for number in range(40)]
            arenas = [left(cluster, tmp_path / name, *part) for name, part in (("a", lines[:20]), ("b", lines[20:30]))]
            rig = Rig(cluster.bootstrap, draining=tuple(arenas), compression_type="zstd", compression_zstd_level=1)
            for line in lines[30:]:
                rig.send(line)
            # Behind what is still being compressed here, older batches would go out as they are, to keep their order.
            cluster.brokers[1].control(METADATA, lambda _: CLOSE if rig.producer._compressor.busy else None, times=999)
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log, ZSTD) == lines
            assert [batch.payload for batch in log.batches] == [
                encode(Codec(ZSTD, 1), memoryview(decompress(ZSTD, batch.payload))) for batch in log.batches
            ]
            assert all(rig.producer.drained(arena) for arena in arenas)
            await rig.close()

    run(scenario())


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_batches_in_doubt_in_several_arenas_are_one_sequence(tmp_path: Path, taken: int, own_first: bool) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            old = left(cluster, tmp_path / "old", b"old 1", b"old 2")
            rig = Rig(cluster.bootstrap, path=tmp_path / "own", request_timeout_ms=60_000)
            rig.send(b"first")
            await rig.idle()
            requests: list[Request] = []

            def hold(request: Request) -> Nothing:
                requests.append(request)
                if len(requests) <= taken:
                    request.handle()
                return NOTHING

            cluster.brokers[1].control(PRODUCE, hold, times=4)
            rig.producer.attach(old)
            rig.send(b"new 1")
            rig.send(b"new 2")
            await rig.until(lambda: len(requests) == 4)
            await rig.close()
            rig.arena.close()
            old.close()
            both = [Arena.open(tmp_path / name, now_ms=clock()[0]) for name in ("old", "own")]
            if own_first:
                both.reverse()
            rig = Rig(cluster.bootstrap, arena=both[1], draining=(both[0],))
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", b"old 1", b"old 2", b"new 1", b"new 2"]
            assert [arena.ledger()["possible_duplicates"] for arena in both] == [0, 0]
            assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 0
            await rig.close()

    run(scenario())
