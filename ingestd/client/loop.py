"""Loop: the producer's own thread. It has the socket and the clock, and moves bytes between it, outbox and session."""

import errno
import select
import socket
import threading
from collections import deque
from time import monotonic, monotonic_ns
from typing import Final

from ingestd.client.address import Address
from ingestd.client.datagrams import DatagramSession
from ingestd.client.encoding import FRAME_ENVELOPE_BYTES, RECORD_ENVELOPE_BYTES
from ingestd.client.errors import (
    KafkaException,
    OutcomeUnknownException,
    RecordTooLargeException,
    TimeoutException,
)
from ingestd.client.frame import FrameError
from ingestd.client.future import Owner, acquire_within, closed_lock
from ingestd.client.outbox import Outbox
from ingestd.client.route import Route
from ingestd.client.session import Session, State
from ingestd.client.wakeup import Wakeup

READ_BYTES: Final = 64 << 10
BUFFERS_PER_WRITE: Final = 64

# How long a closing client waits for CLOSED once everything is answered: the daemon only has to say it.
FAREWELL_MS: Final = 2000

# A send() that is interrupted (KeyboardInterrupt) between taking the record in and waking the thread leaves it asleep.
SLEEP_MS_MAX: Final = 1000

# poll() takes its time as a C int: waits that are longer are waited for in pieces.
POLL_MS_MAX: Final = 86_400_000

# connect() says these of a peer that is not there, not yet there, or has too many callers at the moment.
_PEER_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED, errno.ENOENT})


class Flush:
    """Somebody waits until all that was sent before has its outcome."""

    def __init__(self) -> None:
        self._done = closed_lock()
        self.serial = -1  # of the last frame to wait for; not known before the thread has seen the request
        self.error: KafkaException | None = None

    def finish(self, error: KafkaException | None = None) -> None:
        self.error = error
        self._done.release()

    def wait(self, timeout: float | None) -> bool:
        """Whether it is done within the time, in seconds."""
        return acquire_within(self._done, timeout)


