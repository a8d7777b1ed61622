"""The daemon's scoreboard, made anew at every start, also where the disk is full: what is buffered has to go out."""

import errno
import os
from pathlib import Path

from ingestd import scoreboard
from ingestd.config.model import Config
from ingestd.errors import HostError, HostOutOfSpaceError
from ingestd.scoreboard import Writer


def make_board(path: Path, config: Config, pid: int, now_ms: int) -> Writer:
    """A fresh scoreboard at ``path``; HostError when the host does not give one."""
    try:
        try:
            return _create(path, config, pid, now_ms)
        except OSError as error:
            if not _is_full(error):
                raise
        # The last daemon's tells nothing that is needed, and has the size of a new one.
        path.unlink(missing_ok=True)
        return _create(path, config, pid, now_ms)
    except OSError as error:
        if _is_full(error):
            found = os.statvfs(path.parent)
            needed_bytes = scoreboard.file_bytes(config.daemon.workers, len(config.topics))
            raise HostOutOfSpaceError(str(path), needed_bytes, found.f_bavail * found.f_frsize) from error
        cure = "mend that, or set state.directory"
        raise HostError(f"cannot make {path}: {error.strerror or error}: {cure}") from error


def _create(path: Path, config: Config, pid: int, now_ms: int) -> Writer:
    topics = [topic.name for topic in config.topics]
    return Writer.create(path, workers=config.daemon.workers, supervisor_pid=pid, now_ms=now_ms, topics=topics)


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
