"""A host that does not give the daemon its scoreboard is named, and an old one makes room for the new one."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ingestd.config.model import Config
from ingestd.errors import HostError, HostOutOfSpaceError
from ingestd.scoreboard import FILE_NAME, Reader, Writer, file_bytes
from ingestd.supervisor.board import make_board

CONFIG = cast(
    Config,
    SimpleNamespace(daemon=SimpleNamespace(workers=2), topics=(SimpleNamespace(name="a"), SimpleNamespace(name="b"))),
)


def refuse(number: int) -> Callable[[int, int, int], None]:
    def fallocate(_descriptor: int, _offset: int, _size: int) -> None:
        raise OSError(number, os.strerror(number))

    return fallocate


def test_it_has_rows_for_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    make_board(path, CONFIG, 7, 5).close()
    with Reader.open(path) as board:
        assert (len(board.rows), board.topics, board.header().supervisor_pid) == (2, ("a", "b"), 7)
    assert path.stat().st_size == file_bytes(2, 2)


def test_a_full_disk_is_told_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.ENOSPC))
    with pytest.raises(HostOutOfSpaceError, match=f"{FILE_NAME}: {file_bytes(2, 2)} bytes needed"):
        make_board(tmp_path / FILE_NAME, CONFIG, 7, 5)
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_the_last_scoreboard_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / FILE_NAME
    Writer.create(path, workers=2, supervisor_pid=6, now_ms=4).close()
    fallocate = os.posix_fallocate

    def full(descriptor: int, offset: int, size: int) -> None:
        if path.exists():
            refuse(errno.ENOSPC)(descriptor, offset, size)
        fallocate(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    make_board(path, CONFIG, 7, 5).close()
    with Reader.open(path) as board:
        assert board.header().supervisor_pid == 7


def test_any_other_refusal_is_the_hosts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EIO))
    with pytest.raises(HostError, match=f"cannot make {tmp_path}/{FILE_NAME}: Input/output error: "):
        make_board(tmp_path / FILE_NAME, CONFIG, 7, 5)
