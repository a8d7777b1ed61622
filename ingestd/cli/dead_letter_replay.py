"""Sends dead letters to the daemon once more, and notes which of them are dead letters no longer.

A letter is closed once its record was *delivered*, or has failed once more and a new letter of it is in the files. A
replay that is cut between an answer and its note sends those few again. One that gets no answers sends nothing more:
what is under way may still be delivered, and would go again with the next replay.
"""

import argparse
import fcntl
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from ingestd import letters
from ingestd.cli.common import address_argument, error_text, probe
from ingestd.client import KafkaException, Producer, ProducerRecord
from ingestd.client.address import Address
from ingestd.client.errors import ApiException, OutcomeUnknownException, TimeoutException
from ingestd.client.future import Future
from ingestd.client.producer import CLOSE_TIMEOUT_S
from ingestd.errors import ExitStatus, HostError
from ingestd.letters import Letter, Newcomers
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


class Sent(NamedTuple):
    """A letter on its way."""

    day: str
    letter: Letter
    future: Future


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Two replays at once would send the same letters twice. The directory itself is locked: that leaves no file, and
    needs no right to make one.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(f"another replay of {directory} is under way: wait for its end") from None
        yield
    finally:
        os.close(descriptor)


def _content(letter: Letter) -> bytes:
    """What a record that fails once more has in common with its letter."""
    found = blake2b(digest_size=16)
    for part in (letter.topic.encode(), letter.key, letter.value):
        found.update(b"none" if part is None else b"%d:" % len(part))
        found.update(part or b"")
    return found.digest()


def _is_open(future: Future) -> bool:
    """Whether the daemon may have it and has not answered, for a future that has an outcome or whose producer ended."""
    try:
        error = future.exception(0.0)
    except TimeoutException:
        return True
    return isinstance(error, OutcomeUnknownException) and not error.reason


