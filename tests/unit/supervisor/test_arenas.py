"""Which arena files a worker takes up."""

from ingestd.supervisor.arenas import arena_name, assign


def test_own_arenas_are_not_adopted_and_strangers_are_left_alone() -> None:
    names = [arena_name(0), arena_name(1), "scoreboard", "worker-0.arena.set-aside-1", "worker-1.arena.quarantine-2"]
    assert assign(names, 2) == {0: (), 1: ()}


def test_left_over_arenas_stay_with_their_worker() -> None:
    assert assign(["worker-1.drain-1.arena", "worker-1.drain-2.arena"], 2)[1] == (
        "worker-1.drain-1.arena",
        "worker-1.drain-2.arena",
    )


def test_arenas_of_removed_workers_are_spread_over_the_others() -> None:
    names = [arena_name(worker) for worker in range(5)] + ["worker-3.drain-1.arena"]
    assert assign(names, 2) == {
        0: ("worker-2.arena", "worker-4.arena"),
        1: ("worker-3.arena", "worker-3.drain-1.arena"),
    }


def test_without_a_file_of_its_own_a_worker_drains_the_one_it_had() -> None:
    names = [arena_name(0), arena_name(1), arena_name(2), "worker-1.drain-1.arena"]
    assert assign(names, 2, in_memory=True) == {
        0: ("worker-0.arena", "worker-2.arena"),
        1: ("worker-1.arena", "worker-1.drain-1.arena"),
    }
