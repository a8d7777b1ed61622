"""Topics, sessions, cluster id and books of an arena."""

import os
from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena, ArenaFull, Session
from tests.model.arena_kit import NOW_MS, Sent, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load

driver = load()


def hold_record(arena: Arena, row: int) -> int:
    """A sealed batch with one record of that session; its entry."""
    writer = driver.Writer(arena)
    handle = writer.open(0, 0, 200, 200, NOW_MS)
    writer.write(
        handle, encode([Sent(NOW_MS, None, b"v")], NOW_MS, 0), 1, run_bytes(session_run(row, 1, 1)), NOW_MS, NOW_MS
    )
    writer.commit([handle], {1: 1})
    entry: int = writer.entry(handle)
    writer.seal(handle)
    return entry


def test_topics_keep_their_rows(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    assert arena.topic_add("orders") == 0
    assert arena.topic_add("Ä" * 124) == 2
    arena.topic_update(1, b"i" * 16, 12)
    arena.close()
    arena = Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    assert [(topic.index, topic.name, topic.partition_count) for topic in arena.topics()] == [
        (0, "orders", 0),
        (1, "clicks", 12),
        (2, "Ä" * 124, 0),
    ]
    assert arena.topics()[1].topic_id == b"i" * 16
    assert arena.topic_add("next") == 3
    with pytest.raises(ArenaFull, match="4 topics"):
        arena.topic_add("one too many")


@pytest.mark.parametrize("name", ["", "x" * 250, "é" * 125])
def test_a_topic_name_beyond_kafkas_limit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="topic name"):
        small_arena(None).topic_add(name)


def test_one_damaged_copy_of_a_topic_costs_nothing(tmp_path: Path) -> None:
    for place in (5 * 4096, 5 * 4096 + 4 * 288):
        path = tmp_path / f"{place}.arena"
        small_arena(path).close()
        with path.open("r+b") as file:
            file.seek(place + 40)
            file.write(b"?")
        arena = Arena.open(str(path), now_ms=NOW_MS)
        assert [topic.name for topic in arena.topics()] == ["orders", "clicks"]


def test_the_cluster_id_is_kept(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    assert arena.cluster_id == ""
    for cluster_id in ("MkU3OEVBNTcwNTJENDM2Qg", "x" * 120, "short", ""):
        arena.set_cluster_id(cluster_id)
        assert arena.cluster_id == cluster_id
    arena.set_cluster_id("kept")
    arena.close()
    assert Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS).cluster_id == "kept"
    with pytest.raises(ValueError, match="121 bytes"):
        small_arena(None).set_cluster_id("x" * 121)


