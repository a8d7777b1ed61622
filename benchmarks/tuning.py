"""``python -m benchmarks.tuning``: batch.size x linger.ms x send.buffer.bytes on lines of different length.

Behind a line of 0, 5 and 50 ms round trip stands the null sink. At each place of the sweep: what goes through at full
speed, and, at a steady rate, how long a record takes to be acknowledged and what the worker costs. Prints a table,
writes ``results/tuning-<time>.json`` and a picture beside it; docs/tuning.md explains them.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import machine
from benchmarks.daemon import Daemon, Settings, TopicSettings
from benchmarks.machine import Meter
from benchmarks.programs import Generator, ProgramError, Sink, delay_proxy, free_port
from ingestd.figures import BOUNDS, SUM_WORD, Histogram
from ingestd.metrics import Ledger

ROOT: Final = Path(__file__).parent.parent
DELAYS_MS: Final = (0, 5, 50)
SEND_BUFFERS_BYTES: Final = (131_072, 1_048_576, -1)
BATCHES_BYTES: Final = (16_384, 131_072, 393_216)
LINGERS_MS: Final = (0, 5, 50)
BUFFER_BYTES: Final = 8 << 20
"""Small, so that it is soon empty again on a long line."""
ENDLESS_RECORDS: Final = 1_000_000_000
STORED_S: Final = 1.2
"""The worker stores its figures once a second."""
DRAIN_S_MAX: Final = 30.0


def window_bytes(send_buffer_bytes: int) -> int:
    """What such a send buffer lets be under way; -1: the kernel's largest, of which about half is its bookkeeping."""
    if send_buffer_bytes >= 0:
        return send_buffer_bytes
    return int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) // 2


class Place(NamedTuple):
    """One of the sweep."""

    delay_ms: int
    send_buffer_bytes: int
    batch_bytes: int
    linger_ms: int

    @property
    def topic(self) -> str:
        return f"b{self.batch_bytes}-l{self.linger_ms}"


class Found(NamedTuple):
    """What was measured there; ``latency_p99_ms``: the bound of the bucket, a power of two."""

    place: Place
    full_records_per_s: float
    latency_mean_ms: float
    latency_p99_ms: float
    cpu_s_per_million: float
    batch_bytes_mean: float


class Plan(NamedTuple):
    """How long each place is measured, and at which rate."""

    seconds: float
    rate: int
    """Records per second, for latency and CPU."""
    delays_ms: Sequence[int] = DELAYS_MS
    send_buffers_bytes: Sequence[int] = SEND_BUFFERS_BYTES
    batches_bytes: Sequence[int] = BATCHES_BYTES
    lingers_ms: Sequence[int] = LINGERS_MS


def sweep(folder: Path, arena_folder: Path, udp_port: int, plan: Plan) -> list[Found]:
    """Every place of the plan; a daemon per line and send buffer, whose topics differ in batch.size and linger.ms."""
    found = []
    for number, (delay_ms, send_bytes) in enumerate(itertools.product(plan.delays_ms, plan.send_buffers_bytes)):
        places = [
            Place(delay_ms, send_bytes, batch_bytes, linger_ms)
            for batch_bytes, linger_ms in itertools.product(plan.batches_bytes, plan.lingers_ms)
        ]
        own = folder / f"{number}"
        own.mkdir()
        found += _line(own, arena_folder / f"{number}", udp_port, places, plan)
    return found