class Replay:
    """One run over the letters of ``directory`` to the daemon at ``address``."""

    def __init__(self, directory: Path, address: Address, *, maybe: bool, keep_partition: bool) -> None:
        self.delivered = 0
        self.failed_again = 0
        self.left = 0
        """Still open: not accepted, or nobody knows."""
        self.under_way = 0
        """Of those: accepted, and not answered until the end; the daemon goes on with them."""
        self.stopped = False
        """Answers did not come in time: nothing more was sent."""
        self.lost_anew = 0
        """Of those: failed once more, and there is no other letter of them."""
        self.passed_over = 0
        """May have been written, and ``maybe`` was not said."""
        self._directory = directory
        self._address = address
        self._maybe = maybe
        self._keep_partition = keep_partition
        self._began_ms = time.time_ns() // 1_000_000
        self._newcomers: Newcomers | None = None
        self._letters_anew: Counter[bytes] = Counter()
        self._unanswered: list[Sent] = []
        self._errors = 0

    def run(self, found: Iterable[tuple[str, Letter]]) -> None:
        """``found``: (day, letter). HostError: no daemon, or it takes nothing; what was answered until then is noted.

        Letters that are written while it runs are about what it has sent itself: they are left for another time.
        """
        probe(self._address)
        with _only_one(self._directory):
            self._newcomers = Newcomers(self._directory, self._began_ms)
            to = Producer(
                self._address, answer="delivered", client_id="ingestd-dead-letter", max_block_ms=SEND_TIMEOUT_MS
            )
            try:
                for batch in self._batches(found):
                    if self._unanswered:
                        self.stopped = bool(batch)
                        break
                    self._round(to, batch)
            except TimeoutException as error:
                raise HostError(f"{self._address}: {error}") from None
            finally:
                # Some answers come while it closes; that others did not is in their futures.
                with suppress(KafkaException):
                    to.close(CLOSE_TIMEOUT_S)
                self._note(self._unanswered, 0.0)
                self.under_way = sum(_is_open(each.future) for each in self._unanswered)

    def _batches(self, found: Iterable[tuple[str, Letter]]) -> Iterator[list[tuple[str, Letter]]]:
        batch: list[tuple[str, Letter]] = []
        for day, letter in found:
            if letter.may_have_been_written and not self._maybe:
                self.passed_over += 1
            elif letter.time_ms < self._began_ms:
                batch.append((day, letter))
            if len(batch) == ROUND_RECORDS:
                yield batch
                batch = []
        yield batch

    def _round(self, to: Producer, batch: list[tuple[str, Letter]]) -> None:
        sent: list[Sent] = []
        for day in dict.fromkeys(day for day, _ in batch):
            self._check_marks(day)
        try:
            for day, letter in batch:
                try:
                    sent.append(Sent(day, letter, to.send(self._record(letter))))
                except TimeoutException:
                    raise
                except KafkaException as error:
                    self._stays(letter.id, error)
        finally:
            self._unanswered = self._note(sent, ANSWER_TIMEOUT_S)

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

    def _note(self, sent: list[Sent], timeout_s: float) -> list[Sent]:
        """Waits for the answers, and writes down what is settled by them before anything more is sent. Returns what has
        no answer yet.
        """
        closed: dict[str, list[str]] = {}
        unanswered: list[Sent] = []
        deadline = time.monotonic() + timeout_s
        for each in sent:
            try:
                error = each.future.exception(timeout=max(deadline - time.monotonic(), 0.0))
            except TimeoutException:
                unanswered.append(each)
                continue
            if self._is_settled(each.letter, error):
                closed.setdefault(each.day, []).append(each.letter.id)
        for day, ids in closed.items():
            try:
                letters.mark_replayed(self._directory, day, ids)
            except OSError as error:
                path = letters.marks_of(self._directory, day)
                text = (
                    f"{counted(len(ids), 'letter')} settled, which cannot be noted in {path}: {error.strerror or error}"
                )
                raise HostError(f"{text}. Mend that first: a further replay sends them again") from None
        return unanswered

    def _is_settled(self, letter: Letter, error: KafkaException | None) -> bool:
        """Whether that letter can be closed: delivered, or there is another one."""
        if error is None:
            self.delivered += 1
            return True
        if not isinstance(error, ApiException) or error.reason not in _LETTERS_ANEW:
            self._stays(letter.id, error)
            return False
        if not self._is_written_anew(letter):
            self.lost_anew += 1
            self._stays(letter.id, error)
            return False
        self.failed_again += 1
        self._tell(letter.id, error)
        return True

    def _is_written_anew(self, letter: Letter) -> bool:
        """Whether the files have a new letter about that record: it stands there before the answer, unless the disk or
        the bounds had no room for it.
        """
        content = _content(letter)
        if not self._letters_anew[content] and self._newcomers is not None:
            with suppress(OSError):
                self._letters_anew.update(_content(new) for new in self._newcomers.take())
        if not self._letters_anew[content]:
            return False
        self._letters_anew[content] -= 1
        return True

    def _stays(self, letter_id: str, error: KafkaException) -> None:
        self.left += 1
        self._tell(letter_id, error)

    def _tell(self, letter_id: str, error: KafkaException) -> None:
        self._errors += 1
        if self._errors <= ERRORS_SHOWN_MAX:
            print(f"ingestd dead-letter: {letter_id}: {error_text(error)}", file=sys.stderr)

    @property
    def has_sums(self) -> bool:
        """Whether there is anything to say of it."""
        return bool(self.delivered or self.failed_again or self.left)

    def end(self) -> int:
        """Says the sums and gives the exit status."""
        print(f"{self.delivered} delivered, {self.failed_again} failed once more (new letters), {self.left} stay open")
        if self.lost_anew:
            print(
                f"{self.lost_anew} of those failed once more, and {self._directory} has no new letter of them: make"
                " room for the daemon's first, and replay from its own state.directory"
            )
        if self.stopped:
            print(f"stopped: answers took longer than {ANSWER_TIMEOUT_S:.0f} s; what was not sent stays open, too")
        if self.under_way:
            print(
                f"{self.under_way} are under way: the daemon may still deliver them, and a further replay sends them"
                " again"
            )
        if self.passed_over:
            print(f"{self.passed_over} may have been written and were passed over: --maybe sends them all the same")
        return ExitStatus.FAILED if self.failed_again or self.left or self.stopped else ExitStatus.DONE
