"""A lock that the host refuses is the host's fault; one without room for its holder's number is held all the same."""

import errno
import os
from pathlib import Path

import pytest

from ingestd.errors import HostError
from ingestd.supervisor.lock import FILE_NAME, StateLock


def test_what_is_no_lock_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(HostError, match=f"cannot lock {tmp_path}/{FILE_NAME}: Is a directory: "):
        StateLock.acquire(tmp_path, 5, wait_ms=0)


def test_the_holder_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("1234567\n")
    StateLock.acquire(tmp_path, 89, wait_ms=0).release()
    assert (tmp_path / FILE_NAME).read_text() == "89\n"


def test_a_full_disk_does_not_keep_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_text("1234567\n")

    def refuse(_descriptor: int, _content: bytes, _offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    StateLock.acquire(tmp_path, 89, wait_ms=0).release()
    assert (tmp_path / FILE_NAME).read_text() == ""
