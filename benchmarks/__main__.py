"""``python -m benchmarks``: measures, prints the table, writes ``results/<time>.json`` and a picture beside it.

Ends with 0 when every target of the stages that ran was met, with 1 when one was missed, with 75 when a stage could
not be run.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import machine, network, report
from benchmarks.daemon import Settings
from benchmarks.programs import ProgramError
from benchmarks.report import Figure

STAGES: Final = ("record-path", "partitioners", "worker", "scale", "compression", "rival", "library", "latency")
ROOT: Final = Path(__file__).parent.parent


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", default=[], metavar="stage", help=f"of {', '.join(STAGES)}; all without")
    parser.add_argument("--records", type=int, default=4_000_000, help="per repetition (default %(default)s)")
    parser.add_argument(
        "--compressed-records", type=int, default=1_000_000, help="likewise, per codec (default %(default)s)"
    )
    parser.add_argument("--rival-records", type=int, default=500_000, help="likewise (default %(default)s)")
    parser.add_argument("--datagrams", type=int, default=600_000, help="per repetition (default %(default)s)")
    parser.add_argument("--rate", type=int, default=200_000, help="datagrams per second (default %(default)s)")
    parser.add_argument("--burst", type=int, default=64, help="datagrams per sendmmsg (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=5, help="of what is measured (default %(default)s)")
    parser.add_argument("--partitions", type=int, default=6, help="of the topic (default %(default)s)")
    parser.add_argument("--latency-seconds", type=int, default=20, help="of locust users (default %(default)s)")
    parser.add_argument(
        "--away-seconds", type=float, default=5.0, help="how long waiting is measured (default %(default)s)"
    )
    parser.add_argument(
        "--scale-seconds",
        type=float,
        default=8.0,
        help="of each load with few and many partitions (default %(default)s)",
    )
    parser.add_argument("--arena-directory", type=Path, default=Path("/dev/shm"), help="(default %(default)s)")
    parser.add_argument(
        "--unix-queue",
        type=int,
        default=network.QUEUE_OF_SYSTEMD,
        help="datagrams in a Unix socket's queue; needs root, else the host's (default %(default)s)",
    )
    parser.add_argument(
        "--udp-port", type=int, default=15514, help="this one and the next three are used (default %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "results", help="folder (default %(default)s)")
    arguments = parser.parse_args()
    if unknown := set(arguments.stages) - set(STAGES):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}")
    arguments.stages = arguments.stages or list(STAGES)
    return arguments


def _run(
    stage: str, folder: Path, arena_folder: Path, arguments: argparse.Namespace
) -> tuple[list[Figure], dict[str, Any]]:
    """One stage. Imported here, since each needs something else: the extensions, the daemon, a JVM."""
    settings = Settings(bootstrap="", partitions=arguments.partitions)
    if stage == "record-path":
        from benchmarks import record_path

        return record_path.measure(arguments.records, arguments.repetitions, arguments.partitions)
    if stage == "partitioners":
        from benchmarks import partitioners

        return partitioners.measure(arguments.records, arguments.repetitions, arguments.partitions)
    if stage == "scale":
        from benchmarks import scale

        return scale.measure(folder, arena_folder, arguments.udp_port, arguments.scale_seconds, settings)
    if stage == "worker":
        from benchmarks import whole_worker

        plan = whole_worker.Plan(
            records=arguments.records,
            repetitions=arguments.repetitions,
            rate=arguments.rate,
            burst=arguments.burst,
            datagrams=arguments.datagrams,
            away_s=arguments.away_seconds,
            unix_queue=arguments.unix_queue,
        )
        return whole_worker.measure(folder, arena_folder, arguments.udp_port, plan, settings)
    if stage == "compression":
        from benchmarks import compressed_worker

        return compressed_worker.measure(
            folder, arena_folder, arguments.udp_port, arguments.compressed_records, arguments.repetitions, settings
        )
    if stage == "library":
        from benchmarks import library

        return library.measure(folder, arguments.rival_records, arguments.repetitions, arguments.partitions)
    if stage == "latency":
        from benchmarks import latency

        return latency.measure(folder, arena_folder, arguments.udp_port, arguments.latency_seconds, settings)
    from benchmarks import rival

    return rival.measure(
        folder, arena_folder, arguments.udp_port, arguments.rival_records, arguments.repetitions, settings
    )


def _measure(arguments: argparse.Namespace) -> tuple[list[Figure], dict[str, Any]]:
    figures: list[Figure] = []
    samples: dict[str, Any] = {}
    for stage in arguments.stages:
        print(f"{stage} ...", file=sys.stderr, flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="ingestd-bench-") as folder,
            tempfile.TemporaryDirectory(prefix="ingestd-bench-", dir=arguments.arena_directory) as arena_folder,
        ):
            found, samples[stage] = _run(stage, Path(folder), Path(arena_folder), arguments)
        figures += found
    return figures, samples


def main() -> int:
    """See the module's text."""
    arguments = _arguments()
    arguments.unix_queue = network.enter(arguments.unix_queue)
    facts = machine.facts()
    try:
        figures, samples = _measure(arguments)
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 75
    arguments.output.mkdir(parents=True, exist_ok=True)
    target = arguments.output / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    report.write_json(target, facts, options, figures, samples)
    print(report.table(figures))
    print(f"\n{target}")
    try:
        report.draw(target.with_suffix(".png"), facts, figures)
        print(target.with_suffix(".png"))
    except ImportError:
        print("no picture: it needs matplotlib, which `make bench` installs", file=sys.stderr)
    return 1 if any(figure.verdict == "miss" for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
