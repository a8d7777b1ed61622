"""Stage (b2): what each codec costs a worker and saves on the wire, with log lines, on one daemon.

A topic per codec, at Kafka's default levels; the topics take turns, so that what else the machine does meets all.
"""

import statistics
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.daemon import Daemon, Settings, TopicSettings
from benchmarks.machine import Cores, Meter
from benchmarks.programs import Generator, Sink
from benchmarks.report import Figure
from benchmarks.whole_worker import SETTLE_S
from ingestd.producer.compression import CODECS

WARM_UP_RECORDS: Final = 200_000


def measure(
    folder: Path, arena_folder: Path, udp_port: int, records: int, repetitions: int, settings: Settings
) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    topics = tuple(TopicSettings(f"bench-{codec}", f'compression.type = "{codec}"') for codec in CODECS)
    samples: dict[str, Any] = {codec: {"cpu_s": [], "bytes": [], "records_per_s": []} for codec in CODECS}
    named = [f"{topic.name}:{settings.partitions}" for topic in topics]
    with Cores() as cores, Sink.run(folder, named) as sink:
        settings = settings._replace(bootstrap=f"127.0.0.1:{sink.port}", topics=topics)
        with Daemon.run(folder, settings, udp_port, arena_folder) as daemon:
            cores.measured(daemon.worker_pid)
            for codec in CODECS:
                _one(daemon, sink, codec, min(WARM_UP_RECORDS, records))
            for _ in range(repetitions):
                for codec in CODECS:
                    for name, value in _one(daemon, sink, codec, records).items():
                        samples[codec][name].append(value)
            samples["restarts"] = daemon.restarts
        samples["sink"] = sink.stop()
    figures = _figures(samples)
    if samples["restarts"] or samples["sink"]["faults"] or samples["sink"]["sequence_faults"]:
        void = samples["restarts"] + samples["sink"]["faults"] + samples["sink"]["sequence_faults"]
        figures.append(Figure("VOID: worker deaths and faults seen by the sink", void, "", 0.0))
    return figures, samples


def _one(daemon: Daemon, sink: Sink, codec: str, records: int) -> dict[str, float]:
    """CPU seconds of the worker and batch bytes on the wire, both per million records; records per second."""
    before = sink.counters()
    meter = Meter(daemon.worker_pid)
    Generator("frames", daemon.path("frames"), records=records, topic=f"bench-{codec}", log=True).wait()
    sink.wait_for("records", before["records"] + records)
    elapsed_s = meter.read().elapsed_s
    time.sleep(SETTLE_S)
    sent = sink.counters()["batch_bytes"] - before["batch_bytes"]
    millions = records / 1e6
    return {
        "cpu_s": meter.read().cpu_s / millions,
        "bytes": sent / millions,
        "records_per_s": records / elapsed_s,
    }


def _figures(samples: dict[str, Any]) -> list[Figure]:
    plain_bytes = statistics.median(samples["none"]["bytes"])
    figures = []
    for codec in CODECS:
        found = samples[codec]
        figures.append(Figure(f"worker, log lines, {codec}", statistics.median(found["cpu_s"]), "CPU-s per million"))
        if codec != "none":
            ratio = statistics.median(found["bytes"]) / plain_bytes
            figures.append(Figure(f"worker, log lines, {codec}, bytes next to none", ratio, "ratio"))
        rate = statistics.median(found["records_per_s"])
        figures.append(Figure(f"worker, log lines, {codec}, delivered", rate, "records/s"))
    return figures
