"""Stage ``scale``: one worker, keyed records at the same rate to few and to very many partitions, into the null sink.

What a record costs depends on how many share a batch, and that is about rate x linger.ms / partitions, whoever the
producer is: so the pair is measured where both have batches of a record or two (judged), and where few partitions
have far larger ones than many, which is shown. Both daemons run at once and are loaded in turns, so that what else the
machine does meets both. Memory is looked at behind each.
"""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

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
    """Records per second, how long a batch may wait for more, and in how many turns it is measured."""

    rate: int
    linger_ms: int
    turns: int
    judged: bool = False


LOADS: Final = (
    Load(2_000, 5, turns=8, judged=True),
    Load(20_000, 5, turns=8),
    Load(20_000, 1_000, turns=2),
    Load(50_000, 10_000, turns=1),
)


class Side:
    """One daemon with its sink, and what it was seen to cost."""

    def __init__(self, sink: Sink, daemon: Daemon, settings: Settings) -> None:
        self._sink = sink
        self._daemon = daemon
        self._settings = settings
        self._delivered = 0
        self.us: list[float] = []
        self._deliver(WARM_UP_RECORDS, 20_000)
        self._before = sink.counters()
        self._warm = self._delivered

    @classmethod
    def run(
        cls, stack: ExitStack, cores: Cores, folder: Path, arena_folder: Path, udp_port: int, settings: Settings
    ) -> Self:
        """Starts both, until ``stack`` ends them; ready and warm."""
        folder.mkdir()
        arena_folder = arena_folder / folder.name
        arena_folder.mkdir()
        sink = stack.enter_context(Sink.run(folder, [f"{TOPIC}:{settings.partitions}"]))
        settings = settings._replace(bootstrap=f"127.0.0.1:{sink.port}")
        daemon = stack.enter_context(Daemon.run(folder, settings, udp_port, arena_folder))
        cores.measured(daemon.worker_pid)
        return cls(sink, daemon, settings)

    def turn(self, records: int, rate: int) -> None:
        """Loads it, and notes what a record cost the worker."""
        meter = Meter(self._daemon.worker_pid)
        self._deliver(records, rate)
        self.us.append(meter.read().cpu_s / records * 1e6)

    def _deliver(self, records: int, rate: int) -> None:
        _send(self._daemon, records, rate)
        self._delivered += records
        self._daemon.wait_delivered(self._delivered)

    def sample(self) -> dict[str, Any]:
        """What was found."""
        after = self._sink.counters()
        batches = after["batches"] - self._before["batches"]
        return {
            "us": self.us,
            "records_per_batch": (self._delivered - self._warm) / batches,
            "batches_per_request": batches / (after["requests"] - self._before["requests"]),
            "rss_mib": (rss_bytes(self._daemon.worker_pid) - self._settings.buffer_memory) / MIB,
            "restarts": self._daemon.restarts,
        }


def measure(
    folder: Path, arena_folder: Path, udp_port: int, seconds: float, settings: Settings
) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from. The four ports from ``udp_port`` are used."""
    figures: list[Figure] = []
    samples: dict[str, Any] = {}
    for load in LOADS:
        few, many = _pair(folder, arena_folder, udp_port, seconds, settings, load)
        name = f"scale, {load.rate} records/s, linger {load.linger_ms} ms"
        ratio = statistics.median(b / a for a, b in zip(few["us"], many["us"], strict=True))
        figures += [
            Figure(f"{name}, {FEW} partitions", statistics.median(few["us"]), "us CPU per record"),
            Figure(f"{name}, {MANY} partitions", statistics.median(many["us"]), "us CPU per record"),
            Figure(f"{name}, {MANY} to {FEW}", ratio, "x", RATIO_MAX if load.judged else None),
            Figure(f"{name}, records per batch, {MANY}", many["records_per_batch"], ""),
            Figure(f"{name}, memory besides the arena, {MANY}", many["rss_mib"], "MiB", RSS_MIB_MAX),
        ]
        samples[name] = {str(FEW): few, str(MANY): many}
    return figures, samples


def _pair(
    folder: Path, arena_folder: Path, udp_port: int, seconds: float, settings: Settings, load: Load
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What few and many partitions cost under one load."""
    with Cores() as cores, ExitStack() as stack:
        few, many = (
            Side.run(
                stack,
                cores,
                folder / f"{load.rate}-{load.linger_ms}-{partitions}",
                arena_folder,
                port,
                settings._replace(partitions=partitions, linger_ms=load.linger_ms),
            )
            for partitions, port in ((FEW, udp_port), (MANY, udp_port + 2))
        )
        for _ in range(load.turns):
            for side in (few, many):
                side.turn(int(load.rate * seconds / load.turns), load.rate)
        return few.sample(), many.sample()


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
