"""The arenas of a worker: its own, made or opened, and those it only drains.

A drain-only arena is of another size, has no rows left for topics, or came from a worker that is no more. Its sessions
go to the worker's own when it is opened, its batches first in their partitions, its books when it is empty; then its
file is removed.
"""

import errno
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingestd.config.arena_files import set_aside, sync_directory
from ingestd.config.model import Config
from ingestd.config.plan import WorkerPlan
from ingestd.errors import HostError, HostOutOfSpaceError, HostResourceInUseError
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.errors import ArenaDamaged, ArenaInUse, ArenaLayoutUnknown
from ingestd.limits import TOPICS_MAX
from ingestd.scoreboard import Row
from ingestd.worker.inheritance import take_over_memory, take_over_set_aside
from ingestd.worker.status import StatusPipe

logger = logging.getLogger(__name__)

LOCK_WAIT_MS: Final = 10_000
"""How long to wait for the lock of an arena whose last owner is dying."""
_LOCK_RETRY_SECONDS: Final = 0.05


@dataclass
class Arenas:
    """``own`` is written to; ``draining`` are only emptied."""

    own: Arena
    draining: list[Arena] = field(default_factory=list)

    def all(self) -> list[Arena]:
        """By arena number: the worker's own is 0."""
        return [self.own, *self.draining]


def open_arenas(plan: WorkerPlan, row: Row, status: StatusPipe, now_ms: int) -> Arenas:
    """Opens or makes what the plan names; HostError when that cannot be done now.

    ``row`` is the worker's on the scoreboard: it tells what became of an arena without a file.
    """
    buffer_bytes = plan.config.producer.buffer_memory
    draining = [arena for path in plan.adopt if (arena := _open(path, status, now_ms)) is not None]
    if not plan.arena_path:
        in_memory = _create(None, buffer_bytes, now_ms)
        take_over_memory(in_memory, draining, row, now_ms)
        return _together(in_memory, draining)
    own = _open(plan.arena_path, status, now_ms) if Path(plan.arena_path).exists() else None
    _discard_draft(Path(plan.arena_path))
    if own is not None and (reason := _outlived(own, plan.config)):
        logger.info("%s: the old one is drained", reason)
        own.close()
        moved = _replace(Path(plan.arena_path), buffer_bytes, now_ms)
        own = _open(plan.arena_path, status, now_ms)
        if (old := _open(str(moved), status, now_ms)) is not None:
            draining.append(old)
    if own is None:
        own = _create(plan.arena_path, buffer_bytes, now_ms)
    for session in own.sessions():
        if session.adopted:
            # This arena was only drained for a while: the session went on elsewhere, and is not what it was here.
            own.session_close(session.index)
    # These first: what was set aside may have known as many topics as there are rows.
    for topic in plan.config.topics:
        own.topic_add(topic.name)
    # Before the sessions of drain-only arenas: the same sessions, but as they stood later.
    take_over_set_aside(own, draining, plan, status, now_ms)
    return _together(own, draining)


def _outlived(arena: Arena, config: Config) -> str:
    """Why this arena is of no more use but to be drained; "" if it can be written to."""
    if arena.buffer_bytes != config.producer.buffer_memory:
        return f"the buffer's size changed from {arena.buffer_bytes} to {config.producer.buffer_memory} bytes"
    # Rows keep their topics for as long as the arena lives: batches name them by number.
    strangers = {topic.name for topic in config.topics} - {topic.name for topic in arena.topics()}
    if len(strangers) > arena.topic_capacity - arena.topic_count:
        return f"the arena has known {arena.topic_count} topics and has no room for {len(strangers)} more"
    return ""


def _together(own: Arena, draining: list[Arena]) -> Arenas:
    """Oldest first, as their batches have to go out; clients of their sessions resume in the worker's own."""
    draining = sorted(draining, key=lambda arena: arena.created_ms)
    # A session that several of them know went on in the newest.
    for arena in reversed(draining):
        own.adopt_sessions(arena)
    return Arenas(own, draining)


