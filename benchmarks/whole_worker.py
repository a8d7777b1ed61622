"""Stage (b): a daemon with one worker, from its sockets to the null sink, next to the bare relay with the same bytes.

Also here, on the same daemon: one-record datagrams at a given rate, the memory that the worker holds, and what waiting
costs while Kafka is away. Next to the relay the median of pairs is judged; of what datagrams cost the least of the
repetitions, with the median beside it, since others on the machine only add to a process's CPU time.
"""

import statistics
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.daemon import TOPIC, Daemon, Settings
from benchmarks.machine import MIB, Cores, Meter, rss_bytes
from benchmarks.programs import Generator, Relay, Sink
from benchmarks.report import Figure
from ingestd.metrics import Ledger

WARM_UP_RECORDS: Final = 1_000_000
ROUNDS: Final = 2
"""In each repetition, of what is judged: neighbours are often busy for many seconds."""
RELAY_MAX: Final = 3.0
UNIX_DATAGRAM_US_MAX: Final = 1.5
UDP_US_MAX: Final = 1.3
RSS_MIB_MAX: Final = 70.0
AWAY_CPU_PERCENT_MAX: Final = 2.0
AWAY_SETTLE_S: Final = 3.0
RATE_SHARE_MIN: Final = 0.95
SMALL_BURST: Final = 10
"""The cost of a wake-up for every ten datagrams, shown and not judged."""
DROPS_POLL_S: Final = 2.5
"""The worker asks the kernel for its drops once a second."""
SETTLE_S: Final = 0.05
"""After the sink has seen the last record: acknowledgement and publishing."""
LINE_OPTIONS: Final = {"record_bytes": 134}
"""A line's line feed is not part of its record of 133 bytes."""


class Plan(NamedTuple):
    """How much is measured."""

    records: int
    repetitions: int
    rate: int
    """Datagrams per second."""
    burst: int
    """Datagrams per sendmmsg."""
    datagrams: int
    away_s: float
    unix_queue: int
    """Datagrams that a Unix socket's queue takes."""


Samples = dict[str, list[float]]


