"""Opening an arena after its owner's death, and with damage in it: neighbours unharmed, nothing made up, the books
balance.
"""

from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena, BatchState
from tests.model.arena_kit import NOW_MS, Sent, balanced, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load
from tests.reference.batch_decoder import decode_batch

driver = load()
DIRECTORY = 7 * 4096  # of a small arena: header 2, intent 2, ledger, topics, sessions


def record(text: bytes) -> list[Sent]:
    """One record."""
    return [Sent(NOW_MS, b"k", text)]


def fill(arena: Arena, text: bytes, partition: int = 0) -> int:
    """Entry of a sealed batch of one record."""
    writer = driver.Writer(arena)
    handle = writer.open(0, partition, 500, 0, NOW_MS)
    writer.write(handle, encode(record(text), NOW_MS, 0), 1, run_bytes(session_run(0, 1, 1)), NOW_MS, NOW_MS)
    writer.commit([handle], {0: 1, 1: 1})
    entry: int = writer.entry(handle)
    writer.seal(handle)
    return entry


def reopened(arena: Arena, *changes: tuple[int, bytes]) -> Arena:
    """The arena as its successor finds it, with some bytes changed."""
    assert arena.path is not None
    path = Path(arena.path).with_name("successor.arena")
    image = bytearray(Path(arena.path).read_bytes())
    for offset, data in changes:
        image[offset : offset + len(data)] = data
    path.write_bytes(image)
    return Arena.open(str(path), now_ms=NOW_MS)


def values(arena: Arena) -> list[bytes | None]:
    """All values in the arena."""
    return [one.value for batch in arena.recovered() for one in arena.records(batch.entry)]


@pytest.fixture(name="arena")
def three_batches(tmp_path: Path) -> Arena:
    """Entries 0 to 2 on pages 0 to 2: sealed, stamped, sealed."""
    arena = small_arena(tmp_path / "a.arena")
    for index, text in enumerate((b"first", b"second", b"third")):
        assert fill(arena, text) == index
    arena.stamp(1, 77, 3, 500, 9, NOW_MS)
    arena.attempted(1, NOW_MS + 1)
    return arena


def data_offset(arena: Arena) -> int:
    """Of page 0."""
    return arena.file_bytes - (arena.page_count + arena.reserve_pages) * 4096


def test_everything_is_found_in_order(arena: Arena) -> None:
    found = reopened(arena)
    assert values(found) == [b"first", b"second", b"third"]
    stamped = found.recovered()[1]
    assert stamped == arena.batch(1)
    with found.view(1) as view:
        assert decode_batch(bytes(view)).base_sequence == 500
    assert found.damage == []
    assert balanced(found)
    assert fill(found, b"fourth") == 3
    assert values(found) == [b"first", b"second", b"third", b"fourth"]


def test_batches_come_back_per_partition_in_the_order_of_opening(arena: Arena) -> None:
    arena.fail(0, 1)
    assert fill(arena, b"fourth") == 0
    assert fill(arena, b"other", partition=1) == 3
    assert [batch.entry for batch in reopened(arena).recovered()] == [1, 2, 0, 3]


def test_an_open_batch_is_cut_at_its_last_commit(arena: Arena) -> None:
    writer = driver.Writer(arena)
    handle = writer.open(0, 5, 3000, 6000, NOW_MS)
    writer.write(handle, encode(record(b"a"), NOW_MS, 0), 1, run_bytes(session_run(0, 2, 1)), NOW_MS, NOW_MS)
    writer.commit([handle], {0: 1, 1: 1})
    writer.write(handle, encode(record(b"not yet"), NOW_MS, 1), 1, run_bytes(session_run(0, 3, 1)), NOW_MS, NOW_MS)
    found = reopened(arena)
    assert values(found) == [b"first", b"second", b"third", b"a"]
    assert found.batch(3).state == BatchState.SEALED
    assert [run.first_sequence for run in found.provenance(3)] == [2]
    assert found.page_count - found.free_pages == 4
    assert balanced(found)


def test_pages_kept_only_by_a_dead_owners_views_are_free_again(arena: Arena) -> None:
    view = arena.view(1)
    arena.done(1)
    found = reopened(arena)
    assert values(found) == [b"first", b"third"]
    assert found.free_pages == found.page_count - 2
    assert found.ledger()["delivered"] == 1
    view.release()


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_damaged_contents_cost_that_batch_only(arena: Arena, entry: int) -> None:
    found = reopened(arena, (data_offset(arena) + entry * 4096 + 70, b"?"))
    left = [b"first", b"second", b"third"]
    del left[entry]
    assert values(found) == left
    (damage,) = found.damage
    assert (damage.entry, damage.record_count, damage.reason) == (entry, 1, "contents")
    assert found.ledger()["dropped.2"] == 1
    assert balanced(found)
    copy = Path(damage.quarantined_to).read_bytes()
    assert damage.quarantined_to == f"{found.path}.quarantine-1"
    assert len(copy) == 128 + 4096
    assert copy[128 + 61 : 128 + 4096].count(b"?") == 1
    path = found.path
    assert path is not None
    found.close()
    again = Arena.open(path, now_ms=NOW_MS)
    assert again.damage == []
    assert values(again) == left