def _open(path: str, status: StatusPipe, now_ms: int) -> Arena | None:
    """The arena in ``path``, recovered; None if its header is beyond repair: then the file was set aside."""
    status.opening(path)
    deadline = time.monotonic() + LOCK_WAIT_MS / 1000
    while True:
        # Before the try: an answer from before the deadline says nothing of now if we did not run in between.
        tried = time.monotonic()
        try:
            arena = Arena.open(path, now_ms=now_ms)
            break
        except ArenaInUse as error:
            if tried >= deadline:
                raise HostResourceInUseError(f"arena {path}", error.owner_pid) from error
            time.sleep(_LOCK_RETRY_SECONDS)
        except (ArenaDamaged, ArenaLayoutUnknown) as error:
            target = set_aside(Path(path))
            logger.error("%s; set aside as %s", error, target.name)
            return None
        except OSError as error:
            raise HostError(f"cannot open arena {path}: {error.strerror}") from error
        except MemoryError as error:
            # No fault of the arena.
            raise HostError(f"cannot open arena {path}: out of memory") from error
    for damage in arena.damage:
        logger.error(
            "arena %s: batch %d is damaged (%s); its bytes are in %s",
            path,
            damage.entry,
            damage.reason,
            damage.quarantined_to or "no file: they could not be copied",
        )
    for session in arena.sessions():
        if not session.disconnected_ms:
            # Whoever held it is gone with the last process.
            arena.session_disconnected(session.index, now_ms)
    return arena


def _create(path: str | None, buffer_bytes: int, now_ms: int) -> Arena:
    try:
        return Arena.create(path, buffer_bytes=buffer_bytes, topic_capacity=TOPICS_MAX, now_ms=now_ms)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HostOutOfSpaceError(str(path), buffer_bytes, _free_bytes(path)) from error
        raise HostError(f"cannot make the arena {path or 'in memory'}: {error.strerror or error}") from error
    except MemoryError as error:
        raise HostOutOfSpaceError("an arena in memory", buffer_bytes, 0) from error


def _replace(path: Path, buffer_bytes: int, now_ms: int) -> Path:
    """Puts a fresh arena in ``path``; returns where the one is that was there, to be drained.

    HostError: there is no room for a fresh one. Then the old one has not moved: with its former settings the worker
    goes on with it, and what is buffered is not left to an operator who finds room for both. Nor has it wherever we
    die before both have room.
    """
    draft = _draft(path)
    try:
        _create(str(draft), buffer_bytes, now_ms).close()
    except HostError:
        logger.error("%s stays as it was: with the former buffer.memory and topics the daemon goes on with it", path)
        raise
    moved = _move_away(path)
    draft.rename(path)
    sync_directory(path.parent)
    return moved


def _draft(path: Path) -> Path:
    """An arena that is to take the place of the one in ``path``; it never holds records."""
    return path.with_name(path.name + ".fresh")


def _discard_draft(path: Path) -> None:
    """What a death while one was being made has left would only take room."""
    draft = _draft(path)
    for left in (draft, draft.with_name(draft.name + ".new")):
        left.unlink(missing_ok=True)


def _free_bytes(path: str | None) -> int:
    if path is None:
        return 0
    found = os.statvfs(Path(path).parent)
    return found.f_bavail * found.f_frsize


def _move_away(path: Path) -> Path:
    """Renames an arena that no longer fits to the next free drain-only name."""
    number = 1
    while (target := path.with_name(f"{path.stem}.drain-{number}{path.suffix}")).exists():
        number += 1
    path.rename(target)
    sync_directory(path.parent)
    return target


def remove(arena: Arena) -> None:
    """Unlinks the file of a drained arena whose books were absorbed."""
    arena.close()
    if arena.path is not None:
        path = Path(arena.path)
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
