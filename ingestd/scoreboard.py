"""The scoreboard: a mapped file with one row per worker; how supervisor, workers and commands see each other's state.

    header row | names of the topics, 256 bytes each | a row per worker | the admin process's row | a block per worker

Rows are 4096 bytes of little-endian u64 words, and every part begins at a multiple of that. Every word has one writer:
the supervisor creates the file and writes header, names, pid, state, restarts, pressure, and all of the admin process's
row (that process only reads); the worker writes heartbeat, connections, under the seqlock its ledger and gauges, and
under another one its block: what its producer counts (``ingestd/figures.py``). Words are aligned and stored whole, so
single words need no lock. The file may be read at any time, also when nobody runs: it tells the last state.
"""

import mmap
import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from ingestd import figures
from ingestd.figures import Reading
from ingestd.limits import TOPIC_BYTES_MAX
from ingestd.metrics import LEDGER_WORDS

Board = TypeVar("Board", bound="_Mapped")

ROW_BYTES: Final = 4096
MAGIC: Final = int.from_bytes(b"INGSCORE", "little")
VERSION: Final = 4
FILE_NAME: Final = "scoreboard"
NAME_BYTES: Final = 256
_READ_ATTEMPTS: Final = 200

if sys.byteorder != "little":
    raise ImportError("ingestd runs on little-endian hosts only: the scoreboard's words are little-endian")


class ScoreboardError(Exception):
    """The file is not a scoreboard of this version."""


def boot_id() -> int:
    """Which boot of the host this is; 0 where it does not tell."""
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", ""), 16)
    except (OSError, ValueError):
        return 0


def start_ticks(pid: int) -> int:
    """When a process was started, in clock ticks since the boot (proc_pid_stat(5), field 22); 0: none is to be seen, or
    it has ended and nobody has taken note of that (a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The second field is a name in parentheses, which may hold blanks and parentheses.
    fields = stat.rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


class HeaderWord(IntEnum):
    """Words of row 0."""

    MAGIC = 0
    VERSION = 1
    WORKERS = 2
    SUPERVISOR_PID = 3
    STARTED_MS = 4
    STOPPING = 5
    TOPICS = 6
    HEARTBEAT_TICK_MS = 7
    """The supervisor's own loop, CLOCK_MONOTONIC."""
    SUPERVISOR_START_TICKS = 8
    """When the supervisor's process was started, as the kernel counts (:func:`start_ticks`)."""
    BOOT_ID = 9
    """First of two words (:func:`boot_id`), the lower one first. Boot, pid and start name a process for good, whatever
    the wall clock does.
    """


class Word(IntEnum):
    """Words of a worker's row."""

    PID = 0
    STATE = 1
    HEARTBEAT_TICK_MS = 2
    RESTARTS = 3
    PRESSURE = 4
    CONNECTIONS = 5
    STARTED_MS = 6
    NEXT_RESTART_TICK_MS = 7
    LAST_EXIT_STATUS = 8
    RSS_BYTES = 9
    SESSIONS = 10
    BROKERS_CONNECTED = 11
    LISTENER_ERRORS = 12
    MEMORY_PRESSURE = 13
    """The share of PRESSURE that memory asks for; the rest is the arena's, and the worker sees that end earlier."""
    SOCKET_DROPS = 16
    """First of SOCKET_DROPS_MAX words: the kernel's drop counts of the datagram sockets, in the worker's order."""
    SEQLOCK = 64
    LEDGER = 65
    BUFFERED_RECORDS = 193
    OPEN_BATCHES = 194
    SEALED_BATCHES = 195
    STAMPED_BATCHES = 196
    FREE_PAGES = 197
    TOTAL_PAGES = 198
    DRAIN_ONLY_ARENAS = 199
    DRAIN_ONLY_PAGES = 200
    OLDEST_CREATED_MS = 201
    IN_DOUBT_BATCHES = 202


SOCKET_DROPS_MAX: Final = 48
PUBLISHED_FIRST: Final = int(Word.LEDGER)
PUBLISHED_END: Final = int(Word.IN_DOUBT_BATCHES) + 1


class WorkerState(IntEnum):
    """State of a worker as the supervisor sees it."""

    ABSENT = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    BACKOFF = 4


class Pressure(IntEnum):
    """What the supervisor asks of a worker's listeners."""

    RUN = 0
    PAUSE = 1
    SHED = 2


class Header(NamedTuple):
    """Row 0: ``started_ms`` is wall clock time, ``stopping`` tells that the daemon drains; ``heartbeat_tick_ms``: when
    the supervisor's loop came by last (monotonic). Boot, pid and start ticks are its supervisor's alone.
    """

    workers: int
    supervisor_pid: int
    started_ms: int
    stopping: bool
    heartbeat_tick_ms: int
    supervisor_start_ticks: int
    boot_id: int


