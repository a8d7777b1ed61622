"""Every operation of the arena, cut short after every single store, and recovery after it: the operation has happened
or it has not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.splitting import split
from tests.model.arena_kit import (
    ACCEPTED,
    ACCEPTED_BYTES,
    NOW_MS,
    RECEIVED,
    Sent,
    encode,
    recover_image,
    run_bytes,
    session_run,
    small_arena,
)
from tests.model.build_driver import load
from tests.model.stepping import images_of_crashes, refusal

pytestmark = pytest.mark.skipif(bool(refusal()), reason=refusal())
driver = load()
RECORDS = [Sent(NOW_MS + index, b"key", b"value %d" % index) for index in range(4)]
ENCODED = {offset: encode(RECORDS, NOW_MS, offset) for offset in (0, 4)}
RUNS = {first: run_bytes(session_run(0, first, 4, gaps=b"\x00\x01\x00")) for first in (1, 5, 10, 14)}


class Bench:
    """A small arena with a sealed batch, a stamped one, a batch open with two records, and one being written."""

    def __init__(self, path: Path) -> None:
        self.arena = small_arena(path)
        self.writer = driver.Writer(self.arena)
        self.row = self.arena.session_open(b"s" * 16, NOW_MS).index
        self.sealed = self.batch(0, 1)
        self.stamped = self.batch(0, 2)
        self.arena.take_sealed()
        self.arena.stamp(self.stamped, 77, 3, 100, 0, NOW_MS)
        self.half = self.open_batch(1, 5)
        self.write(self.half, 5)
        self.commit([self.half], 5)
        self.fresh = self.open_batch(1, 6)

    def open_batch(self, topic: int, partition: int) -> int:
        """Handle of a new batch of four pages."""
        handle: int = self.writer.open(topic, partition, 100, 13000, NOW_MS)
        assert handle >= 0
        return handle

    def write(self, handle: int, first: int, offset: int = 0) -> None:
        """Four records of the session from sequence ``first`` on, with gaps between them."""
        self.writer.write(handle, ENCODED[offset], 4, RUNS[first], NOW_MS, NOW_MS + 3)

    def commit(self, handles: list[int], sequence: int, plant: int = 0) -> None:
        """The end of a read."""
        count = 4 * len(handles)
        books = {RECEIVED: count, ACCEPTED: count, ACCEPTED_BYTES: 100}
        self.writer.commit(handles, books, {self.row: sequence}, plant)

    def batch(self, topic: int, partition: int) -> int:
        """Entry of a sealed batch."""
        handle = self.open_batch(topic, partition)
        entry: int = self.writer.entry(handle)
        self.write(handle, 1)
        self.commit([handle], 4)
        self.writer.seal(handle)
        return entry


def commit_two(bench: Bench) -> None:
    bench.write(bench.half, 10, offset=4)
    bench.write(bench.fresh, 14)
    bench.commit([bench.half, bench.fresh], 18)


def open_batch(bench: Bench) -> None:
    handle = bench.open_batch(0, 9)
    bench.writer.scribble(handle, b"half a record")


def done_with_view(bench: Bench) -> None:
    view = bench.arena.view(bench.stamped)
    bench.arena.done(bench.stamped)
    view.release()


def reuse(bench: Bench) -> None:
    bench.arena.done(bench.stamped)
    bench.batch(0, 2)


def absorb_twice(bench: Bench, other: Arena) -> None:
    bench.arena.absorb(other)
    bench.arena.absorb(other)


OPERATIONS: dict[str, Callable[[Bench], object]] = {
    "commit of two batches, books and session": commit_two,
    "open": open_batch,
    "seal": lambda bench: bench.writer.seal(bench.half),
    "compress": lambda bench: bench.arena.compress(bench.sealed, b"compressed" * 30, 4),
    "stamp": lambda bench: bench.arena.stamp(bench.sealed, 99, 1, 5, 2, NOW_MS),
    "dispatch": lambda bench: bench.arena.dispatch(bench.sealed, 99, 1, 5, 2, NOW_MS).release(),
    "restamp": lambda bench: bench.arena.restamp(bench.stamped, 99, 4, 0, 1, NOW_MS),
    "attempted": lambda bench: bench.arena.attempted(bench.stamped, NOW_MS + 5),
    "done": lambda bench: bench.arena.done(bench.stamped),
    "done while viewed": done_with_view,
    "fail sealed": lambda bench: bench.arena.fail(bench.sealed, 2),
    "fail stamped": lambda bench: bench.arena.fail(bench.stamped, 5),
    "repair stamped": lambda bench: bench.arena.repair(bench.stamped, [0, 2], 1),
    "split sealed": lambda bench: split(bench.arena, bench.sealed, 0),
    "split stamped": lambda bench: split(bench.arena, bench.stamped, 1),
    "topic": lambda bench: bench.arena.topic_add("x" * 249),
    "topic update": lambda bench: bench.arena.topic_update(0, b"i" * 16, 12),
    "cluster id": lambda bench: bench.arena.set_cluster_id("lkc-1234567890123456789"),
    "session open": lambda bench: bench.arena.session_open(b"t" * 16, NOW_MS),
    "session close": lambda bench: bench.arena.session_close(bench.row),
    "session rejections": lambda bench: bench.writer.reject(bench.row, [(5, 1), (9, 2)]),
    "session disconnected": lambda bench: bench.arena.session_disconnected(bench.row, NOW_MS),
    "possible duplicates": lambda bench: bench.arena.possible_duplicates(4),
}


def outcomes(tmp_path: Path, bench: Bench, operation: Callable[[], object]) -> list[dict[str, Any]]:
    """What recovery finds after a crash before, within and after the operation, repetitions left out."""
    assert bench.arena.path is not None
    found: list[dict[str, Any]] = []
    for image in images_of_crashes(Path(bench.arena.path), operation, bench.arena):
        outcome = recover_image(image, tmp_path / "image.arena")
        if not found or found[-1] != outcome:
            found.append(outcome)
    return found


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_crash_after_any_store_leaves_all_of_an_operation_or_nothing(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    found = outcomes(tmp_path, bench, lambda: OPERATIONS[name](bench))
    # Opening a batch, sealing what recovery would seal, and giving pages back change nothing that recovery shows.
    assert len(found) == (1 if name in ("open", "seal") else 2)
    assert not any(outcome["damage"] for outcome in found)


def test_no_store_escapes_where_the_child_runs_between_stores(tmp_path: Path) -> None:
    path = tmp_path / "a.arena"
    bench = Bench(path)
    before = path.read_bytes()
    stepped = list(images_of_crashes(path, lambda: commit_two(bench)))
    with path.open("r+b") as file:
        file.write(before)
    assert list(images_of_crashes(path, lambda: commit_two(bench), bench.arena)) == stepped
    assert len(stepped) > 40


@pytest.mark.parametrize("name", ["compress", "repair stamped"])
def test_in_a_full_arena_a_batch_is_in_the_reserve_for_a_moment(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    while bench.arena.free_pages:
        bench.batch(0, 20)
    before, moment, after = outcomes(tmp_path, bench, lambda: OPERATIONS[name](bench))
    assert before["free"][1] == after["free"][1] == 4
    assert moment["free"][1] == 3
    assert moment | {"free": ()} == after | {"free": ()}
    assert moment["damage"] == []


def test_a_page_and_an_entry_used_again_show_the_old_batch_or_the_new_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    found = outcomes(tmp_path, bench, lambda: reuse(bench))
    counts = [sum(batch.record_count for batch, _, _ in outcome["batches"]) for outcome in found]
    assert counts == [12, 8, 12]
    assert not any(outcome["damage"] for outcome in found)


@pytest.mark.exhaustive
def test_absorbing_an_arena_books_it_once_wherever_it_is_cut(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    other = small_arena(None)
    other.book(ACCEPTED, 10)
    other.book(2, 10)
    other.session_open(b"u" * 16, NOW_MS)
    found = outcomes(tmp_path, bench, lambda: absorb_twice(bench, other))
    assert [outcome["books"][ACCEPTED] for outcome in found] == [12, 12, 22]
    assert [len(outcome["sessions"]) for outcome in found] == [1, 2, 2]


@pytest.mark.exhaustive
def test_recovery_may_be_cut_after_any_of_its_own_stores(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    view = bench.arena.view(bench.sealed)
    bench.arena.fail(bench.sealed, 2)
    path = tmp_path / "left.arena"
    assert bench.arena.path is not None
    path.write_bytes(Path(bench.arena.path).read_bytes())
    found: list[dict[str, Any]] = []
    for image in images_of_crashes(path, lambda: Arena.open(str(path), now_ms=NOW_MS)):
        outcome = recover_image(image, tmp_path / "image.arena")
        if not found or found[-1] != outcome:
            found.append(outcome)
    assert len(found) == 1
    assert len(found[0]["batches"]) == 2
    view.release()


@pytest.mark.exhaustive
@pytest.mark.parametrize("word", [1, 2], ids=["line", "contents"])
def test_damage_is_booked_wherever_its_recovery_is_cut(word: int, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    assert bench.arena.path is not None
    image = bytearray(Path(bench.arena.path).read_bytes())
    at = 7 * 4096 + 128 * bench.stamped + 8 if word == 1 else image.index(b"value 1", image.index(b"value 1") + 1)
    image[at] ^= 0xFF
    path = tmp_path / "left.arena"
    path.write_bytes(image)
    for image_left in images_of_crashes(path, lambda: Arena.open(str(path), now_ms=NOW_MS)):
        # It fails where the books do not balance.
        found = recover_image(image_left, tmp_path / "image.arena")
        assert sum(batch.record_count for batch, _, _ in found["batches"]) == 8
        assert found["books"][72 + 2] == 4


@pytest.mark.parametrize("plant", ["COMMIT_BEFORE_PAYLOAD", "APPLY_BEFORE_PUBLISH", "CLEAR_BEFORE_APPLY"])
def test_a_planted_ordering_bug_is_caught(plant: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    bench.write(bench.half, 10, offset=4)
    wrong = 0
    assert bench.row == 0
    before = recover_image((tmp_path / "a.arena").read_bytes(), tmp_path / "image.arena")

    def operation() -> None:
        bench.commit([bench.half], 14, getattr(driver, f"PLANT_{plant}"))

    images = list(images_of_crashes(tmp_path / "a.arena", operation, bench.arena))
    after = recover_image(images[-1], tmp_path / "image.arena")
    for image in images:
        try:
            wrong += recover_image(image, tmp_path / "image.arena") not in (before, after)
        except AssertionError:
            wrong += 1
    assert wrong > 0
