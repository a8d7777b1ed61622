"""What finally fails is kept: the records of a batch as lines of the day's file (``ingestd.letters``).

Written before the batch leaves the arena, so that a crash repeats lines but loses none. A file that cannot be written
does not hold the batch back (it would hold its partition for ever): that is a loss, counted and logged.
"""

import json
import os
import socket
from base64 import b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ingestd import letters
from ingestd.kafka.errors import error_of
from ingestd.letters import Bounds, FullError
from ingestd.log import counted
from ingestd.producer.common import log

_KINDS: Final = {1: "connection", 2: "session", 3: "datagram path", 4: "udp", 5: "udp"}
_FAMILIES: Final = {4: socket.AF_INET, 5: socket.AF_INET6}
_TOKEN_BYTES: Final = 6
UNBOUNDED: Final = Bounds(1 << 62, 36_500)


class Letter(NamedTuple):
    """Why records failed. ``code`` 0: no answer of Kafka was involved."""

    topic: str
    partition: int
    reason: str
    code: int
    may_have_been_written: bool
    created_ms: int
    first_send_ms: int
    attempts: int


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode("ascii")


def sender_of(kind: int, sender: bytes | int) -> str:
    """A record's sender as people read it: ``udp 10.0.0.7:40112``, ``session 12``."""
    name = _KINDS.get(kind, f"kind {kind}")
    if isinstance(sender, bytes):
        host = socket.inet_ntop(_FAMILIES[kind], sender[:-2])
        port = int.from_bytes(sender[-2:], "little")
        return f"{name} [{host}]:{port}" if kind == 5 else f"{name} {host}:{port}"
    return name if kind == 3 else f"{name} {sender}"


class DeadLetters:
    """``listeners``: their names by index. ``directory`` None: nothing is kept (a producer used as a library)."""

    def __init__(self, directory: Path | None, listeners: Sequence[str], bounds: Bounds = UNBOUNDED) -> None:
        self._directory = directory
        self._listeners = listeners
        self._bounds = bounds
        self.written = 0
        self.lost = 0

    def write(self, letter: Letter, records: Iterable[Any], texts: dict[int, str], text: str, now_ms: int) -> None:
        """Keeps ``records`` (``hotpath.snapshots.Record``). ``texts``: what the broker said of single ones."""
        if self._directory is None:
            return
        common = {
            "time_ms": now_ms,
            "topic": letter.topic,
            "partition": letter.partition,
            "reason": letter.reason,
            "kafka_error": error_of(letter.code).name if letter.code else "",
            "may_have_been_written": letter.may_have_been_written,
            "accepted_ms": letter.created_ms,
            "first_send_ms": letter.first_send_ms,
            "attempts": letter.attempts,
        }
        token = os.urandom(_TOKEN_BYTES).hex()
        lines = [self._line(token, common, record, texts.get(record.index, text)) for record in records]
        try:
            letters.append(self._directory, "".join(lines).encode("ascii"), self._bounds, now_ms)
        except (OSError, FullError) as error:
            self.lost += len(lines)
            what = counted(len(lines), "dead letter")
            log.error("%s of %s lost, could not be written: %s", what, letter.topic, error)
            return
        self.written += len(lines)

    def _line(self, token: str, common: dict[str, Any], record: Any, text: str) -> str:
        listener = self._listeners[record.listener] if record.listener < len(self._listeners) else str(record.listener)
        entry = {
            "id": f"{token}-{record.index}",
            **common,
            "text": text,
            "timestamp_ms": record.timestamp_ms,
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [[name.decode("utf-8", "replace"), _text(value)] for name, value in record.headers],
            "listener": listener,
            "sender": sender_of(record.kind, record.sender),
            "sequence": record.sequence,
        }
        return json.dumps(entry) + "\n"
