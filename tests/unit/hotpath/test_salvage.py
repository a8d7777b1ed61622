"""What is read of an arena that is given up, and what becomes of it in the arena that goes on."""

import os
import random
from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.salvage import books_closed, salvage
from ingestd.hotpath.snapshots import Salvaged
from ingestd.metrics import LEDGER_WORDS, Dropped, Ledger, Rejected, balance, word_of
from tests.model.arena_kit import NOW_MS, balanced, small_arena
from tests.model.build_driver import load
from tests.unit.hotpath.test_arena import fill, sent

driver = load()
PAGE = 4096
SET_ASIDE = word_of(Dropped.SET_ASIDE)


def lived_in(path: Path) -> Arena:
    """An arena with topics, sessions and a cluster; 9 records were accepted, 2 rejected, 4 delivered, 5 are in it."""
    arena = small_arena(path)
    arena.set_cluster_id("home")
    arena.topic_update(1, b"i" * 16, 12)
    arena.session_open(b"s" * 16, NOW_MS)
    arena.session_open(b"t" * 16, NOW_MS)
    arena.session_disconnected(1, NOW_MS - 7)
    done = fill(arena, sent(4))
    arena.stamp(done, 1, 0, 0, 0, NOW_MS)
    arena.done(done)
    fill(arena, sent(5), partition=1)
    driver.Writer(arena).commit([], {0: 2, word_of(Rejected.MALFORMED): 2}, {0: 9, 1: 3})
    return arena


def write(path: Path, changes: dict[int, bytes]) -> None:
    with path.open("r+b") as file:
        for offset, data in changes.items():
            file.seek(offset)
            file.write(data)


def assert_taken_over(own: Arena, dropped: int = 5) -> None:
    books = balance(own.ledger_counters(), own.buffered())
    assert (books.received, books.accepted, books.delivered, books.dropped, books.balanced) == (11, 9, 4, dropped, True)
    assert own.ledger_counters()[SET_ASIDE] == dropped
    assert [(session.session_id, session.last_accepted) for session in own.sessions()] == [
        (b"s" * 16, 9),
        (b"t" * 16, 3),
    ]
    assert [session.disconnected_ms for session in own.sessions()] == [NOW_MS + 1, NOW_MS - 7]
    assert [(topic.name, topic.topic_id, topic.partition_count) for topic in own.topics()] == [
        ("orders", bytes(16), 0),
        ("clicks", b"i" * 16, 12),
    ]


def test_a_fresh_arena_goes_on_for_one_that_was_set_aside(tmp_path: Path) -> None:
    old = lived_in(tmp_path / "old")
    arena_id = old.arena_id
    old.close()
    before = (tmp_path / "old").read_bytes()
    salvaged = salvage(tmp_path / "old")
    assert salvaged is not None
    assert (salvaged.arena_id, salvaged.cluster_id, salvaged.buffered_records) == (arena_id, "home", 5)
    own = Arena.create(None, buffer_bytes=1 << 20, topic_capacity=4, now_ms=NOW_MS)
    assert own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS + 1) == 5
    for _ in range(2):
        assert_taken_over(own)
        assert own.cluster_id == "home"
        assert own.absorbed_ids() == [arena_id]
        assert own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS + 1) == 0
    assert (tmp_path / "old").read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        {20: b"\xff", PAGE + 28: b"\xff"},
        {8: b"\x63", PAGE + 40: b"\xff"},
        {0: bytes(PAGE)},
        {0: bytes(3 * PAGE)},
        {0: b"\xff" * 200, PAGE: b"\xff" * 200},
    ],
)
def test_a_damaged_header_costs_no_tables(tmp_path: Path, damage: dict[int, bytes]) -> None:
    lived_in(tmp_path / "old").close()
    write(tmp_path / "old", damage)
    own = small_arena(None)
    salvaged = salvage(tmp_path / "old", own)
    assert salvaged == salvage(tmp_path / "old", own), "the same file has the same id"
    assert salvaged is not None
    own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS + 1)
    assert_taken_over(own)


def test_without_a_header_only_a_file_of_the_same_size_is_read(tmp_path: Path) -> None:
    lived_in(tmp_path / "old").close()
    write(tmp_path / "old", {0: bytes(3 * PAGE)})
    assert salvage(tmp_path / "old") is None
    assert salvage(tmp_path / "old", small_arena(None, pages=40)) is None


def test_another_layout_is_not_read(tmp_path: Path) -> None:
    lived_in(tmp_path / "old").close()
    write(tmp_path / "old", {8: b"\x63", PAGE + 8: b"\x63"})
    assert salvage(tmp_path / "old", small_arena(None)) is None


