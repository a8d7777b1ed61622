"""Stage (c): ingestd and confluent-kafka's Python producer deliver the same records to the same real single-node Kafka.

ingestd's side counts all of its processes and the program that hands the records over; the other side is one process.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.daemon import TOPIC, Daemon, Settings
from benchmarks.machine import Meter
from benchmarks.programs import Generator, ProgramError
from benchmarks.report import Figure
from ingestd.metrics import Ledger
from tests.kafka.cluster import Cluster

RATIO_MIN: Final = 5.0
WARM_UP_RECORDS: Final = 100_000
PREPARED_RECORDS: Final = 20_000
WAYS: Final = ("produce", "produce_batch")


def measure(
    folder: Path, arena_folder: Path, udp_port: int, records: int, repetitions: int, settings: Settings
) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    prepared = folder / "prepared.frames"
    Generator("frames", "-", records=PREPARED_RECORDS, topic=TOPIC, write=str(prepared)).wait()
    samples: dict[str, list[float]] = {name: [] for name in ("ingestd_s", "worker_s", *WAYS)}
    cluster = Cluster(folder / "kafka", quick=False)
    try:
        cluster.start()
        cluster.create_topic(TOPIC, settings.partitions)
        settings = settings._replace(bootstrap=cluster.bootstrap)
        state = folder / "state"
        state.mkdir()
        with Daemon.run(state, settings, udp_port, arena_folder) as daemon:
            _ingestd(daemon, WARM_UP_RECORDS)
            _confluent("produce", cluster.bootstrap, prepared, WARM_UP_RECORDS)
            for _ in range(repetitions):
                whole_s, worker_s = _ingestd(daemon, records)
                samples["ingestd_s"].append(whole_s / records * 1e6)
                samples["worker_s"].append(worker_s / records * 1e6)
                for way in WAYS:
                    samples[way].append(_confluent(way, cluster.bootstrap, prepared, records) / records * 1e6)
    finally:
        cluster.stop()
    return _figures(samples), dict(samples)


def _ingestd(daemon: Daemon, records: int) -> tuple[float, float]:
    """CPU seconds of generator, supervisor and worker together, and of the worker, until all is acknowledged."""
    target = daemon.count(Ledger.DELIVERED) + records
    whole, worker = Meter(*daemon.pids), Meter(daemon.worker_pid)
    report = Generator("frames", daemon.path("frames"), records=records, topic=TOPIC).wait()
    daemon.wait_delivered(target)
    return whole.read().cpu_s + report["user_s"] + report["system_s"], worker.read().cpu_s


def _confluent(way: str, bootstrap: str, prepared: Path, records: int) -> float:
    """CPU seconds of the producing process."""
    command = [sys.executable, "-m", "benchmarks.rival_producer", way, bootstrap, TOPIC, str(prepared), str(records)]
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise ProgramError(f"{' '.join(command)}:\n{outcome.stdout}{outcome.stderr}")
    return float(json.loads(outcome.stdout)["cpu_s"])


def _figures(samples: dict[str, list[float]]) -> list[Figure]:
    median = {name: statistics.median(values) for name, values in samples.items()}
    best = min(WAYS, key=lambda way: median[way])
    ratio = statistics.median(b / a for a, b in zip(samples["ingestd_s"], samples[best], strict=True))
    return [
        Figure("real Kafka: ingestd, all its processes and the sender", median["ingestd_s"], "CPU-s per million"),
        Figure("real Kafka: ingestd, worker alone", median["worker_s"], "CPU-s per million"),
        *(Figure(f"real Kafka: confluent-kafka, {way}()", median[way], "CPU-s per million") for way in WAYS),
        Figure(f"real Kafka: confluent-kafka ({best}) next to ingestd", ratio, "x", RATIO_MIN, at_least=True),
    ]
