"""``ingestd top``: what the daemon is doing now, again and again, with rates per second. Ctrl-C ends it."""

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from ingestd import scoreboard
from ingestd.admin import tables
from ingestd.admin.status import Status, read_status
from ingestd.admin.text import bytes_text, duration_text, table
from ingestd.cli.common import add_configuration, configuration_files
from ingestd.config import reader
from ingestd.errors import ExitStatus
from ingestd.figures import TopicWord
from ingestd.metrics import Ledger

CLEAR: Final = "\x1b[H\x1b[2J"
INTERVAL_SECONDS: Final = 2.0
_RATES: Final = (Ledger.RECEIVED, Ledger.ACCEPTED, Ledger.DELIVERED, Ledger.DELIVERED_BYTES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration(parser)
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=INTERVAL_SECONDS,
        metavar="SECONDS",
        help=f"between two looks (default: {INTERVAL_SECONDS:g})",
    )
    parser.add_argument("--count", type=_count, default=0, metavar="N", help="end after so many views (default: never)")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("from 0.1 to 3600")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("from 1 on")
    return count


def execute(arguments: argparse.Namespace) -> int:
    """Shows views until interrupted, on a terminal one in the place of the other.

    HostDaemonAbsentError (75) when nobody runs, or nobody any more.
    """
    path = Path(reader.load_daemon(configuration_files(arguments)).state_directory) / scoreboard.FILE_NAME
    before, shown = read_status(path), 0
    before_ms = _tick_ms()
    with suppress(KeyboardInterrupt):
        while not arguments.count or shown < arguments.count:
            time.sleep(arguments.interval)
            after, after_ms = read_status(path), _tick_ms()
            text = as_text(before, after, (after_ms - before_ms) / 1000, time.time_ns() // 1_000_000, after_ms)
            print(f"{CLEAR}{text}" if sys.stdout.isatty() else f"{text}\n", flush=True)
            before, before_ms, shown = after, after_ms, shown + 1
    return ExitStatus.DONE


def _tick_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def as_text(before: Status, after: Status, seconds: float, now_ms: int, tick_ms: int) -> str:
    """One view: ``seconds`` lie between the two looks."""
    complaints = after.complaints(tick_ms)
    parts = [
        tables.title(after, now_ms),
        "\n".join(tables.troubles(after, tick_ms)),
        table(_workers(before, after, seconds)),
        table(_topics(before, after, seconds, now_ms)),
        "\n".join(f"  {line}" for line in tables.remarks(after)),
        "\n".join(f"degraded: {complaint}" for complaint in complaints) or "well",
    ]
    return "\n\n".join(part for part in parts if part)


def _workers(before: Status, after: Status, seconds: float) -> tables.Rows:
    rows: tables.Rows = [("worker", "received/s", "accepted/s", "delivered/s", "bytes/s", "buffered", "arena")]
    for index, worker in enumerate(after.workers):
        earlier = before.workers[index].published.ledger if index < len(before.workers) else ()
        rates = [_rate(earlier, worker.published.ledger, word, seconds) for word in _RATES]
        rows.append(
            (
                str(index),
                *(str(rate) for rate in rates[:-1]),
                bytes_text(rates[-1]),
                str(worker.published.buffered_records),
                f"{worker.arena_level:.0%}",
            )
        )
    return rows


def _topics(before: Status, after: Status, seconds: float, now_ms: int) -> tables.Rows:
    rows: tables.Rows = [("topic", "sent/s", "delivered/s", "failed/s", "retried/s", "waiting", "oldest")]
    words = (
        TopicWord.RECORDS_SENT,
        TopicWord.RECORDS_DELIVERED,
        TopicWord.RECORDS_FAILED,
        TopicWord.RECORDS_RETRIED,
    )
    for name in after.topics:
        found = after.topic(name)
        if not any(found):
            continue
        earlier = before.topic(name) if name in before.topics else ()
        oldest_ms = found[TopicWord.OLDEST_CREATED_MS]
        rows.append(
            (
                name,
                *(str(_rate(earlier, found, word, seconds)) for word in words),
                bytes_text(found[TopicWord.BYTES_WAITING]),
                duration_text(now_ms - oldest_ms) if oldest_ms else "-",
            )
        )
    return rows


def _rate(before: tuple[int, ...], after: tuple[int, ...], word: int, seconds: float) -> int:
    """Per second; a daemon started anew in between began at 0."""
    earlier = before[word] if before else 0
    grown = after[word] - earlier if after[word] >= earlier else after[word]
    return round(grown / seconds) if seconds > 0 else 0
