"""Stage (e): the producer as a library next to confluent-kafka's Python producer, both into the null sink; and what
handing records over in a queue saves against taking each into the arena under a lock.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.programs import Generator, ProgramError, Sink
from benchmarks.report import Figure
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.handover import Handover, Outgoing
from ingestd.hotpath.intake import Intake
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.hotpath.local import LocalIntake

TOPIC: Final = "bench"
PREPARED_RECORDS: Final = 20_000
WAYS: Final = (("library_producer", "send"), ("library_producer", "callback"), ("rival_producer", "produce"))
CHUNK_RECORDS: Final = 1000
"""What the sender thread finds in the queue when callers keep it busy: some 5 ms of theirs."""
NOW_MS: Final = 1_700_000_000_000
ARENA_BYTES: Final = 64 << 20
BATCH_BYTES: Final = 16_384
VALUE: Final = bytes(121)


def measure(folder: Path, records: int, repetitions: int, partitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    prepared = folder / "prepared.frames"
    Generator("frames", "-", records=PREPARED_RECORDS, topic=TOPIC, write=str(prepared)).wait()
    samples: dict[str, list[float]] = {}
    with Sink.run(folder, [f"{TOPIC}:{partitions}"]) as sink:
        for _ in range(repetitions):
            for program, way in WAYS:
                spent_s = cpu_s(program, way, f"127.0.0.1:{sink.port}", prepared, records)
                samples.setdefault(way, []).append(spent_s / records * 1e6)
    for _ in range(repetitions):
        samples.setdefault("queue_ns", []).append(taking_ns(by_queue, records, partitions))
        samples.setdefault("lock_ns", []).append(taking_ns(by_lock, records, partitions))
    median = {name: statistics.median(values) for name, values in samples.items()}
    ratio = statistics.median(b / a for a, b in zip(samples["callback"], samples["produce"], strict=True))
    return [
        Figure("library: send(), futures only", median["send"], "CPU-s per million"),
        Figure("library: send() with a callback", median["callback"], "CPU-s per million"),
        Figure("library: confluent-kafka, produce() with a callback", median["produce"], "CPU-s per million"),
        Figure("library: confluent-kafka next to it, both with callbacks", ratio, "x"),
        Figure("library: into the arena, by a queue", median["queue_ns"], "ns per record"),
        Figure("library: into the arena, each under a lock", median["lock_ns"], "ns per record"),
    ], dict(samples)


def cpu_s(program: str, way: str, bootstrap: str, prepared: Path, records: int) -> float:
    """CPU seconds of the producing process."""
    command = [sys.executable, "-m", f"benchmarks.{program}", way, bootstrap, TOPIC, str(prepared), str(records)]
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise ProgramError(f"{' '.join(command)}:\n{outcome.stdout}{outcome.stderr}")
    return float(json.loads(outcome.stdout)["cpu_s"])


class _Path:
    """An arena, and the way into it."""

    def __init__(self, partitions: int) -> None:
        self.arena = Arena.create(None, buffer_bytes=ARENA_BYTES, now_ms=NOW_MS)
        self.topic = self.arena.topic_add(TOPIC)
        self.intake = Intake(self.arena, None, seed=1)
        self.intake.add_topic(self.topic, batch_bytes=BATCH_BYTES, linger_ms=5, record_bytes_max=1 << 20)
        self.intake.set_partitions(self.topic, b"\x01" * partitions)
        self.intake.add_listener(ListenerSpec(0, "frames", timestamp=1))
        self.handover = Handover(1 << 40, 1 << 40, lambda: None)
        self.local = LocalIntake(self.intake, 0, self.handover)

    def record(self, index: int) -> Outgoing:
        return Outgoing(None, TOPIC, self.topic, -1, NOW_MS, b"key-%08d" % (index % 10_000), VALUE, None, 0, None)

    def empty(self) -> None:
        """Delivers everything, so that there is room again; not part of what is measured."""
        self.intake.seal_all()
        for batch in self.arena.take_sealed():
            self.arena.stamp(batch.entry, 1, 0, 0, 0, NOW_MS)
            self.local.delivered(self.arena, batch.entry, batch.partition, 0, -1)
            self.arena.done(batch.entry)


def by_queue(path: _Path, records: list[Outgoing]) -> None:
    """As the library does: callers queue, the sender thread takes all at once."""
    put = path.handover.put
    for record in records:
        put(record)
    path.local.append(path.handover.take(), 0, [], NOW_MS, 0)


def by_lock(path: _Path, records: list[Outgoing]) -> None:
    """Each caller takes its own record into the arena, under a lock."""
    put, take, append, lock = path.handover.put, path.handover.take, path.local.append, threading.Lock()
    for record in records:
        with lock:
            put(record)
            append(take(), 0, [], NOW_MS, 0)


def taking_ns(take: Callable[[_Path, list[Outgoing]], None], records: int, partitions: int) -> float:
    """Thread CPU nanoseconds per record, from the object to the committed batch."""
    path = _Path(partitions)
    spent_ns = 0
    for start in range(0, records, CHUNK_RECORDS):
        chunk = [path.record(index) for index in range(start, start + CHUNK_RECORDS)]
        before_ns = time.thread_time_ns()
        take(path, chunk)
        spent_ns += time.thread_time_ns() - before_ns
        path.empty()
    return spent_ns / records
