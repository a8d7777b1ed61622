"""One daemon per state directory: a lock file whose lock dies with its holder."""

import fcntl
import logging
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from ingestd.errors import HostError, HostResourceInUseError

logger = logging.getLogger(__name__)

FILE_NAME: Final = "lock"
WAIT_MS: Final = 10_000
"""How long a starting daemon waits for a predecessor that is dying."""
_RETRY_MS: Final = 50
_OFD_SETLK: Final = 37
"""F_OFD_SETLK of fcntl(2), which the fcntl module does not name on every version."""
_FLOCK: Final = struct.Struct("hhqqixxxx")
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""


class StateLock:
    """The held lock; an open file description lock, so that closing another descriptor of the file does not drop it."""

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor

    @classmethod
    def acquire(cls, directory: Path, pid: int, wait_ms: int = WAIT_MS) -> Self:
        """Locks ``directory`` for the process ``pid``.

        Waits up to ``wait_ms`` for a holder that is gone or going; HostResourceInUseError names the one that stays.
        HostError: this process may not use the file, or the host has no room for it.
        """
        try:
            return cls._acquire(directory, pid, wait_ms)
        except OSError as error:
            # Whoever has run the daemon once as root has left files that are root's.
            to_us = f"give {directory} and all that is in it to uid {os.geteuid()}"
            cure = to_us if isinstance(error, PermissionError) else "mend that, or set state.directory"
            raise HostError(f"cannot lock {directory / FILE_NAME}: {error.strerror}: {cure}") from error

    @classmethod
    def _acquire(cls, directory: Path, pid: int, wait_ms: int) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file_descriptor = os.open(directory / FILE_NAME, flags, 0o640)
        deadline_ms = time.monotonic_ns() // 1_000_000 + wait_ms
        waiting = False
        try:
            while True:
                # Before the try: an answer from before the deadline says nothing of now if we did not run in between.
                tried_ms = time.monotonic_ns() // 1_000_000
                if _try_lock(file_descriptor):
                    break
                if not waiting:
                    waiting = True
                    logger.info("waiting for process %d to let go of %s", _owner(file_descriptor), directory)
                if tried_ms >= deadline_ms:
                    raise HostResourceInUseError(f"state directory {directory}", _owner(file_descriptor))
                time.sleep(_RETRY_MS / 1000)
            _sign(file_descriptor, pid)
        except BaseException:
            os.close(file_descriptor)
            raise
        return cls(file_descriptor)

    def release(self) -> None:
        """Another daemon may take the directory from now on; the file stays."""
        os.close(self._file_descriptor)


def _try_lock(file_descriptor: int) -> bool:
    try:
        fcntl.fcntl(file_descriptor, _OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _sign(file_descriptor: int, pid: int) -> None:
    """Writes who holds it, for people. Over what is there: a full disk has no new block for it, and without a place for
    a number the daemon is still the only one that can deliver what it has.
    """
    text, written = f"{pid}\n".encode(), 0
    with suppress(OSError):
        written = os.pwrite(file_descriptor, text, 0)
    os.ftruncate(file_descriptor, written)


def _owner(file_descriptor: int) -> int:
    """The pid that the holder wrote; 0 if there is none to read."""
    try:
        return int(os.pread(file_descriptor, 20, 0) or b"0")
    except ValueError:
        return 0
