"""An arena's whole life under the real intake, cut after every instruction that stores in it: what was told is all
there, what is being done is there wholly or not at all, no record is in two states, and the books balance.
"""

import random
from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena
from tests.model.arena_kit import NOW_MS
from tests.model.arena_life import Life
from tests.model.arena_lives import STEPS, by_chance, every_step
from tests.model.arena_watch import recovered, watch
from tests.model.stepping import images_of_crashes, refusal

pytestmark = pytest.mark.skipif(bool(refusal(far=True)), reason=refusal(far=True))

KEPT = 40


@pytest.mark.exhaustive
def test_every_step_once(tmp_path: Path) -> None:
    images = watch(tmp_path / "a.arena", every_step)
    assert images.keys() >= STEPS
    assert sum(images.values()) > 900


@pytest.mark.exhaustive
def test_random_lives(tmp_path: Path, seed: int) -> None:
    images = watch(tmp_path / "a.arena", lambda life: by_chance(life, seed, 30))
    assert sum(images.values()) > 200


def test_a_read_in_parts_may_come_before_a_step_that_stores_nothing(tmp_path: Path) -> None:
    def live(life: Life) -> None:
        life.session_open(b"s" * 16)
        life.set_cluster_id("c")
        # More than a batch in one read: it is sealed and opened anew within.
        life.read([(0, b"k", bytes([65 + index]) * 700) for index in range(6)])
        life.set_cluster_id("c")
        life.set_cluster_id("d")

    assert watch(tmp_path / "a.arena", live).keys() >= {"read", "cluster id"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(4))
def test_long_random_lives(number: int, tmp_path: Path, seed: int) -> None:
    images = watch(tmp_path / "a.arena", lambda life: by_chance(life, seed + number, 1000))
    assert sum(images.values()) > 20_000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_recovery_that_is_cut_itself_is_done_again(tmp_path: Path, seed: int) -> None:
    path, life, chosen = tmp_path / "a.arena", Life(tmp_path / "life.arena"), random.Random(seed)
    images: list[bytes] = []
    for number, image in enumerate(images_of_crashes(tmp_path / "life.arena", lambda: every_step(life), life.arena)):
        # Any of them is as likely to be kept; all would take half a gigabyte.
        place = number if number < KEPT else chosen.randrange(number + 1)
        if place < KEPT:
            images[place : place + 1] = [image]
    for image in images:
        once = recovered(image, path)
        path.write_bytes(image)
        for cut in images_of_crashes(path, lambda: Arena.open(path, now_ms=NOW_MS)):
            assert recovered(cut, tmp_path / "again.arena") == once


@pytest.mark.parametrize("verb", ["read", "dispatch", "done"])
def test_an_outcome_told_before_it_is_in_the_arena_is_caught(verb: str, tmp_path: Path) -> None:
    def live(life: Life) -> None:
        life.session_open(b"s" * 16)
        life.hasty = verb == "read"
        life.read([(0, b"key", b"value")])
        life.seal()
        (batch,) = life.all_batches()
        life.hasty = verb == "dispatch"
        life.stamp(batch, (77, 0, 0), 0, "dispatch")
        life.hasty = verb == "done"
        life.done(batch)

    with pytest.raises(AssertionError, match=f"step ., {verb}, store 1: "):
        watch(tmp_path / "a.arena", live)