def test_a_file_cut_short_still_has_its_tables(tmp_path: Path) -> None:
    own = small_arena(None)
    lived_in(tmp_path / "old").close()
    whole = (tmp_path / "old").read_bytes()
    (tmp_path / "old").write_bytes(whole[: 10 * PAGE])
    salvaged = salvage(tmp_path / "old")
    assert salvaged is not None
    own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS + 1)
    assert_taken_over(own)


def test_lost_counters_are_made_up_from_the_directory(tmp_path: Path) -> None:
    lived_in(tmp_path / "old").close()
    for ledger in (bytes(PAGE), b"\xff" * PAGE, b"\x01" + bytes(PAGE - 1)):
        write(tmp_path / "old", {4 * PAGE: ledger})
        salvaged = salvage(tmp_path / "old")
        assert salvaged is not None
        own = small_arena(None)
        assert own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS) == 5
        assert (own.ledger()["received"], own.ledger()["accepted"], own.ledger()["dropped"]) == (5, 5, 5)
        assert balanced(own)


def test_only_good_directory_lines_are_counted(tmp_path: Path) -> None:
    old = lived_in(tmp_path / "old")
    old.close()
    content = (tmp_path / "old").read_bytes()
    where = [
        at for at in range(0, len(content), 128) if content[at + 24 : at + 28] == b"\x05\0\0\0" and content[at] == 2
    ]
    assert len(where) == 1
    write(tmp_path / "old", {where[0] + 24: b"\x06"})
    salvaged = salvage(tmp_path / "old")
    assert salvaged is not None
    assert salvaged.buffered_records == 0
    assert books_closed(salvaged.words, 0, SET_ASIDE)[1] == 5, "the ledger knows what the directory lost"


def test_garbage_is_never_followed(tmp_path: Path, seed: int) -> None:
    choices = random.Random(seed)
    old = lived_in(tmp_path / "old")
    like = small_arena(None)
    old.close()
    good = (tmp_path / "old").read_bytes()
    path = tmp_path / "garbage"
    for round_number in range(400):
        content = bytearray(good)
        for _ in range(choices.choice((1, 5, 50))):
            start = choices.randrange(12 * PAGE)
            length = choices.choice((1, 8, 300, PAGE))
            content[start : start + length] = choices.choice(
                (bytes(length), b"\xff" * length, choices.randbytes(length))
            )
        if round_number % 4 == 0:
            del content[choices.randrange(len(content)) :]
        path.write_bytes(content)
        salvaged = salvage(path, like)
        if salvaged is not None:
            own = Arena.create(None, buffer_bytes=1 << 20, topic_capacity=2, session_capacity=1, now_ms=NOW_MS)
            own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS)
            assert balanced(own)


@pytest.mark.parametrize("size", [0, 1, 80, PAGE, 2 * PAGE, 5 * PAGE])
def test_a_file_too_short_holds_nothing(tmp_path: Path, size: int) -> None:
    lived_in(tmp_path / "old").close()
    with (tmp_path / "old").open("r+b") as file:
        file.truncate(size)
    assert salvage(tmp_path / "old", small_arena(None)) is None


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert salvage(tmp_path / "pipe") is None
    with pytest.raises(FileNotFoundError):
        salvage(tmp_path / "none")


def test_of_two_rows_of_a_session_the_one_that_is_further_counts() -> None:
    own = small_arena(None)
    own.session_open(b"s" * 16, NOW_MS)
    driver.Writer(own).commit([], {}, {0: 50})
    for number, (sequence, expected) in enumerate(((40, 50), (60, 60))):
        session = own.sessions()[0]._replace(last_accepted=sequence, rejections=((sequence, 3),))
        words = (0,) * LEDGER_WORDS
        own.take_over(Salvaged(bytes([number]) * 16, "", (), (session,), words, 0, ()), 1, now_ms=NOW_MS)
        assert own.sessions()[0].last_accepted == expected
    assert own.sessions()[0].rejections == ((60, 3),)
    assert own.sessions()[0].disconnected_ms == 0


def test_what_an_arena_had_absorbed_is_not_absorbed_again() -> None:
    own, other = small_arena(None), small_arena(None)
    other.book(Ledger.REPEATED, 7)
    words = [0] * LEDGER_WORDS
    words[Ledger.REPEATED] = 7
    ids = tuple(bytes([number]) * 16 for number in range(32))
    own.take_over(Salvaged(b"a" * 16, "", (), (), tuple(words), 0, (*ids[:31], other.arena_id)), 1, now_ms=NOW_MS)
    assert own.absorbed_ids() == [*ids[1:31], other.arena_id, b"a" * 16]
    own.absorb(other)
    assert own.ledger()["repeated"] == 7