def test_a_session_is_found_again(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    assert arena.session_open(b"a" * 16, NOW_MS) == Session(0, b"a" * 16, 0, (), 0)
    assert arena.session_open(b"b" * 16, NOW_MS).index == 1
    driver.Writer(arena).commit([], {}, {1: 42})
    driver.Writer(arena).reject(1, [(40, 2), ((1 << 48) - 1, 21)])
    arena.session_disconnected(1, NOW_MS + 9)
    arena.close()
    arena = Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    expected = Session(1, b"b" * 16, 42, ((40, 2), ((1 << 48) - 1, 21)), NOW_MS + 9)
    assert arena.session_find(b"b" * 16) == expected
    assert arena.sessions() == [Session(0, b"a" * 16, 0, (), 0), expected]
    assert arena.session_find(b"c" * 16) is None
    arena.session_confirm(1, 40)
    assert arena.sessions()[1].rejections == (((1 << 48) - 1, 21),)
    arena.session_confirm(1, 1 << 60)
    assert arena.sessions()[1].rejections == ()


@pytest.mark.parametrize("session_id", [b"", b"x" * 15, bytes(16)])
def test_a_session_id_is_sixteen_bytes_not_all_zero(session_id: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        small_arena(None).session_open(session_id, NOW_MS)


def test_a_full_session_table_names_whom_to_forget() -> None:
    arena = small_arena(None)
    for _ in range(8):
        arena.session_open(os.urandom(16), NOW_MS)
        assert arena.session_forgettable(NOW_MS) == -1
    with pytest.raises(ArenaFull, match="8 rows"):
        arena.session_open(os.urandom(16), NOW_MS)
    for index, age_ms in ((3, 50), (5, 70), (6, 60)):
        arena.session_disconnected(index, NOW_MS - age_ms)
    entry = hold_record(arena, 5)
    assert arena.session_forgettable(NOW_MS) == 6
    assert arena.session_forgettable(NOW_MS - 65) == -1
    arena.fail(entry, 1)
    assert arena.session_forgettable(NOW_MS) == 6, "known since the last walk"
    for index in (6, 3, 5):
        assert arena.session_forgettable(NOW_MS) == index
        arena.session_close(index)
        session_id = bytes([1 + index]) * 16
        assert arena.session_open(session_id, NOW_MS).index == index
        assert arena.session_find(session_id) == Session(index, session_id, 0, (), 0)
    assert arena.session_forgettable(NOW_MS) == -1


def test_a_session_that_came_back_is_not_forgotten_with_what_it_sent() -> None:
    arena = small_arena(None, session_capacity=2)
    for index in range(2):
        arena.session_open(bytes([1 + index]) * 16, NOW_MS)
        arena.session_disconnected(index, NOW_MS + index)
    assert arena.session_forgettable(NOW_MS) == 0
    arena.session_disconnected(0, 0)
    entry = hold_record(arena, 0)
    arena.session_disconnected(0, NOW_MS)
    assert arena.session_forgettable(NOW_MS) == -1
    assert arena.session_forgettable(NOW_MS + 1) == 1
    arena.session_close(0)
    arena.session_close(1)
    assert arena.session_open(b"n" * 16, NOW_MS).index == 1
    with pytest.raises(ArenaFull):
        arena.session_open(b"m" * 16, NOW_MS)
    arena.fail(entry, 1)
    assert arena.session_open(b"m" * 16, NOW_MS).index == 0


def test_records_with_an_outcome_keep_no_row_though_their_bytes_are_on_their_way() -> None:
    arena = small_arena(None, session_capacity=1)
    arena.session_open(b"a" * 16, NOW_MS)
    entry = hold_record(arena, 0)
    arena.session_close(0)
    view = arena.dispatch(entry, 1, 0, 0, 0, NOW_MS)
    arena.done(entry)
    assert arena.view_count(entry) == 1
    assert arena.session_open(b"b" * 16, NOW_MS).index == 0
    view.release()


def test_a_row_is_not_given_out_while_its_records_are_in_the_arena(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena", session_capacity=1)
    arena.session_open(b"a" * 16, NOW_MS)
    entry = hold_record(arena, 0)
    arena.session_close(0)
    for _ in range(2):
        with pytest.raises(ArenaFull):
            arena.session_open(b"b" * 16, NOW_MS)
        arena.close()
        arena = Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    arena.done(entry)
    assert arena.session_open(b"b" * 16, NOW_MS).index == 0


def test_an_unknown_session_row_is_our_own_mistake() -> None:
    arena = small_arena(None)
    for index in (0, 7, 8, 4_000_000_000):
        with pytest.raises(ValueError, match="no session"):
            arena.session_close(index)
    arena.session_open(b"a" * 16, NOW_MS)
    with pytest.raises(ValueError, match="of that id"):
        arena.session_open(b"a" * 16, NOW_MS)


def test_the_books_name_their_words() -> None:
    arena = small_arena(None)
    arena.book(0, 9)
    arena.book(16 + 4, 2)
    arena.book(48 + 5, 3)
    arena.book(72 + 1, 4)
    arena.possible_duplicates(6)
    books = arena.ledger()
    assert (books["received"], books["rejected"], books["rejected.4"]) == (9, 2, 2)
    assert (books["failed.5"], books["dropped.1"], books["possible_duplicates"]) == (3, 4, 6)
    assert len(arena.ledger_counters()) == 128
    with pytest.raises(ValueError, match="no ledger word"):
        arena.book(128, 1)
