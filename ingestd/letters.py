"""Dead letters as files: one JSON object a line, ``dead-letters-YYYYMMDD.jsonl`` in the state directory, a file a day.

Several workers append to the same file, and ``ingestd dead-letter`` reads it meanwhile. Each append is one ``write()``
to a descriptor opened for appending, under a ``flock``: lines are never mixed, and what a full disk has cut is taken
off again. What a death has cut stands as a line of its own, which readers count as damaged. Beside it,
``dead-letters-YYYYMMDD.replayed`` holds the ids of the letters that were delivered since, one a line.

All files of both kinds together are bounded, in bytes and in days; the oldest go first, days to come (of a clock that
ran ahead) last, the day's own never. A day's marks never go before its letters: these would be open once more, and sent
again. Marks without letters serve nobody.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

logger = logging.getLogger(__name__)

FILE_MODE: Final = 0o640
PREFIX: Final = "dead-letters-"
SUFFIX: Final = ".jsonl"
REPLAYED_SUFFIX: Final = ".replayed"
LOCK_WAIT_SECONDS: Final = 0.2
"""A worker does not stand still for whoever holds the lock: after that it appends without."""
LOCK_LOOK_SECONDS: Final = 0.005


class Letter(msgspec.Struct, frozen=True):
    """One record that finally failed, and why. Times are wall clock in ms; ``accepted_ms``: of its batch's opening."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z")]
    """A word: the files of marks hold one a line."""
    time_ms: int
    topic: Annotated[str, msgspec.Meta(min_length=1)]
    partition: Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
    reason: str
    """Name of a ``metrics.Failed``."""
    kafka_error: str
    """Kafka's name; empty: no answer of Kafka was involved."""
    text: str
    may_have_been_written: bool
    accepted_ms: int
    first_send_ms: int
    attempts: int
    timestamp_ms: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    listener: str
    sender: str
    sequence: int


def file_of(directory: Path, day: str) -> Path:
    """``day``: YYYYMMDD, UTC."""
    return directory / f"{PREFIX}{day}{SUFFIX}"


def day_of(now_ms: int) -> str:
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d}"


def days(directory: Path) -> list[str]:
    """The days of which there are letters, oldest first. OSError: the directory cannot be looked into."""
    return _days(directory, SUFFIX)


def _days(directory: Path, suffix: str) -> list[str]:
    # Not glob(), to which a directory that may not be read is an empty one.
    names = (path.name for path in directory.iterdir() if path.name.startswith(PREFIX) and path.suffix == suffix)
    return sorted(day for name in names if len(day := name[len(PREFIX) : -len(suffix)]) == 8 and day.isdigit())


def read(line: bytes) -> Letter | None:
    """The letter in a line of a file; None: it is damaged."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_decoder: Final = msgspec.json.Decoder(Letter)


def read_day(directory: Path, day: str) -> Iterator[Letter | None]:
    """The letters of a day in the order of their writing, None for what is damaged; nothing, if the file is gone."""
    try:
        file = file_of(directory, day).open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.strip():
                yield read(line)


class Newcomers:
    """The letters that are written to ``directory`` from ``now_ms`` on, each read once."""

    def __init__(self, directory: Path, now_ms: int) -> None:
        self._directory = directory
        self._first_day = day_of(now_ms)
        self._read_bytes: dict[str, int] = {}
        for day in self._days():
            with suppress(FileNotFoundError):
                self._read_bytes[day] = file_of(directory, day).stat().st_size

    def _days(self) -> list[str]:
        return [day for day in days(self._directory) if day >= self._first_day]

    def take(self) -> Iterator[Letter]:
        """Those that came since the last call. OSError: they cannot be read."""
        for day in self._days():
            with suppress(FileNotFoundError), file_of(self._directory, day).open("rb") as file:
                file.seek(self._read_bytes.get(day, 0))
                # What a writer is in the middle of has no end yet.
                whole = (line for line in file if line.endswith(b"\n"))
                for line in whole:
                    self._read_bytes[day] = self._read_bytes.get(day, 0) + len(line)
                    if (letter := read(line)) is not None:
                        yield letter


class Bounds(NamedTuple):
    """``bytes_max``: of all files together. ``days_max``: files of more days ago go."""

    bytes_max: int
    days_max: int


class FullError(Exception):
    """The day's own letters have used up all bytes that are allowed."""


