"""Sends dead letters to the daemon once more, and notes which of them are dead letters no longer.

A letter is closed once its record was *delivered*, or has failed once more: then the daemon has written a letter of
its own about it. A replay that is cut between an answer and its note sends those few again; that is said.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ingestd import letters
from ingestd.cli.common import address_argument, error_text, probe
from ingestd.client import KafkaException, Producer, ProducerRecord
from ingestd.client.address import Address
from ingestd.client.errors import ApiException, TimeoutException
from ingestd.client.future import Future
from ingestd.errors import ExitStatus, HostError
from ingestd.letters import Letter
from ingestd.log import counted
from ingestd.metrics import Failed

ERRORS_SHOWN_MAX: Final = 20
ROUND_RECORDS: Final = 500
"""Sent, then waited for, then noted: so many a death of the replay may send again."""
ANSWER_TIMEOUT_S: Final = 120.0
SEND_TIMEOUT_MS: Final = 10_000

_LETTERS_ANEW: Final = frozenset(reason.name.lower() for reason in Failed)


def answering_argument(text: str) -> Address:
    """For argparse: an address at which records are answered."""
    address = address_argument(text)
    if address.kind != "unix-stream":
        raise argparse.ArgumentTypeError(f"{text}: only a unix-stream address answers what became of a record")
    return address


class Replay:
    """One run over the letters of ``directory`` to the daemon at ``address``."""

    def __init__(self, directory: Path, address: Address, *, maybe: bool, keep_partition: bool) -> None:
        self.delivered = 0
        self.failed_again = 0
        self.left = 0
        """Still open: not accepted, or nobody knows."""
        self.passed_over = 0
        """May have been written, and ``maybe`` was not said."""
        self._directory = directory
        self._address = address
        self._maybe = maybe
        self._keep_partition = keep_partition
        self._began_ms = time.time_ns() // 1_000_000
        self._errors = 0

    def run(self, found: Iterable[tuple[str, Letter]]) -> None:
        """``found``: (day, letter). HostError: no daemon, or it does not answer; what was answered until then is noted.

        Letters that are written while it runs are about what it has sent itself: they are left for another time.
        """
        probe(self._address)
        try:
            with Producer(
                self._address, answer="delivered", client_id="ingestd-dead-letter", max_block_ms=SEND_TIMEOUT_MS
            ) as to:
                batch: list[tuple[str, Letter]] = []
                for day, letter in found:
                    if letter.may_have_been_written and not self._maybe:
                        self.passed_over += 1
                    elif letter.time_ms < self._began_ms:
                        batch.append((day, letter))
                    if len(batch) == ROUND_RECORDS:
                        self._round(to, batch)
                        batch = []
                self._round(to, batch)
        except TimeoutException as error:
            raise HostError(f"{self._address}: {error}") from None

    def _round(self, to: Producer, batch: list[tuple[str, Letter]]) -> None:
        sent: list[tuple[str, str, Future]] = []
        for day in dict.fromkeys(day for day, _ in batch):
            self._check_marks(day)
        try:
            for day, letter in batch:
                try:
                    sent.append((day, letter.id, to.send(self._record(letter))))
                except TimeoutException:
                    raise
                except KafkaException as error:
                    self._stays(letter.id, error)
        finally:
            self._note(sent)

    def _check_marks(self, day: str) -> None:
        """What cannot be noted as delivered is not sent: it would be sent again by the next replay."""
        try:
            letters.check_marks(self._directory, day)
        except OSError as error:
            path = letters.marks_of(self._directory, day)
            cure = "run the replay as the daemon's user" if isinstance(error, PermissionError) else "mend that first"
            raise HostError(f"cannot write {path}: {error.strerror}: nothing of that day was sent; {cure}") from None

    def _record(self, letter: Letter) -> ProducerRecord:
        return ProducerRecord(
            letter.topic,
            letter.value,
            letter.key,
            partition=letter.partition if self._keep_partition else None,
            timestamp_ms=letter.timestamp_ms,
            headers=letter.headers,
        )

    def _note(self, sent: list[tuple[str, str, Future]]) -> None:
        """Waits for the answers, and writes down what is settled by them before anything more is sent."""
        closed: dict[str, list[str]] = {}
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        for day, letter_id, future in sent:
            try:
                future.result(timeout=max(deadline - time.monotonic(), 0.0))
                self.delivered += 1
            except KafkaException as error:
                if not isinstance(error, ApiException) or error.reason not in _LETTERS_ANEW:
                    self._stays(letter_id, error)
                    continue
                self.failed_again += 1
                self._tell(letter_id, error)
            closed.setdefault(day, []).append(letter_id)
        for day, ids in closed.items():
            try:
                letters.mark_replayed(self._directory, day, ids)
            except OSError as error:
                path = letters.marks_of(self._directory, day)
                text = (
                    f"{counted(len(ids), 'letter')} settled, which cannot be noted in {path}: {error.strerror or error}"
                )
                raise HostError(f"{text}. Mend that first: a further replay sends them again") from None

    def _stays(self, letter_id: str, error: KafkaException) -> None:
        self.left += 1
        self._tell(letter_id, error)

    def _tell(self, letter_id: str, error: KafkaException) -> None:
        self._errors += 1
        if self._errors <= ERRORS_SHOWN_MAX:
            print(f"ingestd dead-letter: {letter_id}: {error_text(error)}", file=sys.stderr)

    def end(self) -> int:
        """Says the sums and gives the exit status."""
        print(f"{self.delivered} delivered, {self.failed_again} failed once more (new letters), {self.left} stay open")
        if self.passed_over:
            print(f"{self.passed_over} may have been written and were passed over: --maybe sends them all the same")
        return ExitStatus.FAILED if self.failed_again or self.left else ExitStatus.DONE
