"""What people see of a status, as rows of text: for ``ingestd status`` and for the page. The first row is the head."""

from typing import Final

from ingestd.admin.status import Status, quantile
from ingestd.admin.text import bytes_text, duration_text
from ingestd.figures import Count, Gauge, Histogram, TopicWord, Trouble
from ingestd.limits import PAGE_BYTES
from ingestd.log import counted
from ingestd.metrics import Ledger, name_of, reasons_counted
from ingestd.scoreboard import Pressure, Word, WorkerState

Rows = list[tuple[str, ...]]

TRIED_LATELY_MS: Final = 10_000
"""A broker that was tried within this time is being tried: it is not said when."""

_LEDGER_LINES: Final = (
    Ledger.REPEATED,
    Ledger.POSSIBLE_DUPLICATES,
    Ledger.KERNEL_DROPPED,
    Ledger.DELIVERED_UNCONFIRMED_OFFSETS,
    Ledger.TIMESTAMPS_REPLACED,
)
_COUNT_LINES: Final = (
    Count.DATA_LOSS_SUSPECTED,
    Count.EPOCH_BUMPS,
    Count.DEAD_LETTERS_WRITTEN,
    Count.DEAD_LETTERS_LOST,
    Count.RECOVERED_IN_DOUBT,
    Count.THROTTLES,
)


def title(status: Status, now_ms: int) -> str:
    """Which daemon this is, in a sentence without its full stop."""
    header = status.header
    running = duration_text(now_ms - header.started_ms)
    workers = counted(header.workers, "worker")
    return f"ingestd (process {header.supervisor_pid}) has been running for {running} with {workers}"


def workers(status: Status, tick_ms: int) -> Rows:
    rows: Rows = [
        (
            "worker",
            "state",
            "pid",
            "beat",
            "restarts",
            "conns",
            "sessions",
            "brokers",
            "batches",
            "in doubt",
            "arena",
            "rss",
        )
    ]
    for worker in status.workers:
        words, published = worker.words, worker.published
        batches = published.open_batches + published.sealed_batches + published.stamped_batches
        age_ms = tick_ms - words[Word.HEARTBEAT_TICK_MS]
        pressed = worker.state is WorkerState.READY and worker.pressure is not Pressure.RUN
        rows.append(
            (
                str(worker.index),
                worker.pressure.name.lower() if pressed else worker.state.name.lower(),
                str(words[Word.PID]),
                duration_text(age_ms) if words[Word.HEARTBEAT_TICK_MS] else "-",
                str(words[Word.RESTARTS]),
                str(words[Word.CONNECTIONS]),
                str(words[Word.SESSIONS]),
                str(words[Word.BROKERS_CONNECTED]),
                str(batches),
                str(published.in_doubt_batches),
                f"{worker.arena_level:.0%} of {bytes_text(published.total_pages * PAGE_BYTES)}",
                bytes_text(words[Word.RSS_BYTES]),
            )
        )
    return rows


def books(status: Status) -> Rows:
    rows: Rows = [
        ("books", "received", "accepted", "rejected", "delivered", "failed", "dropped", "buffered", "residual")
    ]
    named = [(str(worker.index), worker.balance) for worker in status.workers]
    for name, balance in (*named, ("total", status.balance)):
        residual = f"{balance.intake_residual}/{balance.delivery_residual}"
        rows.append((name, *(str(figure) for figure in balance), residual))
    return rows


def topics(status: Status, now_ms: int) -> Rows:
    """Topics that anything was sent to, or that wait."""
    rows: Rows = [("topic", "delivered", "failed", "retried", "waiting", "oldest")]
    for name in status.topics:
        words = status.topic(name)
        if any(words):
            oldest_ms = words[TopicWord.OLDEST_CREATED_MS]
            rows.append(
                (
                    name,
                    str(words[TopicWord.RECORDS_DELIVERED]),
                    str(words[TopicWord.RECORDS_FAILED]),
                    str(words[TopicWord.RECORDS_RETRIED]),
                    bytes_text(words[TopicWord.BYTES_WAITING]),
                    duration_text(now_ms - oldest_ms) if oldest_ms else "-",
                )
            )
    return rows


def drains(status: Status) -> list[str]:
    """Workers that empty older arenas."""
    return [
        f"worker {worker.index} drains {counted(worker.published.drain_only_arenas, 'older arena')}"
        f" ({bytes_text(worker.published.drain_only_pages * PAGE_BYTES)})"
        for worker in status.workers
        if worker.published.drain_only_arenas
    ]


def troubles(status: Status, tick_ms: int) -> list[str]:
    """Brokers that workers cannot get to, each with why and since when. What several workers meet is one line."""
    met: dict[tuple[str, str], list[tuple[int, Trouble]]] = {}
    for worker in status.workers:
        for trouble in worker.figures.troubles:
            met.setdefault((trouble.address, trouble.reason), []).append((worker.index, trouble))
    lines = []
    for (address, reason), found in met.items():
        who = dict.fromkeys(str(index) for index, _ in found)
        told = f"worker{'s' if len(who) > 1 else ''} {', '.join(who)}"
        age_ms = tick_ms - min(trouble.since_tick_ms for _, trouble in found)
        tried_ms = tick_ms - max(trouble.tried_tick_ms for _, trouble in found)
        tried = f", last tried {duration_text(tried_ms)} ago" if tried_ms > TRIED_LATELY_MS else ""
        lines.append(f"no way to {address} for {duration_text(age_ms)} ({told}{tried}): {reason}")
    for worker in status.workers:
        more = worker.figures.gauges[Gauge.BROKERS_UNREACHABLE] - len(worker.figures.troubles)
        if more > 0:
            lines.append(f"no way to {counted(more, 'other broker')} (worker {worker.index})")
    return lines


def remarks(status: Status) -> list[str]:
    """What has happened besides, since the books began (reasons) or since the daemon started (the producer's)."""
    ledger = status.ledger
    lines = [
        f"{type(reason).__name__.lower()} {name_of(reason)}: {count} ({text})"
        for reason, text, count in reasons_counted(ledger)
    ]
    lines += [f"{_words(word.name)}: {ledger[word]}" for word in _LEDGER_LINES if ledger[word]]
    lines += [f"{_words(count.name)}: {status.count(count)}" for count in _COUNT_LINES if status.count(count)]
    if status.errors:
        lines.append("errors met: " + ", ".join(f"{name} {count}" for name, count in status.errors.items()))
    if status.admin.state is not WorkerState.ABSENT:
        words = status.admin.words
        lines.append(
            f"admin process: {status.admin.state.name.lower()}, pid {words[Word.PID]}, restarts {words[Word.RESTARTS]}"
        )
    buckets = status.histogram(Histogram.ACCEPT_TO_DELIVERED)
    half_ms, most_ms = (quantile(buckets, Histogram.ACCEPT_TO_DELIVERED, share) for share in (0.5, 0.99))
    if half_ms is not None and most_ms is not None:
        lines.append(f"accepted to delivered: half within {_within(half_ms)}, 99 % within {_within(most_ms)}")
    return lines


def _within(duration_ms: float) -> str:
    return f"{duration_ms} ms" if duration_ms < 10_000 else duration_text(int(duration_ms))


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
