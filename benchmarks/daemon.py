"""The daemon under measurement: the real ``ingestd run`` with one worker, on a configuration made here."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

from benchmarks.machine import descendants
from benchmarks.programs import ProgramError, wait_until
from ingestd.figures import Reading
from ingestd.metrics import Ledger
from ingestd.scoreboard import FILE_NAME, Reader, Word, WorkerState

TOPIC: Final = "bench"
START_S_MAX: Final = 30.0
STOP_S_MAX: Final = 40.0
RECEIVE_BUFFER_BYTES: Final = 4 << 20


class TopicSettings(NamedTuple):
    """A topic of the measurement's own; ``lines``: what its section says, TOML."""

    name: str
    lines: str


class Settings(NamedTuple):
    """What is varied. Kafka's names with underscores; sizes in bytes."""

    bootstrap: str
    partitions: int = 6
    buffer_memory: int = 64 << 20
    batch_size: int = 131072
    linger_ms: int = 5
    compression_type: str = "none"
    send_buffer_bytes: int = -1
    topics: tuple[TopicSettings, ...] = ()
    """Besides TOPIC; only the listener of frames on a stream takes them."""


def configuration(settings: Settings, folder: Path, arena_folder: Path, udp_port: int) -> str:
    """A configuration with all listeners that are measured; TOML."""
    own_topics = "".join(
        f"[topics.{topic.name}]\npartitions = {settings.partitions}\n{topic.lines}\n\n" for topic in settings.topics
    )
    names = ", ".join(f'"{name}"' for name in (TOPIC, *(topic.name for topic in settings.topics)))
    return f"""
[daemon]
workers = 1
state.directory = "{folder}"
arena.directory = "{arena_folder}"

[producer]
bootstrap.servers = ["{settings.bootstrap}"]
linger.ms = {settings.linger_ms}
batch.size = {settings.batch_size}
buffer.memory = {settings.buffer_memory}
compression.type = "{settings.compression_type}"
send.buffer.bytes = {settings.send_buffer_bytes}

[topics.{TOPIC}]
partitions = {settings.partitions}

{own_topics}[[listeners]]
name = "frames"
listen = "unix-stream:{folder}/frames.sock"
format = "frames"
topics = [{names}]

[[listeners]]
name = "lines"
listen = "unix-stream:{folder}/lines.sock"
format = "lines"
topic = "{TOPIC}"

[[listeners]]
name = "datagram"
listen = "unix-datagram:{folder}/datagram.sock"
format = "raw"
topic = "{TOPIC}"

[[listeners]]
name = "datagram-frames"
listen = "unix-datagram:{folder}/datagram-frames.sock"
format = "frames"
topics = ["{TOPIC}"]

[[listeners]]
name = "udp"
listen = "udp:127.0.0.1:{udp_port}"
format = "raw"
topic = "{TOPIC}"
receive_buffer_bytes = {RECEIVE_BUFFER_BYTES}

[[listeners]]
name = "udp-frames"
listen = "udp:127.0.0.1:{udp_port + 1}"
format = "frames"
topics = ["{TOPIC}"]
receive_buffer_bytes = {RECEIVE_BUFFER_BYTES}
"""


class Daemon:
    """A running daemon; its books are read from the scoreboard, which costs it nothing."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, udp_port: int) -> None:
        self._process = process
        self.folder = folder
        self.udp_port = udp_port
        wait_until(self._is_ready, "the daemon is ready", START_S_MAX)
        self._board = Reader.open(folder / FILE_NAME)

    @classmethod
    @contextmanager
    def run(cls, folder: Path, settings: Settings, udp_port: int, arena_folder: Path | None = None) -> Iterator[Self]:
        """``ingestd run`` as long as the block lasts; ``folder`` is its state directory and has its log."""
        file = folder / "ingestd.toml"
        file.write_text(configuration(settings, folder, arena_folder or folder, udp_port))
        command = [sys.executable, "-m", "ingestd.cli.main", "run", "-c", str(file)]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield cls(process, folder, udp_port)
        except ProgramError as error:
            raise ProgramError(f"{error}\n{_tail(folder / 'log')}") from error
        finally:
            _end(process)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise ProgramError(f"the daemon ended with {self._process.returncode}")
        try:
            with Reader.open(self.folder / FILE_NAME) as board:
                return board.rows[0].state == WorkerState.READY
        except FileNotFoundError:
            return False

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    @property
    def worker_pid(self) -> int:
        """Process id of the one worker."""
        return self._board.rows[0].get(Word.PID)

    @property
    def pids(self) -> list[int]:
        """All processes of the daemon."""
        return [self.pid, *descendants(self.pid)]

    @property
    def restarts(self) -> int:
        """Deaths of the worker so far; a measurement with one is void."""
        return self._board.rows[0].get(Word.RESTARTS)

    def path(self, listener: str) -> str:
        """Socket path of a Unix listener."""
        return f"{self.folder}/{listener}.sock"

    def count(self, word: Ledger) -> int:
        """One counter of the ledger, as last published by the worker."""
        return self._board.rows[0].published().ledger[word]

    def figures(self) -> Reading:
        """What the worker's producer has stored, at most a second ago."""
        return self._board.figures(0)

    def gauge(self, word: Word) -> int:
        """One other word of the worker's row."""
        return self._board.rows[0].get(word)

    def wait_delivered(self, records: int, seconds_max: float = 120.0) -> None:
        """Waits until the ledger says that ``records`` are in Kafka."""
        wait_until(lambda: self.count(Ledger.DELIVERED) >= records, f"{records} records delivered", seconds_max)

    def wait_quiet(self, word: Ledger, seconds: float = 0.3) -> int:
        """Waits until a counter has not moved for ``seconds``; its value."""
        value = self.count(word)
        since_s = time.monotonic()
        while time.monotonic() < since_s + seconds:
            time.sleep(0.01)
            if (now := self.count(word)) != value:
                value, since_s = now, time.monotonic()
        return value


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL to the process and what it started."""
    if process.poll() is not None:
        return
    children = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        for pid in [process.pid, *children]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-20:])
