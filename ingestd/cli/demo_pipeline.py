"""The demo's pipeline: ships over every way in, waits for Kafka, reads back, compares, tabulates."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ingestd.cli.demo_cluster import BROKERS, PARTITIONS, MockCluster, ReadBack, value_of
from ingestd.cli.demo_daemon import WORKERS, DemoDaemon
from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata
from ingestd.errors import ClusterError, ExitStatus

KEYS: Final = 64
LINES_PER_DATAGRAM: Final = 10
AHEAD_MAX: Final = 32 * LINES_PER_DATAGRAM
"""UDP records that may be under way: what the kernel's default queue (208 KiB, bookkeeping included) surely holds."""
_LOST_SECONDS: Final = 10.0
_PROGRESS_STEP: Final = 1_000


@dataclass
class Way:
    """One way in: its listener, topic, how it ships record by record, and what was measured."""

    label: str
    title: str
    listener: str
    topic: str
    count: int
    ship: "Callable[[DemoDaemon, Way], Iterator[int]]"
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def message(self, index: int) -> bytes:
        return value_of(self.topic, index)


def ways(records: int) -> list[Way]:
    """Most of the records over the stream, a fifth each over the datagram sockets."""
    fifth = records // 5
    return [
        Way("stream", "Unix stream: frames, answered", "app", "orders", records - 2 * fifth, ship_frames),
        Way("datagram", "Unix datagram: raw", "log", "logs", fifth, ship_datagrams),
        Way("UDP", "UDP: lines", "devices", "readings", fifth, ship_lines),
    ]


def run(folder: Path, records: int) -> int:
    """Runs the demo below ``folder``; the exit status."""
    console = Console()
    plan = ways(records)
    cluster = MockCluster()
    cluster.create(way.topic for way in plan)
    console.print(f"mock cluster: {BROKERS} brokers, {len(plan)} topics of {PARTITIONS} partitions")
    with DemoDaemon(folder, cluster.bootstrap_servers, _free_udp_port()) as daemon:
        console.print(f"ingestd: {WORKERS} workers, three listeners")
        reader = ReadBack(cluster.bootstrap_servers, {way.topic: way.count for way in plan})
        try:
            with _progress(console) as progress:
                for way in plan:
                    _ship(daemon, way, progress)
                books = daemon.await_settled(sum(way.count for way in plan))
                _read_back(reader, sum(way.count for way in plan), progress)
        finally:
            reader.close()
        dropped, losses = daemon.kernel_dropped(), daemon.losses()
        stopped = daemon.stop()
    console.print(_table(plan, reader))
    complaints = _complaints(plan, reader)
    if dropped:
        complaints.append(f"the kernel dropped {dropped} datagrams")
    complaints.extend(f"not delivered: {loss}" for loss in losses)
    if not books.balanced:
        complaints.append(f"the books do not balance: {books}")
    if stopped != 0:
        complaints.append(f"the daemon ended with {stopped}")
    for complaint in complaints:
        print(f"ingestd demo: {complaint}", file=sys.stderr)
    if not complaints:
        console.print(f"sent = delivered = {books.delivered}, once, in order per key; the books balance")
    return ExitStatus.FAILED if complaints else ExitStatus.DONE


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _ship(daemon: DemoDaemon, way: Way, progress: Progress) -> None:
    """Ships one way and waits until it has arrived in Kafka, so that time and CPU are its own."""
    task = progress.add_task(way.title, total=way.count)
    before = daemon.status().balance.delivered
    cpu_before, started = daemon.cpu_seconds(), time.monotonic()
    shown = 0
    for sent in way.ship(daemon, way):
        if sent - shown >= _PROGRESS_STEP:
            progress.update(task, completed=sent)
            shown = sent
    daemon.await_settled(before + way.count)
    way.seconds = time.monotonic() - started
    way.cpu_seconds = daemon.cpu_seconds() - cpu_before
    progress.update(task, completed=way.count)


def ship_frames(daemon: DemoDaemon, way: Way) -> Iterator[int]:
    """The client library; every record is answered with its partition and offset."""
    failures: list[KafkaException] = []

    def answered(_metadata: RecordMetadata | None, error: KafkaException | None) -> None:
        if error is not None:
            failures.append(error)

    try:
        with Producer(daemon.addresses[way.listener], answer="delivered", client_id="demo") as producer:
            for index in range(way.count):
                record = ProducerRecord(way.topic, way.message(index), b"customer-%d" % (index % KEYS))
                producer.send(record, callback=answered)
                yield index + 1
    except KafkaException as error:
        daemon.tell_log()
        raise ClusterError(f"{way.title}: {error}") from None
    if failures:
        raise ClusterError(f"{len(failures)} records were refused, the first one: {failures[0]}")


def ship_datagrams(daemon: DemoDaemon, way: Way) -> Iterator[int]:
    """One record a datagram; the kernel makes us wait while the socket's queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(daemon.addresses[way.listener].partition(":")[2])
        for index in range(way.count):
            sender.send(way.message(index))
            yield index + 1


def ship_lines(daemon: DemoDaemon, way: Way) -> Iterator[int]:
    """Several lines a datagram, the key in front; never more under way than the kernel's queue holds."""
    _, host, port = daemon.addresses[way.listener].split(":")
    base, taken = daemon.received(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((host, int(port)))
        for start in range(0, way.count, LINES_PER_DATAGRAM):
            indexes = range(start, min(start + LINES_PER_DATAGRAM, way.count))
            waited = time.monotonic()
            while start - taken > AHEAD_MAX:
                time.sleep(0.0002)
                taken = daemon.received() - base
                if time.monotonic() - waited > _LOST_SECONDS:
                    # Those have been dropped; the end of the demo will tell. The next ones are held to the same bound.
                    base -= start - taken
                    taken = start
            sender.send(b"".join(b"device-%d\t%s\n" % (index % KEYS, way.message(index)) for index in indexes))
            yield indexes.stop


def _read_back(reader: ReadBack, count: int, progress: Progress) -> None:
    task = progress.add_task("reading back and comparing", total=count)
    done = 0
    while done < count:
        taken = reader.read_some()
        if taken < 0:
            return
        done += taken
        progress.update(task, completed=done)
    # A moment more: a record too many would come now.
    reader.read_some()


def _table(plan: list[Way], reader: ReadBack) -> Table:
    title = "sent, and delivered as an independent client read it back"
    table = Table(title=title, box=None, padding=(0, 1, 0, 0))
    table.add_column("way in", no_wrap=True)
    table.add_column("topic", no_wrap=True)
    numbers = [f"p{number}" for number in range(PARTITIONS)]
    for heading in ("sent", "delivered", *numbers, "records/s", "CPU-s/M"):
        table.add_column(heading, justify="right", no_wrap=True)
    for way in plan:
        arrived = reader.arrived[way.topic]
        table.add_row(
            way.label,
            way.topic,
            str(way.count),
            str(arrived.total),
            *map(str, arrived.per_partition),
            f"{way.count / way.seconds:,.0f}",
            f"{way.cpu_seconds / way.count * 1e6:.2f}",
        )
    return table


def _complaints(plan: list[Way], reader: ReadBack) -> list[str]:
    found = []
    for way in plan:
        arrived = reader.arrived[way.topic]
        if not arrived.exact:
            found.append(
                f"{way.topic}: {arrived.missing} missing, {arrived.doubled} twice, {arrived.foreign} changed,"
                f" {arrived.disordered} out of order"
            )
    return found