def append(directory: Path, lines: bytes, bounds: Bounds, now_ms: int) -> None:
    """Adds ``lines`` (complete ones) to the day's file; all of them or none. The log says which days went for them.

    OSError: not written (no space, no permission); FullError: not written, the bounds do not allow it.
    """
    day = day_of(now_ms)
    _make_room(directory, day, len(lines), bounds, now_ms)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(file_of(directory, day), flags, FILE_MODE)
    try:
        locked = _lock(fd)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # a death has cut the last line
        written = os.write(fd, lines)
        if written < len(lines):
            if locked:
                os.ftruncate(fd, size)
            raise OSError(28, os.strerror(28))
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Whether it was to be had in time. It ends with the descriptor."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_LOOK_SECONDS)
        else:
            return True


def _make_room(directory: Path, today: str, more_bytes: int, bounds: Bounds, now_ms: int) -> None:
    """Removes the oldest days as far as the bounds ask for it, and marks whose letters have gone in any case."""
    for day in {*_days(directory, REPLAYED_SUFFIX)} - {*days(directory), today}:
        with suppress(OSError):
            marks_of(directory, day).unlink()
    horizon = f"{datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=bounds.days_max):%Y%m%d}"
    sizes = {day: _size(directory, day) for day in days(directory)}
    fits = sizes.get(today, 0) + more_bytes <= bounds.bytes_max
    room_bytes = bounds.bytes_max - (more_bytes if fits else 0)  # no day goes for letters that are lost anyway
    ahead = [day for day in sorted(sizes) if day > today]
    # A clock that ran ahead has left them: they hold the youngest letters, and yet must not use up the bound for good.
    for day in [*(day for day in sorted(sizes) if day < today), *ahead]:
        if not (day < horizon or sum(sizes.values()) > room_bytes):
            continue
        file_of(directory, day).unlink(missing_ok=True)
        logger.warning("the dead letters of %s were removed: dead.letters.bytes.max or dead.letters.days.max", day)
        marks_of(directory, day).unlink(missing_ok=True)
        del sizes[day]
    if not fits:
        raise FullError(f"dead.letters.bytes.max = {bounds.bytes_max} is used up by this day's letters and replays")


def _size(directory: Path, day: str) -> int:
    """Of the day's letters and their marks."""
    total = 0
    for path in (file_of(directory, day), marks_of(directory, day)):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


# -- which were replayed


def marks_of(directory: Path, day: str) -> Path:
    return file_of(directory, day).with_suffix(REPLAYED_SUFFIX)


def replayed(directory: Path, day: str) -> set[str]:
    """Ids of the day's letters that were delivered since."""
    try:
        return set(marks_of(directory, day).read_text("ascii", "replace").split())
    except FileNotFoundError:
        return set()


def check_marks(directory: Path, day: str) -> None:
    """Raises OSError if deliveries of that day's letters could not be noted: to be asked before anything is sent."""
    os.close(_open_marks(directory, day))


def _open_marks(directory: Path, day: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    path = marks_of(directory, day)
    try:
        fd = os.open(path, flags | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return os.open(path, flags, FILE_MODE)
    # It is a new one. A superuser may replay: whoever may go on with the letters, or read them, may do so here, too.
    with suppress(OSError):
        kept = file_of(directory, day).stat()
        os.fchmod(fd, kept.st_mode & FILE_MODE)
        if os.geteuid() == 0:
            os.fchown(fd, kept.st_uid, kept.st_gid)
    return fd


def mark_replayed(directory: Path, day: str, ids: Iterable[str]) -> None:
    """Notes deliveries, on disk before this returns: a second replay passes over them. Raises OSError."""
    fd = _open_marks(directory, day)
    try:
        # a leading newline: whatever a death has cut stays a word of its own
        marks = memoryview(("\n" + "\n".join(ids) + "\n").encode("ascii"))
        while marks:
            marks = marks[os.write(fd, marks) :]
        os.fdatasync(fd)
    finally:
        os.close(fd)
