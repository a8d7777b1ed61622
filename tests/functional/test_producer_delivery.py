"""The producer over real TCP, against the scripted broker."""

import pytest

from tests.fakes.broker import FakeCluster
from tests.functional.producer_rig import lines_of, running


def run(coroutine: object) -> None:
    import uvloop

    uvloop.run(coroutine)  # type: ignore[arg-type]


def test_batches_arrive_once_and_in_order() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            for number in range(20):
                rig.send(b"%d" % number)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(20)]
            assert rig.arena.ledger()["delivered"] == 20
            assert [offset for _, offset, _ in rig.events.delivered] == list(range(20))

    run(scenario())


if __name__ == "__main__":
    pytest.main()