class Published(NamedTuple):
    """Ledger and gauges of one worker at one instant; ``consistent`` is false where the writer died in between."""

    ledger: tuple[int, ...]
    buffered_records: int
    open_batches: int
    sealed_batches: int
    stamped_batches: int
    free_pages: int
    total_pages: int
    drain_only_arenas: int
    drain_only_pages: int
    oldest_created_ms: int
    in_doubt_batches: int
    consistent: bool


class Row:
    """One worker's row over ``view`` (4096 bytes, writable for those who store).

    Words go in and out as unsigned integers; a negative one (a death by signal) is kept as two's complement.
    """

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self._words = view.cast("Q")

    def get(self, word: Word) -> int:
        return self._words[word]

    def set(self, word: Word, value: int) -> None:
        self._words[word] = value & 0xFFFF_FFFF_FFFF_FFFF

    def get_signed(self, word: Word) -> int:
        value = self._words[word]
        return value - (1 << 64) if value >> 63 else value

    @property
    def state(self) -> WorkerState:
        return WorkerState(self._words[Word.STATE])

    @property
    def pressure(self) -> Pressure:
        return Pressure(self._words[Word.PRESSURE])

    def socket_drops(self, position: int) -> int:
        """The kernel's drop count of a datagram socket as far as it is in the books."""
        return self._words[Word.SOCKET_DROPS + position]

    def set_socket_drops(self, position: int, count: int) -> None:
        self._words[Word.SOCKET_DROPS + position] = count

    def beat(self, tick_ms: int) -> None:
        """The worker's event loop is alive at ``tick_ms`` (CLOCK_MONOTONIC)."""
        self._words[Word.HEARTBEAT_TICK_MS] = tick_ms

    def published(self) -> Published:
        """Ledger and gauges under the seqlock: two equal copies between two equal, even lock words.

        A lock word that stays odd has lost its writer; the copy is handed out then, marked as not consistent. Two
        copies, since a reader in Python has no fences to give a weakly ordered processor.
        """
        copy, consistent = _locked(self._words, Word.SEQLOCK, PUBLISHED_FIRST, PUBLISHED_END)
        return _published(copy, consistent=consistent)

    def close(self) -> None:
        self._words.release()
        self.view.release()


def _locked(words: memoryview, lock: int, first: int, end: int) -> tuple[tuple[int, ...], bool]:
    """``words[first:end]`` under the seqlock at ``lock``, and whether it is of one piece."""
    copy: tuple[int, ...] = ()
    for _ in range(_READ_ATTEMPTS):
        before = words[lock]
        copy = tuple(words[first:end])
        again = tuple(words[first:end])
        if words[lock] == before and not before & 1 and copy == again:
            return copy, True
    return copy, False


def _published(copy: tuple[int, ...], *, consistent: bool) -> Published:
    gauges = copy[LEDGER_WORDS:]
    return Published(
        ledger=copy[:LEDGER_WORDS],
        buffered_records=gauges[0],
        open_batches=gauges[1],
        sealed_batches=gauges[2],
        stamped_batches=gauges[3],
        free_pages=gauges[4],
        total_pages=gauges[5],
        drain_only_arenas=gauges[6],
        drain_only_pages=gauges[7],
        oldest_created_ms=gauges[8],
        in_doubt_batches=gauges[9],
        consistent=consistent,
    )


class _Layout(NamedTuple):
    """Where the parts of a file for so many workers and topics begin, in bytes."""

    workers: int
    topics: int

    @property
    def rows_at(self) -> int:
        return ROW_BYTES + _whole_rows(self.topics * NAME_BYTES)

    @property
    def blocks_at(self) -> int:
        return self.rows_at + (self.workers + 1) * ROW_BYTES

    @property
    def block_bytes(self) -> int:
        return _whole_rows(figures.block_words(self.topics) * 8)

    @property
    def file_bytes(self) -> int:
        return self.blocks_at + self.workers * self.block_bytes


def file_bytes(workers: int, topics: int) -> int:
    """The size of a scoreboard for so many."""
    return _Layout(workers, topics).file_bytes