@pytest.mark.parametrize("word", range(8))
def test_a_damaged_entry_costs_that_batch_only_and_the_books_say_how_much(arena: Arena, word: int) -> None:
    found = reopened(arena, (DIRECTORY + 128 + word * 8 + 2, b"\xa5\x5a"))
    assert values(found) == [b"first", b"third"]
    (damage,) = found.damage
    assert (damage.entry, damage.record_count, damage.reason) == (1, -1, "directory entry")
    assert found.ledger()["dropped.2"] == 1
    assert balanced(found)


@pytest.mark.parametrize("word", range(8))
def test_a_damaged_stamp_is_read_back_from_the_finished_header(arena: Arena, word: int) -> None:
    found = reopened(arena, (DIRECTORY + 128 + 64 + word * 8 + 1, b"\xa5\x5a"))
    assert values(found) == [b"first", b"second", b"third"]
    batch = found.batch(1)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (77, 3, 500)
    assert batch.attempts == 1
    assert found.provenance(1) == []
    with found.view(1) as view:
        assert decode_batch(bytes(view)).producer_id == 77


def test_a_stamp_that_cannot_be_read_back_is_damage(arena: Arena) -> None:
    changes = [(DIRECTORY + 128 + 64, b"\xa5"), (data_offset(arena) + 4096 + 50, b"\x01")]
    found = reopened(arena, *changes)
    assert values(found) == [b"first", b"third"]
    assert found.damage[0].reason == "stamp"
    assert balanced(found)


def test_a_batch_of_a_lost_topic_is_put_aside(arena: Arena) -> None:
    rows = 5 * 4096
    found = reopened(arena, (rows, bytes(288 * 2)), (rows + 4 * 288, bytes(288 * 2)))
    assert found.recovered() == []
    assert {damage.reason for damage in found.damage} == {"no records, or no such topic"}
    assert found.ledger()["dropped.2"] == 3
    assert balanced(found)


def test_where_nothing_can_be_copied_nothing_is_touched(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(path: str, content: bytes) -> str:
        raise OSError(28, f"no space for {len(content)} bytes beside {path}")

    with monkeypatch.context() as patch:
        patch.setattr("ingestd.hotpath.recovery.quarantine_write", no_space)
        found = reopened(arena, (data_offset(arena) + 70, b"?"))
    assert values(found) == [b"second", b"third"]
    assert found.damage[0].quarantined_to == ""
    assert "no space" in found.damage[0].reason
    assert balanced(found)
    assert found.page_count - found.free_pages == 3
    for entry in (1, 2):
        found.fail(entry, 1)
    # Who drains this arena must not remove it: the next recovery tries again.
    assert (found.oldest_created_ms, found.emptied) == (0, False)
    with pytest.raises(ValueError, match="empty"):
        small_arena(None).absorb(found)
    entries = [fill(found, b"new") for _ in range(4)]
    assert 0 not in entries
    assert found.path is not None
    found.close()
    again = Arena.open(found.path, now_ms=NOW_MS)
    assert Path(again.damage[0].quarantined_to).exists()
    assert again.ledger()["dropped.2"] == 1
    assert balanced(again)
    for entry in entries:
        again.fail(entry, 1)
    assert again.emptied


def test_an_entry_of_unknown_contents_that_cannot_be_copied_keeps_its_arena(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(path: str, content: bytes) -> str:
        raise OSError(28, f"no space for {len(content)} bytes beside {path}")

    for entry in (1, 2):
        arena.fail(entry, 1)
    with monkeypatch.context() as patch:
        patch.setattr("ingestd.hotpath.recovery.quarantine_write", no_space)
        found = reopened(arena, (DIRECTORY + 8, b"?"))
    assert (found.buffered(), found.buffered_records, found.emptied) == (0, 0, False)
    assert balanced(found)
    with pytest.raises(ValueError, match="empty"):
        small_arena(None).absorb(found)


def test_quarantine_files_are_never_overwritten(arena: Arena) -> None:
    assert arena.path is not None
    folder = Path(arena.path).parent
    for number in range(1, 4):
        (folder / f"successor.arena.quarantine-{number}").mkdir()
    found = reopened(arena, (data_offset(arena) + 70, b"?"))
    assert found.damage[0].quarantined_to.endswith("-4")


def test_an_intent_with_a_bad_checksum_is_not_applied(arena: Arena) -> None:
    intent = 2 * 4096
    found = reopened(arena, (intent, b"\x02\x00\x00\x00\xff\xff\xff\xff"))
    assert values(found) == [b"first", b"second", b"third"]
    assert balanced(found)
