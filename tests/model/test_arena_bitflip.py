"""One flipped bit anywhere in an arena: recovery never fails but by the named error, makes nothing up, and loses one
batch at most.
"""

import os
import random
from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena, ArenaDamaged, ArenaLayoutUnknown
from tests.conftest import SEED
from tests.model.arena_kit import NOW_MS, Sent, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load

driver = load()
FLIPS = int(os.environ.get("INGESTD_BIT_FLIPS", "1500"))
LEDGER = range(4 * 4096, 5 * 4096)
SESSIONS = range(6 * 4096, 7 * 4096)


def make(path: Path) -> None:
    """Eight batches in all states, one of them open."""
    arena = small_arena(path)
    arena.set_cluster_id("cluster")
    arena.session_open(b"s" * 16, NOW_MS)
    writer = driver.Writer(arena)
    for index in range(8):
        handle = writer.open(index % 2, 0, 300, 0, NOW_MS)
        records = [Sent(NOW_MS, b"k", b"%d.%d" % (index, place)) for place in range(3)]
        run = run_bytes(session_run(0, 1 + 3 * index, 3))
        writer.write(handle, encode(records, NOW_MS, 0), 3, run, NOW_MS, NOW_MS)
        writer.commit([handle], {0: 3, 1: 3}, {0: 3 * index + 3})
        entry = writer.entry(handle)
        if index == 7:
            break
        writer.seal(handle)
        if index > 2:
            arena.stamp(entry, 7, 0, index, 0, NOW_MS)
        if index > 5:
            arena.done(entry)
    arena.close()


def contents(arena: Arena) -> dict[int, list[bytes | None]]:
    """Values by batch number."""
    return {batch.number: [record.value for record in arena.records(batch.entry)] for batch in arena.recovered()}


def flips(size: int, seed: int) -> list[int]:
    """Bits to flip: half of them where the tables are in use, half anywhere."""
    chosen = random.Random(seed)
    used = [*range(80), *range(1024, 1160), *range(2 * 4096, 2 * 4096 + 16), *range(5 * 4096, 5 * 4096 + 288 * 2)]
    used += range(7 * 4096, 7 * 4096 + 8 * 128)
    near = [chosen.choice(used) * 8 + chosen.randrange(8) for _ in range(FLIPS // 2)]
    return near + [chosen.randrange(size * 8) for _ in range(FLIPS - len(near))]


def test_garbage_anywhere_is_survived_and_the_arena_is_usable_after_it(tmp_path: Path) -> None:
    make(tmp_path / "a.arena")
    image = (tmp_path / "a.arena").read_bytes()
    expected = [values for _, values in sorted(contents(Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)).items())]
    path = tmp_path / "garbage.arena"
    chosen = random.Random(SEED)
    for turn in range(FLIPS // 10):
        damaged = bytearray(image)
        for _ in range(chosen.randrange(1, 6)):
            first = chosen.randrange(2 * 4096, len(image))
            size = min(chosen.choice([8, 64, 600, 9000]), len(image) - first)
            damaged[first : first + size] = chosen.choice([bytes(size), b"\xff" * size, chosen.randbytes(size)])
        path.write_bytes(damaged)
        arena = Arena.open(str(path), now_ms=NOW_MS)
        assert all(values in expected for values in contents(arena).values()), f"seed {SEED}, turn {turn}: made up"
        arena.ledger(), arena.sessions(), arena.cluster_id, arena.session_forgettable(NOW_MS)
        for batch in arena.recovered():
            arena.provenance(batch.entry)
            arena.fail(batch.entry, 5)
        assert arena.buffered() == arena.buffered_records == 0
        assert arena.free_pages == arena.page_count, f"seed {SEED}, turn {turn}: pages lost"
        arena.close()
        for quarantined in tmp_path.glob("*.quarantine-*"):
            quarantined.unlink()


def test_one_flipped_bit_costs_one_batch_at_most(tmp_path: Path) -> None:
    make(tmp_path / "a.arena")
    image = (tmp_path / "a.arena").read_bytes()
    path = tmp_path / "flipped.arena"
    path.write_bytes(image)
    whole = Arena.open(str(path), now_ms=NOW_MS)
    expected = contents(whole)
    books = whole.ledger_counters()
    whole.close()
    assert len(expected) == 7
    lost = 0
    for bit in flips(len(image), SEED):
        flipped = bytearray(image)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        where = f"seed {SEED}, bit {bit % 8} of byte {bit // 8}"
        try:
            arena = Arena.open(str(path), now_ms=NOW_MS)
        except (ArenaDamaged, ArenaLayoutUnknown) as error:
            pytest.fail(f"{where}: {error}, though the other copy of the header is whole")
        found = contents(arena)
        assert all(expected.get(number) == values for number, values in found.items()), f"{where}: made up"
        missing = len(expected) - len(found)
        assert missing <= 1, f"{where}: {missing} batches lost"
        assert missing == 0 or len(arena.damage) == 1, f"{where}: lost in silence"
        if bit // 8 not in LEDGER:
            assert arena.ledger()["dropped"] == 3 * missing, where
            assert arena.ledger_counters()[:72] == books[:72], where
        lost += missing
        arena.close()
        for quarantined in tmp_path.glob("*.quarantine-*"):
            quarantined.unlink()
    assert lost > FLIPS // 50
