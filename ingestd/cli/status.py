"""``ingestd status``: what the daemon is doing now, from its scoreboard.

Exit status: 0 well, 1 degraded, 75 not running.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingestd import scoreboard
from ingestd.admin import tables
from ingestd.admin.status import Status, WorkerStatus, read_status
from ingestd.admin.text import table
from ingestd.cli.common import add_configuration, configuration_files
from ingestd.config import arena_files, reader
from ingestd.config.checks import notes
from ingestd.config.model import Config
from ingestd.errors import ConfigurationError, ExitStatus
from ingestd.figures import Count, Gauge, TopicWord, Trouble
from ingestd.limits import PAGE_BYTES
from ingestd.metrics import Balance, Counted, Dropped, Failed, Ledger, Reason, Rejected, name_of, reasons_counted
from ingestd.scoreboard import Word, WorkerState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the status; HostDaemonAbsentError (75) when nobody runs."""
    files = configuration_files(arguments)
    loaded: Config | None = None
    try:
        loaded = reader.load(files).config
        daemon = loaded.daemon
    except ConfigurationError:
        # Whoever asks may not be allowed to read the secrets, and the file may have changed since the daemon started.
        daemon = reader.load_daemon(files)
    status = read_status(Path(daemon.state_directory) / scoreboard.FILE_NAME)
    now_ms, tick_ms = time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000
    complaints = status.complaints(tick_ms)
    set_aside = arena_files.in_no_books(Path(daemon.arena_directory))
    if arguments.json:
        print(json.dumps(as_json(status, complaints, tick_ms, set_aside), indent=2))
    else:
        print(as_text(status, complaints, loaded, now_ms, tick_ms, set_aside))
    return ExitStatus.FAILED if complaints else ExitStatus.DONE


def as_json(status: Status, complaints: list[str], tick_ms: int, set_aside: Sequence[str] = ()) -> dict[str, Any]:
    """The status for programs; names are those of ``ingestd.metrics`` and ``ingestd.scoreboard``."""
    return {
        "status": "degraded" if complaints else "well",
        "complaints": complaints,
        "supervisor_pid": status.header.supervisor_pid,
        "started_ms": status.header.started_ms,
        "stopping": status.header.stopping,
        "ledger": _ledger_json(status.ledger, status.balance),
        "workers": [_worker_json(worker, tick_ms) for worker in status.workers],
        "producer": {count.name.lower(): status.count(count) for count in Count},
        "errors": status.errors,
        "set_aside": list(set_aside),
        "topics": {name: _topic_json(status, name) for name in status.topics if any(status.topic(name))},
        "admin": _admin_json(status),
    }


def _topic_json(status: Status, name: str) -> dict[str, int]:
    words = status.topic(name)
    return {word.name.lower(): words[word] for word in TopicWord}


def _admin_json(status: Status) -> dict[str, Any] | None:
    """None: no admin process is asked for."""
    if status.admin.state is WorkerState.ABSENT:
        return None
    words = status.admin.words
    return {"state": status.admin.state.name.lower(), "pid": words[Word.PID], "restarts": words[Word.RESTARTS]}


def _worker_json(worker: WorkerStatus, tick_ms: int) -> dict[str, Any]:
    published = worker.published
    heartbeat = worker.words[Word.HEARTBEAT_TICK_MS]
    return {
        "index": worker.index,
        "state": worker.state.name.lower(),
        "pressure": worker.pressure.name.lower(),
        "pid": worker.words[Word.PID],
        "heartbeat_age_ms": max(0, tick_ms - heartbeat) if heartbeat else None,
        "started_ms": worker.words[Word.STARTED_MS],
        "restarts": worker.words[Word.RESTARTS],
        "last_exit_status": worker.last_exit_status,
        "rss_bytes": worker.words[Word.RSS_BYTES],
        "connections": worker.words[Word.CONNECTIONS],
        "sessions": worker.words[Word.SESSIONS],
        "brokers_connected": worker.words[Word.BROKERS_CONNECTED],
        "brokers_unreachable": worker.figures.gauges[Gauge.BROKERS_UNREACHABLE],
        "troubles": [_trouble_json(trouble, tick_ms) for trouble in worker.figures.troubles],
        "listener_errors": worker.words[Word.LISTENER_ERRORS],
        "batches": {
            "open": published.open_batches,
            "sealed": published.sealed_batches,
            "stamped": published.stamped_batches,
            "in_doubt": published.in_doubt_batches,
        },
        "oldest_created_ms": published.oldest_created_ms or None,
        "arena": {
            "bytes": published.total_pages * PAGE_BYTES,
            "free_bytes": published.free_pages * PAGE_BYTES,
            "level": round(worker.arena_level, 4),
            "drain_only_arenas": published.drain_only_arenas,
            "drain_only_bytes": published.drain_only_pages * PAGE_BYTES,
        },
        "consistent": published.consistent,
        "ledger": _ledger_json(published.ledger, worker.balance),
    }


def _trouble_json(trouble: Trouble, tick_ms: int) -> dict[str, Any]:
    return {
        "broker": trouble.address,
        "reason": trouble.reason,
        "age_ms": max(0, tick_ms - trouble.since_tick_ms),
        "tried_age_ms": max(0, tick_ms - trouble.tried_tick_ms),
    }


def _ledger_json(words: tuple[int, ...], books: Balance) -> dict[str, Any]:
    counted = reasons_counted(words)
    return {
        **{word.name.lower(): words[word] for word in Ledger},
        "buffered": books.buffered,
        "rejected": _reasons_json(counted, Rejected),
        "failed": _reasons_json(counted, Failed),
        "dropped": _reasons_json(counted, Dropped),
        "intake_residual": books.intake_residual,
        "delivery_residual": books.delivery_residual,
        "balanced": books.balanced,
    }


def _reasons_json(counted: list[Counted], kind: type[Reason]) -> dict[str, int]:
    return {name_of(reason): count for reason, _, count in counted if isinstance(reason, kind)}


def as_text(
    status: Status,
    complaints: list[str],
    loaded: Config | None,
    now_ms: int,
    tick_ms: int,
    set_aside: Sequence[str] = (),
) -> str:
    """The status for people; ``loaded`` None: of the configuration only [daemon] is known."""
    workers = "\n".join([table(tables.workers(status, tick_ms)), *tables.drains(status)])
    parts = [tables.title(status, now_ms), workers, table(tables.books(status))]
    if troubles := tables.troubles(status, tick_ms):
        parts.insert(1, "\n".join(troubles))
    topics = tables.topics(status, now_ms)
    if len(topics) > 1:
        parts.append(table(topics))
    if remarks := tables.remarks(status):
        parts.append("\n".join(f"  {line}" for line in remarks))
    if loaded is None:
        parts.append("note: the configuration cannot be read in full here; `ingestd check` lists why")
    elif loaded.producer.acks != -1:
        parts += [f"note: {note}" for note in notes(loaded)[:1]]
    if set_aside:
        parts.append(f"note: arenas that were set aside and are in no books (docs/errors.md): {', '.join(set_aside)}")
    parts.append("\n".join(f"degraded: {complaint}" for complaint in complaints) or "well")
    return "\n\n".join(parts)
