"""Names of arena files that are out of use. Supervisor and worker both set aside; nothing is ever deleted.

``worker-0.arena`` → ``worker-0.arena.set-aside-1``, which waits for a fresh arena to take over what can be read of it;
→ ``worker-0.arena.set-aside-1.booked`` once that is done.
"""

import os
import re
from pathlib import Path
from typing import Final

from ingestd.config.plan import keeper

_SET_ASIDE: Final = re.compile(r"worker-(\d+)(?:\.drain-\d+)?\.arena\.set-aside-\d+")
_IN_NO_BOOKS: Final = re.compile(r"worker-\d+(?:\.drain-\d+)?\.arena(?:\.set-aside-\d+)+")
_BOOKED: Final = ".booked"


def set_aside(path: Path) -> Path:
    """Renames an arena that cannot be used to the next free ``NAME.set-aside-N`` next to it and returns that."""
    number = 1
    while (target := path.with_name(f"{path.name}.set-aside-{number}")).exists() or _booked(target).exists():
        number += 1
    path.rename(target)
    sync_directory(path.parent)
    return target


def waiting(directory: Path, worker: int, workers: int) -> list[Path]:
    """Arenas of ``worker`` (and of those it is the heir of) that were set aside and are in nobody's books."""
    found = ((_SET_ASIDE.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted(path for match, path in found if match and keeper(int(match[1]), workers) == worker)


def in_no_books(directory: Path) -> list[str]:
    """Names of all arenas in there that were set aside and not booked; none where the directory cannot be read."""
    try:
        return sorted(path.name for path in directory.iterdir() if _IN_NO_BOOKS.fullmatch(path.name))
    except OSError:
        return []


def booked(path: Path) -> Path:
    """Renames an arena whose books were taken over, and returns its new name: it waits for nobody any more."""
    target = _booked(path)
    path.rename(target)
    sync_directory(path.parent)
    return target


def sync_directory(directory: Path) -> None:
    """Makes renames in it last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _booked(path: Path) -> Path:
    return path.with_name(path.name + _BOOKED)