def _line(folder: Path, arena_folder: Path, udp_port: int, places: Sequence[Place], plan: Plan) -> list[Found]:
    arena_folder.mkdir()
    topics = tuple(
        TopicSettings(place.topic, f"batch.size = {place.batch_bytes}\nlinger.ms = {place.linger_ms}")
        for place in places
    )
    settings = Settings(
        bootstrap="", buffer_memory=BUFFER_BYTES, send_buffer_bytes=places[0].send_buffer_bytes, topics=topics
    )
    named = [f"{topic.name}:{settings.partitions}" for topic in topics]
    delay_ms = places[0].delay_ms
    with ExitStack() as stack:
        port = free_port() if delay_ms else 0
        sink = stack.enter_context(Sink.run(folder, named, nodes=[port] if port else []))
        if delay_ms:
            stack.enter_context(delay_proxy(port, sink.port, delay_ms, window_bytes(settings.send_buffer_bytes)))
        settings = settings._replace(bootstrap=f"127.0.0.1:{port or sink.port}")
        daemon = stack.enter_context(Daemon.run(folder, settings, udp_port, arena_folder))
        found = []
        for place in places:
            print(f"{place} ...", file=sys.stderr, flush=True)
            found.append(_measure(daemon, sink, place, plan))
        if daemon.restarts or sink.counters()["faults"] or sink.counters()["sequence_faults"]:
            raise ProgramError("void: the worker died, or the sink saw a fault")
        return found


def _measure(daemon: Daemon, sink: Sink, place: Place, plan: Plan) -> Found:
    full, batch_bytes = _full_speed(daemon, sink, place, plan.seconds)
    before = daemon.figures().histograms[Histogram.ACCEPT_TO_DELIVERED]
    records = int(plan.rate * plan.seconds)
    meter = Meter(daemon.worker_pid)
    target = daemon.count(Ledger.DELIVERED) + records
    Generator("frames", daemon.path("frames"), records=records, topic=place.topic, rate=plan.rate, per_frame=20).wait()
    daemon.wait_delivered(target, DRAIN_S_MAX)
    cost_s = meter.read().cpu_s
    time.sleep(STORED_S)
    after = daemon.figures().histograms[Histogram.ACCEPT_TO_DELIVERED]
    mean_ms, p99_ms = latency([late - early for late, early in zip(after, before, strict=True)])
    return Found(place, full, mean_ms, p99_ms, cost_s / records * 1e6, batch_bytes)


def _full_speed(daemon: Daemon, sink: Sink, place: Place, seconds: float) -> tuple[float, float]:
    """Records per second that reach the sink once the line is full, and the mean size of their batches."""
    generator = Generator("frames", daemon.path("frames"), records=ENDLESS_RECORDS, topic=place.topic)
    try:
        sink.wait_for("records", sink.counters()["records"] + 1)
        time.sleep(0.2 + 4 * place.delay_ms / 1000)
        before, since_s = sink.counters(), time.monotonic()
        time.sleep(seconds)
        after, elapsed_s = sink.counters(), time.monotonic() - since_s
    finally:
        generator.kill()
    daemon.wait_quiet(Ledger.ACCEPTED, 0.1)
    daemon.wait_delivered(daemon.count(Ledger.ACCEPTED), DRAIN_S_MAX)
    time.sleep(STORED_S)
    batches = max(after["batches"] - before["batches"], 1)
    return (
        (after["records"] - before["records"]) / elapsed_s,
        (after["batch_bytes"] - before["batch_bytes"]) / batches,
    )


def latency(words: Sequence[int]) -> tuple[float, float]:
    """Mean, and the upper bound of the bucket that the 99th percentile falls into, of a histogram's words; ms."""
    counts, bounds = words[:SUM_WORD], BOUNDS[Histogram.ACCEPT_TO_DELIVERED]
    total = sum(counts)
    if not total:
        return 0.0, 0.0
    running = list(itertools.accumulate(counts))
    at = next(index for index, count in enumerate(running) if count >= 0.99 * total)
    return words[SUM_WORD] / total, float(bounds[min(at, len(bounds) - 1)])


