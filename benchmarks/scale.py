"""Stage ``scale``: one worker, keyed records at the same rate to few and to very many partitions, into the null sink.

What a record costs depends on how many share a batch, and that is about rate x linger.ms / partitions, whoever the
producer is: so the pair is measured where both have batches of a record or two (judged), and where few partitions
have far larger ones than many, which is shown. Memory is looked at behind each.
"""

import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.daemon import TOPIC, Daemon, Settings
from benchmarks.machine import MIB, Cores, Meter, rss_bytes
from benchmarks.programs import Generator, Sink
from benchmarks.report import Figure
from ingestd.metrics import Ledger

FEW: Final = 10
MANY: Final = 10_000
RATIO_MAX: Final = 1.5
RSS_MIB_MAX: Final = 60.0
"""Above the arena."""
WARM_UP_RECORDS: Final = 40_000
"""Every partition has had a batch by then."""
KEYS: Final = 100_000
BURST: Final = 10
"""Records per frame: a steady trickle, not gusts."""


class Load(NamedTuple):
    """Records per second, and how long a batch may wait for more."""

    rate: int
    linger_ms: int
    judged: bool = False


LOADS: Final = (Load(2_000, 5, judged=True), Load(20_000, 5), Load(20_000, 1_000), Load(50_000, 10_000))


def measure(
    folder: Path, arena_folder: Path, udp_port: int, seconds: float, settings: Settings
) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    figures: list[Figure] = []
    samples: dict[str, Any] = {}
    for load in LOADS:
        found = {}
        for partitions in (FEW, MANY):
            place = folder / f"{load.rate}-{load.linger_ms}-{partitions}"
            place.mkdir()
            found[partitions] = _one(place, arena_folder, udp_port, seconds, settings, load, partitions)
        name = f"scale, {load.rate} records/s, linger {load.linger_ms} ms"
        figures += [
            Figure(f"{name}, {partitions} partitions", sample["us"], "us CPU per record")
            for partitions, sample in found.items()
        ]
        figures += [
            Figure(
                f"{name}, {MANY} to {FEW}",
                found[MANY]["us"] / found[FEW]["us"],
                "x",
                RATIO_MAX if load.judged else None,
            ),
            Figure(f"{name}, records per batch, {MANY}", found[MANY]["records_per_batch"], ""),
            Figure(f"{name}, memory besides the arena, {MANY}", found[MANY]["rss_mib"], "MiB", RSS_MIB_MAX),
        ]
        samples[name] = {str(partitions): sample for partitions, sample in found.items()}
    return figures, samples


def _one(
    folder: Path,
    arena_folder: Path,
    udp_port: int,
    seconds: float,
    settings: Settings,
    load: Load,
    partitions: int,
) -> dict[str, float]:
    with Cores() as cores, Sink.run(folder, [f"{TOPIC}:{partitions}"]) as sink:
        settings = settings._replace(
            bootstrap=f"127.0.0.1:{sink.port}", partitions=partitions, linger_ms=load.linger_ms
        )
        with Daemon.run(folder, settings, udp_port, arena_folder) as daemon:
            cores.measured(daemon.worker_pid)
            _send(daemon, WARM_UP_RECORDS, 20_000)
            daemon.wait_delivered(WARM_UP_RECORDS)
            before = sink.counters()
            meter = Meter(daemon.worker_pid)
            records = int(load.rate * seconds)
            _send(daemon, records, load.rate)
            daemon.wait_delivered(WARM_UP_RECORDS + records)
            cost = meter.read()
            after = sink.counters()
            return {
                "us": cost.cpu_s / records * 1e6,
                "elapsed_s": cost.elapsed_s,
                "records_per_batch": records / (after["batches"] - before["batches"]),
                "batches_per_request": (after["batches"] - before["batches"])
                / (after["requests"] - before["requests"]),
                "rss_mib": (rss_bytes(daemon.worker_pid) - settings.buffer_memory) / MIB,
                "restarts": daemon.restarts,
            }


def _send(daemon: Daemon, records: int, rate: int) -> None:
    """Keyed records, ten a frame, at a steady rate."""
    generator = Generator(
        "frames", daemon.path("frames"), records=records, topic=TOPIC, rate=rate, keys=KEYS, per_frame=BURST
    )
    accepted = daemon.count(Ledger.ACCEPTED)
    generator.wait(records / rate + 60)
    deadline = time.monotonic() + 60
    while daemon.count(Ledger.ACCEPTED) < accepted + records and time.monotonic() < deadline:
        time.sleep(0.05)
