"""Names of arenas that are out of use."""

from pathlib import Path

from ingestd.config.arena_files import booked, in_no_books, set_aside, waiting


def make(path: Path) -> Path:
    path.write_text(path.name)
    return path


def test_setting_aside_replaces_nothing(tmp_path: Path) -> None:
    arena = tmp_path / "worker-0.arena"
    first = set_aside(make(arena))
    assert first.name == "worker-0.arena.set-aside-1"
    assert booked(first).name == "worker-0.arena.set-aside-1.booked"
    names = [set_aside(make(arena)).name for _ in range(2)]
    assert names == ["worker-0.arena.set-aside-2", "worker-0.arena.set-aside-3"]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_waits_is_found_by_its_worker_or_the_heir_until_it_is_booked(tmp_path: Path) -> None:
    for name in ("worker-0.arena", "worker-3.drain-1.arena", "worker-3.arena.quarantine-1", "scoreboard"):
        make(tmp_path / name)
    own = set_aside(tmp_path / "worker-0.arena")
    adopted = set_aside(tmp_path / "worker-3.drain-1.arena")
    assert (waiting(tmp_path, 0, 2), waiting(tmp_path, 1, 2)) == ([own], [adopted])
    assert in_no_books(tmp_path) == [own.name, adopted.name]
    booked(own)
    # What kills its reader three times is renamed by the supervisor like any other arena, and then left alone.
    given_up = set_aside(adopted)
    assert (waiting(tmp_path, 0, 2), waiting(tmp_path, 1, 2)) == ([], [])
    assert in_no_books(tmp_path) == [given_up.name]
    assert in_no_books(tmp_path / "nowhere") == []
