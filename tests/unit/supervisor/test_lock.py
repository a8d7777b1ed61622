"""A lock that the host refuses is the host's fault; one without room for its holder's number is held all the same.
One that is let go while nobody lets us look is had, however late that is.
"""

import errno
import os
from pathlib import Path

import pytest

from ingestd.errors import HostError, HostResourceInUseError
from ingestd.supervisor import lock
from ingestd.supervisor.lock import FILE_NAME, StateLock


class Starved:
    """The clock of a process that is preempted for a minute in the middle of its first try."""

    def __init__(self) -> None:
        self.now_ms = 5000
        self.tries_ms: list[int] = []

    def monotonic_ns(self) -> int:
        return self.now_ms * 1_000_000

    def sleep(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    def tried(self) -> int:
        """How often, with this time."""
        self.tries_ms.append(self.now_ms)
        if len(self.tries_ms) == 1:
            self.now_ms += 60_000
        return len(self.tries_ms)


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


def test_a_lock_is_tried_once_more_by_one_who_comes_too_late_to_hear_that_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Starved()
    monkeypatch.setattr(lock, "time", clock)
    monkeypatch.setattr(lock, "_try_lock", lambda _: clock.tried() == 2)
    StateLock.acquire(tmp_path, 89).release()


def test_a_lock_that_stays_held_is_tried_until_the_deadline_and_once_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Starved()
    monkeypatch.setattr(lock, "time", clock)
    monkeypatch.setattr(lock, "_try_lock", lambda _: clock.tried() == 0)
    with pytest.raises(HostResourceInUseError):
        StateLock.acquire(tmp_path, 89)
    assert clock.tries_ms == [5000, 65_050]
