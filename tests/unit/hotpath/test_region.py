"""The arena's file: made whole or not at all, one owner, recognised again."""

import errno
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena, ArenaDamaged, ArenaInUse, ArenaLayoutUnknown
from tests.model.arena_kit import NOW_MS, small_arena

SHARED_MEMORY = Path("/dev/shm")


def test_the_file_has_the_size_asked_for_and_no_holes(tmp_path: Path) -> None:
    path = tmp_path / "a.arena"
    arena = Arena.create(str(path), buffer_bytes=8 << 20, now_ms=NOW_MS)
    status = path.stat()
    assert status.st_size == arena.file_bytes <= 8 << 20
    assert status.st_blocks * 512 >= status.st_size
    assert status.st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert arena.buffer_bytes == 8 << 20
    assert arena.page_count > 1800
    assert arena.session_capacity == 256


@pytest.mark.parametrize("buffer_bytes", [1 << 20, 64 << 20, 65 << 20, 3 << 30])
def test_all_but_a_few_percent_is_for_records(buffer_bytes: int) -> None:
    arena = Arena.create(None, buffer_bytes=buffer_bytes, topic_capacity=16, session_capacity=64, now_ms=NOW_MS)
    assert arena.file_bytes <= buffer_bytes
    assert (arena.page_count + arena.reserve_pages) * 4096 > 0.93 * buffer_bytes - 65536


def test_too_small_for_its_tables_is_said() -> None:
    with pytest.raises(ValueError, match="no room"):
        Arena.create(None, buffer_bytes=100_000, now_ms=NOW_MS)


def test_no_space_is_an_error_that_leaves_nothing_behind() -> None:
    path = SHARED_MEMORY / f"ingestd-test-{os.getpid()}.arena"
    space = os.statvfs(SHARED_MEMORY)
    with pytest.raises(OSError) as caught:
        Arena.create(str(path), buffer_bytes=2 * space.f_blocks * space.f_frsize, now_ms=NOW_MS)
    assert caught.value.errno == errno.ENOSPC
    assert not list(SHARED_MEMORY.glob(f"{path.name}*"))


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    small_arena(tmp_path / "a.arena").close()
    before = (tmp_path / "a.arena").read_bytes()
    with pytest.raises(FileExistsError):
        small_arena(tmp_path / "a.arena")
    assert (tmp_path / "a.arena").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    program = (
        "import sys\nfrom ingestd.hotpath.arena import Arena, ArenaInUse\n"
        "try:\n    Arena.open(sys.argv[1], now_ms=1)\nexcept ArenaInUse as error:\n    print(error.owner_pid)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.arena")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.strip() == str(os.getpid())
    with pytest.raises(ArenaInUse):
        Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    arena.close()
    Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS).close()


def test_another_descriptor_of_the_file_does_not_drop_the_lock(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    (tmp_path / "a.arena").read_bytes()
    with pytest.raises(ArenaInUse):
        Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    arena.close()


def test_what_an_interrupted_creation_left_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "a.arena.new").write_bytes(b"x" * 999)
    arena = small_arena(tmp_path / "a.arena")
    assert [path.name for path in tmp_path.iterdir()] == ["a.arena"]
    assert arena.buffered() == 0


def _header_pages(path: Path, change: dict[int, bytes]) -> None:
    with path.open("r+b") as file:
        for offset, data in change.items():
            file.seek(offset)
            file.write(data)


def test_one_damaged_copy_of_the_header_is_made_good(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    arena_id = arena.arena_id
    arena.close()
    for offset in (20, 4096 + 20):
        _header_pages(tmp_path / "a.arena", {offset: b"\xff\xff"})
        arena = Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
        assert arena.arena_id == arena_id
        arena.close()


def test_two_damaged_copies_are_for_the_caller_to_set_aside(tmp_path: Path) -> None:
    small_arena(tmp_path / "a.arena").close()
    _header_pages(tmp_path / "a.arena", {20: b"\xff\xff", 4096 + 20: b"\xff\xff"})
    with pytest.raises(ArenaDamaged):
        Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    with pytest.raises(ArenaDamaged):
        Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)  # the lock was let go


@pytest.mark.parametrize("size", [0, 100, 4096 * 20])
def test_a_file_cut_short_is_damaged(tmp_path: Path, size: int) -> None:
    small_arena(tmp_path / "a.arena").close()
    os.truncate(tmp_path / "a.arena", size)
    with pytest.raises(ArenaDamaged):
        Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)


def test_another_layout_version_is_not_touched(tmp_path: Path) -> None:
    small_arena(tmp_path / "a.arena").close()
    _header_pages(tmp_path / "a.arena", {8: b"\x63", 4096 + 8: b"\x63"})
    before = (tmp_path / "a.arena").read_bytes()
    with pytest.raises(ArenaLayoutUnknown, match="99"):
        Arena.open(str(tmp_path / "a.arena"), now_ms=NOW_MS)
    assert (tmp_path / "a.arena").read_bytes() == before


def test_a_missing_file_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Arena.open(str(tmp_path / "none.arena"), now_ms=NOW_MS)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    small_arena(tmp_path / "a.arena").close()
    (tmp_path / "link.arena").symlink_to(tmp_path / "a.arena")
    with pytest.raises(OSError) as caught:
        Arena.open(str(tmp_path / "link.arena"), now_ms=NOW_MS)
    assert caught.value.errno == errno.ELOOP


def test_the_mapping_is_left_out_of_core_dumps(tmp_path: Path) -> None:
    arena = small_arena(tmp_path / "a.arena")
    blocks = Path("/proc/self/smaps").read_text().split("VmFlags:")
    flags = [after.splitlines()[0] for before, after in pairwise(blocks) if "a.arena" in before]
    assert flags
    assert all(" dd" in line for line in flags)
    arena.close()