def _whole_rows(size_bytes: int) -> int:
    return -(-size_bytes // ROW_BYTES) * ROW_BYTES


class _Mapped:
    """The mapped file and its parts."""

    def __init__(self, file_descriptor: int, *, writable: bool) -> None:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(file_descriptor, 0, access=access)
        self._view = memoryview(self._map)
        self._header = self._view[:ROW_BYTES].cast("Q")
        self._rows: list[Row] = []
        self._blocks: list[memoryview] = []
        self.topics: tuple[str, ...] = ()
        """Names of the configured topics, in the order of their rows in the blocks."""

    @property
    def _layout(self) -> _Layout:
        return _Layout(self._header[HeaderWord.WORKERS], self._header[HeaderWord.TOPICS])

    def _open_parts(self) -> None:
        layout = self._layout
        names = bytes(self._view[ROW_BYTES : ROW_BYTES + layout.topics * NAME_BYTES])
        self.topics = tuple(
            names[at : at + NAME_BYTES].rstrip(b"\0").decode() for at in range(0, len(names), NAME_BYTES)
        )
        for start in range(layout.rows_at, layout.blocks_at, ROW_BYTES):
            self._rows.append(Row(self._view[start : start + ROW_BYTES]))
        words = figures.block_words(layout.topics)
        for start in range(layout.blocks_at, layout.file_bytes, layout.block_bytes):
            self._blocks.append(self._view[start : start + words * 8].cast("Q"))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The workers' rows, by worker index."""
        return tuple(self._rows[:-1])

    @property
    def admin(self) -> Row:
        """The row of the admin process: ABSENT where none is asked for."""
        return self._rows[-1]

    def block(self, worker: int) -> memoryview:
        """The worker's block as u64 words, to store figures into."""
        return self._blocks[worker]

    def figures(self, worker: int) -> Reading:
        """What the worker's producer has stored last. A death in the middle of that leaves words a second apart."""
        block = self._blocks[worker]
        words, _ = _locked(block, figures.SEQLOCK, 0, len(block))
        return figures.read(words, self.topics)

    def header(self) -> Header:
        words = self._header
        return Header(
            words[HeaderWord.WORKERS],
            words[HeaderWord.SUPERVISOR_PID],
            words[HeaderWord.STARTED_MS],
            bool(words[HeaderWord.STOPPING]),
            words[HeaderWord.HEARTBEAT_TICK_MS],
            words[HeaderWord.SUPERVISOR_START_TICKS],
            words[HeaderWord.BOOT_ID] | words[HeaderWord.BOOT_ID + 1] << 64,
        )

    def close(self) -> None:
        """Lets go of the mapping; rows and blocks handed out must not be used any more."""
        for row in self._rows:
            row.close()
        for block in self._blocks:
            block.release()
        self._rows.clear()
        self._blocks.clear()
        self._header.release()
        self._view.release()
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Writer(_Mapped):
    """The supervisor's side, and (by :meth:`open`) a worker's: rows may be stored to."""

    @classmethod
    def create(cls, path: Path, *, workers: int, supervisor_pid: int, now_ms: int, topics: Sequence[str] = ()) -> Self:
        """Makes a fresh file under another name and renames it: a reader sees the old one or the complete new one.

        ``topics``: names of the configured ones, each with a row in every block.
        """
        draft = path.with_name(f".{path.name}.{supervisor_pid}")
        draft.unlink(missing_ok=True)
        file_descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.posix_fallocate(file_descriptor, 0, file_bytes(workers, len(topics)))
            board = cls(file_descriptor, writable=True)
            words = board._header
            words[HeaderWord.VERSION] = VERSION
            words[HeaderWord.WORKERS] = workers
            words[HeaderWord.SUPERVISOR_PID] = supervisor_pid
            words[HeaderWord.STARTED_MS] = now_ms
            words[HeaderWord.SUPERVISOR_START_TICKS] = start_ticks(supervisor_pid)
            words[HeaderWord.BOOT_ID + 1], words[HeaderWord.BOOT_ID] = divmod(boot_id(), 1 << 64)
            words[HeaderWord.TOPICS] = len(topics)
            for index, name in enumerate(topics):
                start = ROW_BYTES + index * NAME_BYTES
                board._view[start : start + NAME_BYTES] = name.encode()[:TOPIC_BYTES_MAX].ljust(NAME_BYTES, b"\0")
            words[HeaderWord.MAGIC] = MAGIC
            board._open_parts()
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(file_descriptor)
        return board

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing scoreboard for storing: a worker uses the row of its own index and no other."""
        return _open(cls, path, writable=True)

    def stopping(self) -> None:
        """The daemon drains from now on."""
        self._header[HeaderWord.STOPPING] = 1

    def beat(self, tick_ms: int) -> None:
        """The supervisor's loop is alive at ``tick_ms`` (CLOCK_MONOTONIC)."""
        self._header[HeaderWord.HEARTBEAT_TICK_MS] = tick_ms


class Reader(_Mapped):
    """What ``status`` and the admin process use: never stores."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """FileNotFoundError when no daemon ever ran here, ScoreboardError when the file is none."""
        return _open(cls, path, writable=False)


def _open(kind: type[Board], path: Path, *, writable: bool) -> Board:
    file_descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(file_descriptor).st_size
        if size < ROW_BYTES:
            raise ScoreboardError(f"{path} is {size} bytes long, too short for a scoreboard")
        board = kind(file_descriptor, writable=writable)
        words = board._header
        if words[HeaderWord.MAGIC] != MAGIC or words[HeaderWord.VERSION] != VERSION:
            board.close()
            raise ScoreboardError(f"{path} is not a scoreboard of version {VERSION}")
        if size < board._layout.file_bytes:
            board.close()
            raise ScoreboardError(f"{path} is shorter than its header says")
        board._open_parts()
        return board
    finally:
        os.close(file_descriptor)