class Loop(threading.Thread):
    """Runs from start() until the producer is closed or nothing can help any more."""

    def __init__(
        self, address: Address, session: Session, outbox_bytes_max: int, batch_bytes: int, linger_ms: int, route: Route
    ) -> None:
        super().__init__(name="ingestd-producer", daemon=True)
        self.owner = Owner()
        self.owner.io_thread = self
        self.outbox = Outbox(outbox_bytes_max, self.owner, self.wake, str(address))
        self._address = address
        self._session = session
        self._route = route
        self._batch_bytes = batch_bytes
        self._frame_records_bytes = batch_bytes  # less, if the daemon's frames are smaller
        self._linger_ms = linger_ms
        self._linger_until_ms = -1
        self._socket: socket.socket | None = None
        self._write_broken = False
        self._requests: deque[Flush] = deque()
        self._flushes: list[Flush] = []
        self._close_at_s: float | None = None
        self._farewell_ms = -1
        self._closing = False
        self._wakeup: Wakeup | None = Wakeup()  # until the thread has ended
        self._poller = select.poll()
        self._poller.register(self._wakeup.descriptor, select.POLLIN)
        self.failure: KafkaException | None = None
        """Why it ended, unless it was closed."""
        self._end_error: KafkaException | None = None  # what whoever asks for a flush at the end, or after it, is told
        self.unanswered = 0
        """How many records had no outcome when it ended."""

    # --- called by other threads

    def wake(self) -> None:
        """Ends the thread's sleep."""
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.wake()

    def flush(self) -> Flush:
        """Asks for a flush; wait on what it returns."""
        request = Flush()
        self._requests.append(request)
        if self._wakeup is None:
            self._finish_requests()  # the thread may have looked before this one came
        self.wake()
        return request

    def close(self, timeout_s: float | None) -> None:
        """Asks for the end: nothing more goes in; what is not answered when the time is over is given up."""
        # Beyond TIMEOUT_MAX, some hundred years, no clock counts; infinity is such a time.
        for_ever = timeout_s is None or not timeout_s < threading.TIMEOUT_MAX
        self._close_at_s = None if timeout_s is None or for_ever else monotonic() + max(timeout_s, 0.0)
        self.outbox.close()
        self._closing = True
        self.wake()

    # --- the thread

    def run(self) -> None:
        try:
            while not self._turn():
                pass
            self.failure = self._session.fatal
        except Exception as crash:  # a mistake of ours must reach the callers, not die with the thread
            self.failure = KafkaException(f"the producer's thread ended: {crash!r}")
            self.failure.__cause__ = crash
        self._end()

    def _turn(self) -> bool:
        """One round; True when the work is over."""
        now_ms = monotonic_ns() // 1_000_000
        self._take_requests()
        if self._socket is None and self._needed() and now_ms >= self._route.due_ms:
            self._connect(now_ms)
        self._fill_and_write(now_ms)
        self._give_back()
        if self._session.fatal is not None or self._finished(now_ms):
            return True
        timeout_ms = self._timeout_ms(now_ms)
        if self._session.wants_records:
            if not self.outbox.sleep(self._batch_bytes if self._linger_until_ms >= 0 else 0):
                timeout_ms = 0  # came in just now, and saw us awake
            elif timeout_ms < 0 or timeout_ms > SLEEP_MS_MAX:
                timeout_ms = SLEEP_MS_MAX
        self._sleep(timeout_ms)
        self.outbox.asleep = False
        return False

    def _sleep(self, timeout_ms: int) -> None:
        if self._socket is not None:
            wanted = select.POLLIN
            if self._session.output_bytes and not self._write_broken:
                wanted |= select.POLLOUT
            self._poller.modify(self._socket, wanted)
        for descriptor, events in self._poller.poll(min(timeout_ms, POLL_MS_MAX) if timeout_ms >= 0 else None):
            if self._wakeup is not None and descriptor == self._wakeup.descriptor:
                self._wakeup.clear()
            elif events & ~select.POLLOUT:
                self._read()

    def _needed(self) -> bool:
        """A connection is of use: always but at the end with nothing left to say."""
        return not (self._closing and self._session.idle and not self.outbox)

    def _timeout_ms(self, now_ms: int) -> int:
        """How long to sleep at most; -1: until something happens."""
        due = []
        if self._socket is None and self._needed():
            due.append(self._route.due_ms)
        if self._linger_until_ms >= 0:
            due.append(self._linger_until_ms)
        if self._farewell_ms >= 0:
            due.append(self._farewell_ms)
        if self._closing and self._close_at_s is not None:
            due.append(int(self._close_at_s * 1000) + 1)
        return max(0, min(due) - now_ms) if due else -1

    # --- connection

    def _connect(self, now_ms: int) -> None:
        try:
            sock, where = self._open_socket(now_ms)
        except OSError as error:
            self.outbox.trouble = str(error)
            self._route.failed(now_ms)
            return
        self._socket = sock
        self._poller.register(sock, select.POLLIN)
        self._write_broken = False
        self._session.connected()
        self.outbox.trouble = f"{where} is connected, but does not answer (is its listener one of frames?)"
        if self._session.state is State.OPEN:
            self._opened()

    def _open_socket(self, now_ms: int) -> tuple[socket.socket, str]:
        target: str | tuple[object, ...]
        if self._address.kind == "udp":
            found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_DGRAM)
            sock = socket.socket(found[0][0], socket.SOCK_DGRAM)
            target, where = found[0][4], str(self._address)
        else:
            stream = self._address.kind == "unix-stream"
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
            target = where = self._route.path(now_ms)
        try:
            sock.setblocking(False)
            sock.connect(target)
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"{where}: {error.strerror}") from None
        return sock, where

    def _opened(self) -> None:
        grant = self._session.grant
        if grant is not None:
            self._route.granted(grant.path)
            room_bytes = grant.frame_bytes_max - FRAME_ENVELOPE_BYTES
            self._frame_records_bytes = min(self._batch_bytes, room_bytes)
            # The daemon's limit is on the record as Kafka encodes it: what is certainly above does not even set out.
            self.outbox.open(min(grant.record_bytes_max + RECORD_ENVELOPE_BYTES, room_bytes))

    def _drop(self, now_ms: int) -> None:
        """The connection is over; what follows from that is the session's and the route's to say."""
        if self._socket is not None:
            self._poller.unregister(self._socket)
            self._socket.close()
            self._socket = None
        redirect = self._session.redirect_path
        trouble = self._session.last_error or "the connection ended"
        self.outbox.trouble = f"{self._address}: {trouble}"
        self._session.last_error = ""
        self._session.disconnected()
        if redirect:
            self._route.redirect(redirect, now_ms)
        else:
            self._route.lost(now_ms)

    # --- in and out

    def _fill_and_write(self, now_ms: int) -> None:
        while True:
            self._fill(now_ms)
            if self._socket is None or not self._session.output_bytes or self._write_broken:
                return
            if not self._write(self._socket):
                return

    def _fill(self, now_ms: int) -> None:
        if not self.outbox:
            self._linger_until_ms = -1
        elif not self._lingers(now_ms):
            while self.outbox and self._session.wants_records:
                self.outbox.urgent = False
                self._add_frame()

    def _add_frame(self) -> None:
        entries = self.outbox.take(self._frame_records_bytes)
        try:
            self._session.add(entries)
        except BaseException:
            self.outbox.put_back(entries)  # the thread ends of this, and fails whatever it still finds there
            raise

    def _lingers(self, now_ms: int) -> bool:
        """Whether what is there waits for more."""
        if self._linger_ms == 0 or self._closing or self.outbox.is_due(self._batch_bytes):
            over = True
        elif self._linger_until_ms < 0:
            self._linger_until_ms = now_ms + self._linger_ms
            over = False
        else:
            over = now_ms >= self._linger_until_ms
        if over:
            self._linger_until_ms = -1
        return not over

    def _write(self, sock: socket.socket) -> bool:
        """Writes what the kernel takes; True if all of it went."""
        buffers = self._session.output(1 if self._datagrams else BUFFERS_PER_WRITE)
        try:
            written = sock.sendmsg(buffers)
        except BlockingIOError:
            return False
        except OSError as error:
            return self._write_failed(error, len(buffers[0]))
        self._session.wrote(written)
        return True

    @property
    def _datagrams(self) -> bool:
        return isinstance(self._session, DatagramSession)

    def _write_failed(self, error: OSError, size_bytes: int) -> bool:
        if isinstance(self._session, DatagramSession):
            if error.errno == errno.EMSGSIZE:
                self._session.refuse(RecordTooLargeException(f"a datagram of {size_bytes} bytes is too large"))
                return True
            if self._address.kind == "udp" and error.errno in _PEER_GONE:
                return True  # speaks of an earlier datagram, which nobody took; this one was not sent yet
        elif error.errno in _PEER_GONE:
            # A daemon that stops reads no more, but still answers: the connection ends where its answers end.
            self._write_broken = True
            return False
        self._session.last_error = error.strerror or str(error)
        self._drop(monotonic_ns() // 1_000_000)
        return False

    def _read(self) -> None:
        sock = self._socket
        if sock is None:
            return
        now_ms = monotonic_ns() // 1_000_000
        try:
            data = sock.recv(READ_BYTES)
            was_open = self._session.state is not State.GREETING
            self._session.receive(data)
        except BlockingIOError:
            return
        except FrameError as error:
            self._session.last_error = f"not understood: {error}"
            self._drop(now_ms)
            return
        except OSError as error:
            if self._address.kind != "udp":
                self._session.last_error = error.strerror or str(error)
                self._drop(now_ms)
            return
        if self._session.progressed:
            self._session.progressed = False
            self._route.progress()
        if self._session.state is State.OPEN and not was_open:
            self._opened()
        if self._session.redirect_path or self._session.last_error or (not data and not self._datagrams):
            self._drop(now_ms)

    def _give_back(self) -> None:
        freed_bytes = self._session.take_freed_bytes()
        if freed_bytes:
            self.outbox.release(freed_bytes, self._session.idle)

    # --- flush and end

    def _take_requests(self) -> None:
        while self._requests:
            request = self._requests.popleft()
            self._flushes.append(request)
            while self.outbox:
                self._add_frame()
            request.serial = self._session.newest_serial
        if self._flushes:
            oldest = self._session.oldest_serial
            done = [request for request in self._flushes if oldest is None or request.serial < oldest]
            self._flushes = [request for request in self._flushes if request not in done]
            for request in done:
                request.finish()

    def _finished(self, now_ms: int) -> bool:
        if self._flushes:
            self._take_requests()
        if not self._closing:
            return False
        if self._close_at_s is not None and monotonic() >= self._close_at_s:
            return True
        if not self._session.idle or self.outbox:
            return False
        if self._session.state is State.OPEN:
            self._session.close()
            self._farewell_ms = now_ms + FAREWELL_MS
            self._fill_and_write(now_ms)
        if self._session.state is State.CLOSING:
            return now_ms >= self._farewell_ms
        return True

    def _end(self) -> None:
        """Whatever happened: every record gets an outcome, and whoever waits is told."""
        try:
            self.outbox.close(self.failure)
            late = OutcomeUnknownException("the producer was closed before an answer came: outcome not known")
            unsent: KafkaException = TimeoutException("the producer was closed before this record was sent")
            begun, unsent = self.failure or late, self.failure or unsent
            self.unanswered = self._session.abandon(begun, unsent) + self._abandon_unsent(unsent)
            if self._socket is not None:
                self._socket.close()
        finally:
            self._end_error = self.failure
            if self.failure is None and self.unanswered:
                self._end_error = OutcomeUnknownException("the producer was closed before everything was answered")
            self._wakeup = None  # who asks for a flush from here on looks after it
            self._requests.extendleft(self._flushes)
            self._finish_requests()

    def _abandon_unsent(self, error: KafkaException) -> int:
        count = 0
        while self.outbox:
            entries = self.outbox.take(self._frame_records_bytes)
            for _, future in entries:
                future.fail(error)
            count += len(entries)
        return count

    def _finish_requests(self) -> None:
        """Each is taken by one thread, whoever else is at it."""
        while True:
            try:
                request = self._requests.popleft()
            except IndexError:
                return
            request.finish(self._end_error)
