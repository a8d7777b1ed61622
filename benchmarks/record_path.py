"""Stage (a): the record path alone, in this process: from frames in memory to committed batches in an anonymous arena.

Stages are told apart by what the records ask for. Records dated 1970 on a listener that refuses such ones cost a full
parse and nothing else; records that name their partition cost all but the key's hash; commit is mostly the checksum,
which is also measured alone, over the same number of bytes. Copying the bytes into the read window, which the kernel
does in a daemon, is measured apart and taken off. Each number is the least of its rounds: others on the machine only
add to a process's CPU time. The median of the whole path stands beside it.
"""

import statistics
import struct
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.report import Figure
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.crc32c import crc32c
from ingestd.hotpath.intake import CONTROL, SEALED, Intake
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.hotpath.stream import Stream

if TYPE_CHECKING:
    from ingestd.hotpath.intake import ChoosePartitions

TOTAL_NS_MAX: Final = 45.0
ROUNDS: Final = 4
"""A repetition takes a second, and neighbours are often busy for several."""
TOPIC: Final = "bench"
KEYS: Final = 10_000
VALUE_BYTES: Final = 121
KEY_BYTES: Final = 12
FRAME_RECORDS: Final = 400
ARENA_BYTES: Final = 64 << 20
BATCH_BYTES: Final = 131072
NOW_MS: Final = 1_700_000_000_000
RECORD_BYTES_MAX: Final = 1 << 20
PARTITION, TIMESTAMP, KEY, VALUE = 0x01, 0x02, 0x04, 0x10


class Path(NamedTuple):
    """An arena, the intake over it and one connection."""

    arena: Arena
    intake: Intake
    stream: Stream


def frames(flags: int, partitions: int, wanted_bytes: int) -> tuple[bytes, int]:
    """RECORDS frames of at most ``wanted_bytes`` together, and how many records are in them."""
    frames, count = bytearray(), 0
    while True:
        records = bytearray()
        for index in range(count, count + FRAME_RECORDS):
            key = b"key-%08d" % (index * 7919 % KEYS)
            body = bytes([flags])
            body += struct.pack("<i", index % partitions) if flags & PARTITION else b""
            body += struct.pack("<q", 0) if flags & TIMESTAMP else b""
            body += struct.pack("<I", KEY_BYTES) + key if flags & KEY else b""
            body += (b"%d " % index * VALUE_BYTES)[: VALUE_BYTES if flags & KEY else VALUE_BYTES + KEY_BYTES]
            records += struct.pack("<I", len(body)) + body
        head = struct.pack("<IBBHHHIQ", 20 + len(records), 2, 0, 0, 0, 0, FRAME_RECORDS, 1)
        if frames and len(frames) + len(head) + len(records) > wanted_bytes:
            return bytes(frames), count
        frames += head + records
        count += FRAME_RECORDS


def open_path(
    partitions: int, batch_bytes: int = BATCH_BYTES, partitioner: "str | ChoosePartitions" = "murmur2"
) -> Path:
    """The record path to one topic, its connection ready for RECORDS frames of topic id 0."""
    arena = Arena.create(None, buffer_bytes=ARENA_BYTES, now_ms=NOW_MS)
    topic = arena.topic_add(TOPIC)
    intake = Intake(arena, None, seed=1)
    intake.add_topic(
        topic, batch_bytes=batch_bytes, linger_ms=5, record_bytes_max=RECORD_BYTES_MAX, partitioner=partitioner
    )
    intake.set_partitions(topic, b"\x01" * partitions)
    intake.add_listener(
        ListenerSpec(
            index=0,
            format="frames",
            topics=(topic,),
            timestamp=1,
            timestamp_refuse=True,
            record_bytes_max=RECORD_BYTES_MAX,
        )
    )
    stream = intake.stream(-1, 0, 1)
    flags, _ = stream.feed(struct.pack("<IBBHHH", 8 + len(TOPIC), 3, 0, 0, 0, len(TOPIC)) + TOPIC.encode(), NOW_MS, 0)
    assert flags & CONTROL
    stream.take_control()
    stream.set_topic_id(0, topic)
    stream.resume(NOW_MS, 0)
    return Path(arena, intake, stream)


def _drain(arena: Arena) -> int:
    """Takes what is sealed the way of a delivered batch; nanoseconds of CPU."""
    before_ns = time.process_time_ns()
    for batch in arena.take_sealed():
        arena.stamp(batch.entry, 1, 0, 0, 0, NOW_MS)
        arena.done(batch.entry)
    return time.process_time_ns() - before_ns


def feed(path: Path, data: bytes, records: int, wanted: int) -> tuple[float, float]:
    """CPU nanoseconds per record of the reads and of what is done per batch afterwards."""
    read_ns = batch_ns = done = 0
    stream, arena = path.stream, path.arena
    while done < wanted:
        before_ns = time.process_time_ns()
        flags, taken = stream.feed(data, NOW_MS, 0)
        read_ns += time.process_time_ns() - before_ns
        assert taken == len(data)
        if flags & SEALED:
            batch_ns += _drain(arena)
        done += records
    return read_ns / done, batch_ns / done


def _alone(work: Callable[[], object], records: int, wanted: int) -> float:
    """CPU nanoseconds per record of ``work``, one call of which stands for ``records``."""
    calls = max(wanted // records, 1)
    before_ns = time.process_time_ns()
    for _ in range(calls):
        work()
    return (time.process_time_ns() - before_ns) / (calls * records)


def measure(records: int, repetitions: int, partitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    window_bytes = 256 << 10
    variants = {
        "refused": KEY | TIMESTAMP | VALUE,
        "partition": KEY | PARTITION | VALUE,
        "keyed": KEY | VALUE,
        "no key": VALUE,
    }
    path = open_path(partitions)
    prepared = {name: frames(flags, partitions, window_bytes - 4096) for name, flags in variants.items()}
    samples: dict[str, list[float]] = {name: [] for name in (*variants, "copy", "checksum", "batch")}
    window = bytearray(window_bytes)
    for repetition in range(ROUNDS * repetitions + 1):
        found: dict[str, float] = {}
        for name, (data, count) in prepared.items():
            found[name], batch_ns = feed(path, data, count, records)
            if name == "keyed":
                found["batch"] = batch_ns
        data, count = prepared["keyed"]
        view = memoryview(window)[: len(data)]

        found["copy"] = _alone(partial(view.__setitem__, slice(None), data), count, records)
        found["checksum"] = _alone(partial(crc32c, data), count, records)
        for name in islice(found, len(found) if repetition else 0):  # the first round warms up
            samples[name].append(found[name])
    return _figures(samples), dict(samples)


def _figures(samples: dict[str, list[float]]) -> list[Figure]:
    least = {name: min(values) for name, values in samples.items()}
    usual = statistics.median(samples["keyed"]) - statistics.median(samples["copy"])
    copy, unit = least["copy"], "ns per record"
    parse, commit = least["refused"] - copy, least["checksum"]
    return [
        Figure("record path, frame to committed batch", least["keyed"] - copy, unit, TOTAL_NS_MAX),
        Figure("record path, frame to committed batch, median", usual, unit),
        Figure("record path, of it: frame parse", parse, unit),
        Figure("record path, of it: partition by key", least["keyed"] - least["partition"], unit),
        Figure("record path, of it: encode", least["partition"] - copy - parse - commit, unit),
        Figure("record path, of it: commit (checksum)", commit, unit),
        Figure("record path without keys", least["no key"] - copy, unit),
        Figure("per batch in Python: take, stamp, done", least["batch"], unit),
    ]