def measure(
    folder: Path, arena_folder: Path, udp_port: int, plan: Plan, settings: Settings
) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of this stage and the samples they come from."""
    samples: dict[str, Any] = {}
    figures: list[Figure] = []
    topic = f"{TOPIC}:{settings.partitions}"
    with Cores() as cores, Sink.run(folder, [topic]) as sink, Sink.run(folder, discard=True) as waste:
        settings = settings._replace(bootstrap=f"127.0.0.1:{sink.port}")
        with Daemon.run(folder, settings, udp_port, arena_folder) as daemon:
            cores.measured(daemon.worker_pid)
            _stream(daemon, sink, "frames", WARM_UP_RECORDS)
            for kind in ("frames", "lines"):
                samples[kind] = _streams(daemon, sink, waste, cores, kind, plan)
                figures += _stream_figures(kind, samples[kind])
            for kind, limit in (("datagram", UNIX_DATAGRAM_US_MAX), ("udp", UDP_US_MAX)):
                for burst in (plan.burst, SMALL_BURST):
                    found = samples[f"{kind}-{burst}"] = _datagrams(daemon, sink, kind, plan._replace(burst=burst))
                    figures += _datagram_figures(kind, burst, found, limit if burst == plan.burst else None, plan)
            memory_mib = (rss_bytes(daemon.worker_pid) - settings.buffer_memory) / MIB
            figures.append(Figure("worker memory, arena apart", memory_mib, "MiB", RSS_MIB_MAX))
            samples["restarts"] = daemon.restarts
            samples["sink"] = sink.stop()
            samples["away"] = _away(daemon, settings, plan)
            figures.append(
                Figure(
                    "Kafka away, senders waiting", samples["away"]["cpu_percent"], "% of a core", AWAY_CPU_PERCENT_MAX
                )
            )
    if samples["restarts"] or samples["sink"]["faults"] or samples["sink"]["sequence_faults"]:
        figures.append(
            Figure(
                "VOID: worker deaths and faults seen by the sink",
                samples["restarts"] + samples["sink"]["faults"],
                "",
                0.0,
            )
        )
    return figures, samples


def _options(kind: str) -> dict[str, int]:
    return LINE_OPTIONS if kind == "lines" else {}


def _stream(daemon: Daemon, sink: Sink, kind: str, records: int) -> tuple[float, float]:
    """CPU seconds of the worker from the first byte to the last acknowledgement; wall clock until the sink had all."""
    target = sink.counters()["records"] + records
    meter = Meter(daemon.worker_pid)
    Generator(kind, daemon.path(kind), records=records, topic=TOPIC, **_options(kind)).wait()
    sink.wait_for("records", target)
    elapsed_s = meter.read().elapsed_s
    time.sleep(SETTLE_S)
    return meter.read().cpu_s, elapsed_s


def _relay(daemon: Daemon, waste: Sink, cores: Cores, kind: str, records: int) -> float:
    """CPU seconds of the bare relay for the same bytes."""
    path = daemon.folder / "relay.sock"
    relay = Relay(path, waste.port)
    cores.measured(relay.pid)
    Generator(kind, str(path), records=records, topic=TOPIC, **_options(kind)).wait()
    report = relay.wait()
    return report["user_s"] + report["system_s"]


def _streams(daemon: Daemon, sink: Sink, waste: Sink, cores: Cores, kind: str, plan: Plan) -> Samples:
    """Relay and worker in turns; CPU seconds per million records."""
    samples: Samples = {"relay_s": [], "worker_s": [], "records_per_s": []}
    millions = plan.records / 1e6
    for _ in range(ROUNDS * plan.repetitions):
        samples["relay_s"].append(_relay(daemon, waste, cores, kind, plan.records) / millions)
        cpu_s, elapsed_s = _stream(daemon, sink, kind, plan.records)
        samples["worker_s"].append(cpu_s / millions)
        samples["records_per_s"].append(plan.records / elapsed_s)
    return samples


def _stream_figures(kind: str, samples: Samples) -> list[Figure]:
    relay, worker = statistics.median(samples["relay_s"]), statistics.median(samples["worker_s"])
    ratio = statistics.median(b / a for a, b in zip(samples["relay_s"], samples["worker_s"], strict=True))
    name = f"worker, Unix stream {kind}"
    return [
        Figure(f"bare relay, {kind}", relay, "CPU-s per million"),
        Figure(name, worker, "CPU-s per million"),
        Figure(f"{name}, next to the relay", ratio, "x", RELAY_MAX if kind == "frames" else None),
        Figure(f"{name}, delivered", statistics.median(samples["records_per_s"]), "records/s"),
    ]


def _datagrams(daemon: Daemon, sink: Sink, kind: str, plan: Plan) -> Samples:
    """One-record datagrams at a steady rate: CPU in us per datagram received, the rate reached, what was dropped."""
    samples: Samples = {"us": [], "rate": [], "dropped": [], "sent": [], "drops_counted": [], "received": []}
    counted_before, received_before = daemon.count(Ledger.KERNEL_DROPPED), daemon.count(Ledger.RECEIVED)
    address = daemon.path(kind) if kind == "datagram" else f"127.0.0.1:{daemon.udp_port}"
    for _ in range(plan.repetitions * (ROUNDS if plan.burst != SMALL_BURST else 1)):
        before = daemon.count(Ledger.RECEIVED)
        sunk_before = sink.counters()["records"]
        meter = Meter(daemon.worker_pid)
        report = Generator(kind, address, records=plan.datagrams, rate=plan.rate, burst=plan.burst).wait()
        received = daemon.wait_quiet(Ledger.RECEIVED, SETTLE_S) - before
        sink.wait_for("records", sunk_before + received)
        time.sleep(SETTLE_S)
        samples["us"].append(meter.read().cpu_s * 1e6 / max(received, 1))
        samples["rate"].append(plan.datagrams / report["elapsed_s"])
        samples["dropped"].append(plan.datagrams - received)
        samples["sent"].append(plan.datagrams)
    time.sleep(DROPS_POLL_S)
    samples["drops_counted"].append(daemon.count(Ledger.KERNEL_DROPPED) - counted_before)
    samples["received"].append(daemon.count(Ledger.RECEIVED) - received_before)
    return samples


def _datagram_figures(kind: str, burst: int, samples: Samples, limit_us: float | None, plan: Plan) -> list[Figure]:
    """What a busy machine's generator could not send is said: at a lower rate a datagram costs more."""
    name = f"Unix datagram, queue of {plan.unix_queue}" if kind == "datagram" else "UDP"
    name = f"{name}, {burst} at a time"
    reached = statistics.median(samples["rate"])
    note = "" if reached >= RATE_SHARE_MIN * plan.rate else " (RATE NOT REACHED)"
    return [
        Figure(f"worker, {name}{note}", min(samples["us"]), "us CPU per datagram", limit_us),
        Figure(f"worker, {name}, median", statistics.median(samples["us"]), "us CPU per datagram"),
        Figure(f"worker, {name}, rate", reached, "datagrams/s"),
        Figure(f"worker, {name}, dropped", sum(samples["dropped"]) / sum(samples["sent"]) * 100, "%"),
        Figure(
            f"worker, {name}, neither received nor counted as dropped",
            sum(samples["sent"]) - samples["received"][0] - samples["drops_counted"][0],
            "",
            0.0,
        ),
    ]


def _away(daemon: Daemon, settings: Settings, plan: Plan) -> dict[str, float]:
    """The sink is gone: a sender fills the arena and waits; then what waiting costs, supervisor included."""
    records = settings.buffer_memory // 100
    generator = Generator("frames", daemon.path("frames"), records=records, topic=TOPIC)
    try:
        accepted = daemon.wait_quiet(Ledger.ACCEPTED, 1.0)
        time.sleep(AWAY_SETTLE_S)
        meter = Meter(*daemon.pids)
        time.sleep(plan.away_s)
        cost = meter.read()
        stuck = daemon.count(Ledger.ACCEPTED) == accepted
    finally:
        generator.kill()
    return {"cpu_percent": cost.cpu_s / cost.elapsed_s * 100, "seconds": cost.elapsed_s, "senders_waited": float(stuck)}
