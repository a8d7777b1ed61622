"""Stage ``partitioners``: what a record costs with each partitioner, from frames in memory to committed batches."""

import statistics
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.record_path import KEY, VALUE, feed, frames, open_path
from benchmarks.report import Figure
from ingestd.partitioner import Choice, load

EXAMPLES: Final = Path(__file__).parent.parent / "examples"
WINDOW_BYTES: Final = 252 << 10
COMPILED: Final = {
    "murmur2_random": "murmur2",
    "consistent_random": "crc32",
    "ignore.keys": "sticky",
    "round_robin": "round_robin",
}
PYTHON: Final = "banana_partitioner:BananaPartitioner"


def measure(records: int, repetitions: int, partitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    sys.path.insert(0, str(EXAMPLES))
    paths = {name: open_path(partitions, partitioner=partitioner) for name, partitioner in COMPILED.items()}
    paths[PYTHON] = open_path(partitions, partitioner=Choice("bench", load(PYTHON, {})))
    data, count = frames(KEY | VALUE, partitions, WINDOW_BYTES)
    samples: dict[str, list[float]] = {name: [] for name in paths}
    for repetition in range(repetitions + 1):
        for name, path in paths.items():
            cost_ns, _ = feed(path, data, count, records)
            if repetition:  # the first round warms up
                samples[name].append(cost_ns)
    figures = [
        Figure(f"a keyed record, {name}", statistics.median(costs), "ns per record") for name, costs in samples.items()
    ]
    return figures, dict(samples)
