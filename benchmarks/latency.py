"""The stage ``latency``: locust users on a real daemon and a real single-node Kafka, by ``locustfile.py``."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.daemon import TOPIC, Daemon, Settings
from benchmarks.programs import ProgramError
from benchmarks.report import Figure
from tests.kafka.cluster import Cluster

USERS: Final = 40
FILE: Final = Path(__file__).with_name("locustfile.py")
COLUMNS: Final = {"50%": "median", "99%": "p99"}


def measure(
    folder: Path, arena_folder: Path, udp_port: int, seconds: int, settings: Settings
) -> tuple[list[Figure], dict[str, Any]]:
    """Median and 99th percentile of every kind of answer over every kind of socket."""
    cluster = Cluster(folder / "kafka", quick=False)
    try:
        cluster.start()
        cluster.create_topic(TOPIC, settings.partitions)
        state = folder / "state"
        state.mkdir()
        with Daemon.run(state, settings._replace(bootstrap=cluster.bootstrap), udp_port, arena_folder) as daemon:
            rows = _locust(folder, daemon, cluster.bootstrap, seconds)
    finally:
        cluster.stop()
    return _figures(rows), {"rows": rows}


def _locust(folder: Path, daemon: Daemon, bootstrap: str, seconds: int) -> list[dict[str, str]]:
    """Runs locust without its web page; the rows of its statistics."""
    options = {
        "--users": USERS,
        "--spawn-rate": USERS,
        "--run-time": f"{seconds}s",
        "--csv": folder / "locust",
        "--frames": f"unix-stream:{daemon.path('frames')}",
        "--datagram": f"unix-datagram:{daemon.path('datagram-frames')}",
        "--udp": f"udp:127.0.0.1:{daemon.udp_port + 1}",
        "--kafka": bootstrap,
        "--topic": TOPIC,
    }
    command = [sys.executable, "-m", "locust", "-f", str(FILE), "--headless", "--only-summary"]
    for option, value in options.items():
        command += [option, str(value)]
    environment = {**os.environ, "PYTHONPATH": str(FILE.parent.parent)}
    outcome = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )
    if outcome.returncode != 0:
        raise ProgramError(f"locust ended with {outcome.returncode}\n{outcome.stdout}{outcome.stderr}")
    with (folder / "locust_stats.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["Name"] != "Aggregated"]


def _figures(rows: list[dict[str, str]]) -> list[Figure]:
    figures = []
    for row in rows:
        name = f"{row['Type']} users, {row['Name']}"
        figures += [Figure(f"{name}, {text}", float(row[column]), "ms") for column, text in COLUMNS.items()]
        figures.append(Figure(f"{name}, records", float(row["Request Count"]), ""))
        if int(row["Failure Count"]):
            figures.append(Figure(f"{name}, failures", float(row["Failure Count"]), "", 0.0))
    return figures