def table(found: Sequence[Found]) -> str:
    """One line per place."""
    head = f"{'line ms':>8}{'send buffer':>13}{'batch.size':>12}{'linger.ms':>11}"
    head += f"{'full speed, records/s':>23}{'batch bytes':>13}{'latency ms':>12}{'p99 <=':>8}{'CPU-s/million':>15}"
    lines = [head]
    for each in found:
        place = each.place
        lines.append(
            f"{place.delay_ms:>8}{place.send_buffer_bytes:>13}{place.batch_bytes:>12}{place.linger_ms:>11}"
            f"{each.full_records_per_s:>23,.0f}{each.batch_bytes_mean:>13,.0f}{each.latency_mean_ms:>12.1f}"
            f"{each.latency_p99_ms:>8.0f}{each.cpu_s_per_million:>15.3f}"
        )
    return "\n".join(lines)


def draw(path: Path, found: Sequence[Found]) -> None:
    """A column per line, a row per figure; x: batch.size, colour: linger.ms, dashes: send.buffer.bytes."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    delays = sorted({each.place.delay_ms for each in found})
    rows = (
        ("full speed, records/s", "full_records_per_s"),
        ("latency, mean ms", "latency_mean_ms"),
        ("CPU-s per million", "cpu_s_per_million"),
    )
    lingers = sorted({each.place.linger_ms for each in found})
    buffers = sorted({each.place.send_buffer_bytes for each in found})
    dashes = ("-", "--", ":", "-.")
    canvas, axes = pyplot.subplots(
        len(rows),
        len(delays),
        figsize=(4 * len(delays), 8),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, delay_ms in enumerate(delays):
        for row, (title, field) in enumerate(rows):
            axis = axes[row, column]
            for (colour, linger_ms), (dash, send_bytes) in itertools.product(
                enumerate(lingers), zip(itertools.cycle(dashes), buffers, strict=False)
            ):
                curve = [
                    each for each in found if each.place[:2] == (delay_ms, send_bytes) and each.place[3] == linger_ms
                ]
                axis.plot(
                    [each.place.batch_bytes for each in curve],
                    [getattr(each, field) for each in curve],
                    dash,
                    color=f"C{colour}",
                    marker=".",
                    label=f"linger {linger_ms}, buffer {send_bytes}",
                )
            axis.set_xscale("log", base=2)
            axis.set_ylim(bottom=0)
            axis.set_title(f"{title}, line of {delay_ms} ms" if row == 0 else title, fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("batch.size")
    axes[0, -1].legend(fontsize=6)
    canvas.savefig(path, dpi=110)
    pyplot.close(canvas)


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default %(default)s)")
    parser.add_argument("--rate", type=int, default=20_000, help="records per second (default %(default)s)")
    parser.add_argument("--arena-directory", type=Path, default=Path("/dev/shm"), help="(default %(default)s)")
    parser.add_argument("--udp-port", type=int, default=15514, help="(default %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "results", help="folder (default %(default)s)")
    arguments = parser.parse_args()
    facts = machine.facts()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ingestd-bench-") as folder,
            tempfile.TemporaryDirectory(prefix="ingestd-bench-", dir=arguments.arena_directory) as arena_folder,
        ):
            plan = Plan(arguments.seconds, arguments.rate)
            found = sweep(Path(folder), Path(arena_folder), arguments.udp_port, plan)
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 75
    print(table(found))
    write(arguments.output, facts, plan, found)
    return 0


def write(folder: Path, facts: dict[str, Any], plan: Plan, found: Sequence[Found]) -> Path:
    """The JSON file and, with matplotlib (dependency group ``bench``), the picture; returns the former."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"tuning-{time.strftime('%Y%m%d-%H%M%S')}.json"
    listed = [{**each.place._asdict(), **each._asdict(), "place": None} for each in found]
    target.write_text(json.dumps({"machine": facts, "plan": plan._asdict(), "found": listed}, indent=1) + "\n")
    print(f"\n{target}")
    try:
        draw(target.with_suffix(".png"), found)
        print(target.with_suffix(".png"))
    except ImportError:
        print("no picture: it needs matplotlib", file=sys.stderr)
    return target


if __name__ == "__main__":
    sys.exit(main())
