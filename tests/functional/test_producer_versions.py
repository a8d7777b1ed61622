"""Brokers of every age: which version of each api goes over the wire, and what a too new question is answered with."""

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

import pytest
import uvloop
from kio.schema.errors import ErrorCode

from tests.fakes.broker import API_VERSIONS, INIT_PRODUCER_ID, METADATA, PRODUCE, FakeBroker, FakeCluster, body_of
from tests.functional.producer_rig import lines_of, running

RELEASES: dict[str, dict[int, tuple[int, int]]] = {
    "2.1": {PRODUCE: (0, 7), METADATA: (0, 7), API_VERSIONS: (0, 2), INIT_PRODUCER_ID: (0, 1)},
    "2.4": {PRODUCE: (0, 8), METADATA: (0, 9), API_VERSIONS: (0, 3), INIT_PRODUCER_ID: (0, 2)},
    "2.8": {PRODUCE: (0, 9), METADATA: (0, 11), API_VERSIONS: (0, 3), INIT_PRODUCER_ID: (0, 4)},
    "3.9": {PRODUCE: (0, 11), METADATA: (0, 12), API_VERSIONS: (0, 4), INIT_PRODUCER_ID: (0, 5)},
    "4.0": {PRODUCE: (0, 12), METADATA: (0, 13), API_VERSIONS: (0, 4), INIT_PRODUCER_ID: (0, 5)},
    "4.1": {PRODUCE: (0, 13), METADATA: (0, 13), API_VERSIONS: (0, 4), INIT_PRODUCER_ID: (0, 5)},
    "of the future": {PRODUCE: (3, 13), METADATA: (5, 13), API_VERSIONS: (0, 4), INIT_PRODUCER_ID: (1, 5)},
}
SPOKEN = {"2.1": (7, 7, 2, 1), "2.4": (8, 9, 3, 2), "2.8": (9, 11, 3, 4), "3.9": (11, 12, 4, 5), "4.0": (12, 13, 4, 5)}
APIS = (PRODUCE, METADATA, API_VERSIONS, INIT_PRODUCER_ID)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def watched(broker: FakeBroker) -> dict[int, int]:
    """The version of the last request of each api that could be answered."""
    versions: dict[int, int] = {}

    def note(request: Any) -> None:
        versions[request.api_key] = request.version

    for api_key in APIS:
        broker.control(api_key, note, times=100)
    return versions


@pytest.mark.parametrize("release", RELEASES)
def test_the_highest_version_that_both_sides_speak_is_spoken(release: str) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        broker.ranges.update(RELEASES[release])
        versions = watched(broker)
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]
            assert tuple(versions[api_key] for api_key in APIS) == SPOKEN.get(release, (13, 13, 4, 5))

    run(scenario())


def test_produce_13_goes_down_to_12_for_a_topic_whose_id_is_not_known() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        broker.ranges[METADATA] = (0, 9)  # without topic ids
        versions = watched(broker)
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]
            assert versions[PRODUCE] == 12

    run(scenario())


@pytest.mark.parametrize("list_is_empty", [False, True], ids=["with its versions", "with an empty list"])
def test_a_broker_too_old_for_our_api_versions_is_asked_in_its_own(list_is_empty: bool) -> None:
    """The refusal is of version 0 whatever was asked; before 2.4 its list was empty."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        versions = watched(broker)
        broker.clear_controls()
        refusals = 0

        def refuse(request: Any) -> bytes | None:
            nonlocal refusals
            if request.version <= 1:
                versions[API_VERSIONS] = request.version
                return None
            refusals += 1
            module = import_module("kio.schema.api_versions.v0.response")
            known = () if list_is_empty else (module.ApiVersion(api_key=18, min_version=0, max_version=1),)
            return body_of(module.ApiVersionsResponse(error_code=ErrorCode(35), api_keys=known))

        broker.control(API_VERSIONS, refuse, times=100)
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]
            assert versions[API_VERSIONS] == (0 if list_is_empty else 1)
            assert refusals == broker.connections, "one detour for each connection: each is asked anew"

    run(scenario())


def test_a_broker_that_shares_no_version_is_told_by_name_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        broker.ranges[METADATA] = (0, 3)
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.until(lambda: broker.connections > 2)
            broker.ranges[METADATA] = (0, 13)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    with caplog.at_level("INFO"):
        run(scenario())
    assert "shares no version of Produce or Metadata" in caplog.text


def test_an_election_that_is_stuck_makes_no_storm_of_metadata_requests() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        async with running(cluster, retry_backoff_ms=100, retry_backoff_max_ms=1000) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.move("t", 0, -1)
            before, began = broker.requests[METADATA], asyncio.get_running_loop().time()
            for number in range(100):
                rig.send(b"%d" % number)
                await asyncio.sleep(0.02)
            late_s = asyncio.get_running_loop().time() - began - 2
            assert broker.requests[METADATA] - before <= 7 + late_s / 0.8, "at 0.1, 0.3, 0.7, 1.5 and 2.5 s"
            cluster.move("t", 0, 1)
            await rig.idle()

    run(scenario())
