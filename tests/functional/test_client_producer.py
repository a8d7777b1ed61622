"""The client against a scripted daemon: the three ways to send, answers, errors, threads, datagrams."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata
from ingestd.client.encoding import decode_records
from ingestd.client.errors import (
    BufferExhaustedException,
    ConfigException,
    IllegalStateException,
    InvalidRecordException,
    OutcomeUnknownException,
    RecordTooLargeException,
    SerializationException,
    TimeoutException,
    TopicAuthorizationException,
)
from ingestd.client.frame import FrameReader
from ingestd.client.session import Session
from tests.fakes.daemon import CLOSE, HELLO, FakeDaemon, Taken


def test_synchronous(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        record = ProducerRecord("CustomerCountry", "France", key="Precision Products", partition=2, timestamp_ms=77)
        first = producer.send(record).result(timeout=10)
        second = producer.send(record).result(timeout=10)
    assert first == RecordMetadata("CustomerCountry", 2, 0, 77, 18, 6)
    assert second.offset == 1


def test_all_of_a_record_arrives(tmp_path: Path) -> None:
    headers = (("trace", b"\x01"), ("null", None))
    before_ms = time.time_ns() // 1_000_000
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        producer.send(ProducerRecord("t", "v", key="k", partition=1, timestamp_ms=5, headers=headers))
        producer.send(ProducerRecord("t", None, key=b""))
        producer.send(ProducerRecord("t", ""))
        producer.flush(10)
        [session] = daemon.sessions.values()
    full, tombstone, empty = session.records
    assert full == Taken(1, "t", 1, 5, b"k", list(headers), b"v")
    assert (tombstone.key, tombstone.value, tombstone.partition) == (b"", None, None)
    assert (empty.key, empty.value) == (None, b"")
    assert empty.timestamp_ms is not None
    assert before_ms <= empty.timestamp_ms <= time.time_ns() // 1_000_000


def test_asynchronous_callbacks_come_in_order_of_the_partition(tmp_path: Path) -> None:
    calls: list[tuple[RecordMetadata | None, KafkaException | None]] = []
    threads = set()

    def callback(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
        calls.append((metadata, error))
        threads.add(threading.current_thread().name)

    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        for number in range(1000):
            producer.send(ProducerRecord("t", str(number), partition=0), callback)
        producer.flush(10)
    assert [metadata.offset for metadata, _ in calls if metadata is not None] == list(range(1000))
    assert {error for _, error in calls} == {None}
    assert threads == {"ingestd-producer"}


@pytest.mark.parametrize("answer", ["none", "accepted", "delivered"])
def test_fire_and_forget_at_every_level(tmp_path: Path, answer: Any) -> None:
    with FakeDaemon(tmp_path) as daemon:
        with Producer(daemon.address, answer=answer) as producer:
            futures = [producer.send(ProducerRecord("t", b"%d" % number)) for number in range(500)]
        assert all(future.exception(0) is None for future in futures)
        assert futures[3].result(0).has_offset == (answer == "delivered")
        values = daemon.values() if answer != "none" else [record.value for record in daemon.without_session]
    assert values == [b"%d" % number for number in range(500)]
    assert daemon.frames[0] == HELLO
    assert daemon.frames[-1] == CLOSE
    assert len(daemon.ended) == (answer != "none")


def test_records_gather_in_frames(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, linger_ms=50, batch_size=1000) as producer:
        for _ in range(100):
            producer.send(ProducerRecord("t", b"x" * 87))  # 100 bytes as encoded
        producer.flush(10)
    sizes = daemon.frame_sizes[1:-1]
    assert sizes == [16 + 3 + 1000] * 10


def test_linger_ends_by_itself(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, linger_ms=20) as producer:
        assert producer.send(ProducerRecord("t", "v")).result(10).offset == 0


def test_serializers(tmp_path: Path) -> None:
    class JsonSerializer:
        def serialize(self, topic: str, value: Any, headers: object) -> bytes:  # noqa: ARG002
            return json.dumps(value).encode()

    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, value_serializer=JsonSerializer()) as producer:
        producer.send(ProducerRecord("t", {"id": 7}, key="k")).result(10)
        with pytest.raises(SerializationException, match="not JSON serializable"):
            producer.send(ProducerRecord("t", object()))
        producer.send(ProducerRecord("t", None)).result(10)
        assert daemon.values() == [b'{"id": 7}', None]


def test_rejected_and_failed_records_do_not_harm_the_others(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        daemon.refuse = lambda record: 7 if record.topic == "secret" else 0
        daemon.fail = lambda record: {b"bad": 1, b"maybe": 6}.get(record.value or b"", 0)
        futures = [producer.send(ProducerRecord("t", value)) for value in ("a", "bad", "maybe", "b")]
        refused = producer.send(ProducerRecord("secret", "x"))
        producer.flush(10)
        kinds = [type(future.exception(0)) for future in futures]
    assert kinds == [type(None), InvalidRecordException, OutcomeUnknownException, type(None)]
    error = refused.exception(0)
    assert isinstance(error, TopicAuthorizationException)
    assert str(error) == "not accepted, topic_not_allowed: says the test"


def test_a_callback_learns_of_the_error(tmp_path: Path) -> None:
    calls: list[Any] = []
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, answer="accepted") as producer:
        daemon.refuse = lambda _: 2
        producer.send(ProducerRecord("t", "v"), lambda *outcome: calls.append(outcome))
    [(metadata, error)] = calls
    assert metadata is None
    assert isinstance(error, RecordTooLargeException)


def test_a_callback_may_send_but_not_wait(tmp_path: Path) -> None:
    seen: list[Any] = []
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:

        def callback(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
            assert (metadata is None) != (error is None)
            future = producer.send(ProducerRecord("t", "from the callback"))
            for wait in (future.result, producer.flush, producer.close):
                try:
                    wait()
                except IllegalStateException as refused:
                    seen.append(refused)
            seen.append(future)

        producer.send(ProducerRecord("t", "first"), callback).result(10)
        producer.flush(10)
        assert seen[-1].result(10).topic == "t"
    assert len(seen) == 4


def test_a_record_beyond_the_daemons_limit_is_refused_by_send(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, record_bytes_max=1000) as daemon, Producer(daemon.address) as producer:
        with pytest.raises(RecordTooLargeException, match="takes at most 1021"):
            producer.send(ProducerRecord("t", bytes(1010)))
        producer.send(ProducerRecord("t", bytes(1000))).result(10)


def test_many_threads_share_one_producer(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        with Producer(daemon.address, buffer_memory=200_000) as producer:

            def work(name: int) -> None:
                for number in range(1000):
                    producer.send(ProducerRecord(f"t{name % 2}", b"%d %d" % (name, number)))

            threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        values = [value or b"" for value in daemon.values()]
    for name in range(4):
        mine = [value for value in values if value.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, number) for number in range(1000)]


def test_send_raises_when_nobody_is_there(tmp_path: Path) -> None:
    with Producer(f"unix-stream:{tmp_path}/absent.sock", max_block_ms=100) as producer:
        started = time.monotonic()
        with pytest.raises(TimeoutException, match=r"no connection .* within 100 ms .*absent.sock: No such file"):
            producer.send(ProducerRecord("t", "v"))
        assert 0.1 <= time.monotonic() - started < 5


def test_send_raises_while_the_daemon_does_not_answer(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.granting = False
        with (
            Producer(daemon.address, max_block_ms=100) as producer,
            pytest.raises(TimeoutException, match="is connected, but does not answer"),
        ):
            producer.send(ProducerRecord("t", "v"))


def test_send_raises_when_the_buffer_stays_full_and_works_again_later(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, max_block_ms=100, buffer_memory=10_000) as producer:
        daemon.delivering = False
        futures = []
        with pytest.raises(BufferExhaustedException, match="within 100 ms"):
            for _ in range(1000):
                futures.append(producer.send(ProducerRecord("t", bytes(100))))
        assert 10 < len(futures) < 50
        daemon.delivering = True
        daemon.deliver()
        producer.send(ProducerRecord("t", "last")).result(10)
        assert all(future.done() for future in futures)
        assert len(daemon.values()) == len(futures) + 1


def test_a_daemon_that_does_not_read_makes_send_wait(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, max_block_ms=200, buffer_memory=1 << 20) as producer:
        producer.send(ProducerRecord("t", "v")).result(10)
        daemon.reading.clear()
        sent = 1
        with pytest.raises(TimeoutException):
            while True:
                producer.send(ProducerRecord("t", bytes(1000)))
                sent += 1
        daemon.reading.set()
        producer.flush(20)
        assert len(daemon.values()) == sent


def interrupt_main() -> None:
    """Control-C, as the kernel hands it to the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_a_waiting_send_can_be_interrupted_and_the_producer_used_again(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, buffer_memory=2_000) as producer:
        daemon.delivering = False
        sent = 0
        timer = threading.Timer(0.3, interrupt_main)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            while True:
                producer.send(ProducerRecord("t", bytes(100)))
                sent += 1
        timer.join()
        assert sent == 7  # accepted, so only their overhead counts until they are delivered
        daemon.delivering = True
        daemon.deliver()
        producer.send(ProducerRecord("t", "again")).result(10)
        assert len(daemon.values()) == sent + 1


def test_waiting_for_a_result_can_be_interrupted(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        daemon.delivering = False
        future = producer.send(ProducerRecord("t", "v"))
        timer = threading.Timer(0.2, interrupt_main)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            future.result()
        timer.join()
        with pytest.raises(TimeoutException):
            future.result(timeout=0.01)
        with pytest.raises(TimeoutException, match=r"not everything was answered within 0\.01 s"):
            producer.flush(0.01)
        daemon.deliver()
        assert future.result(10).topic == "t"


def test_close_reports_what_was_not_answered(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        calls: list[Any] = []
        producer = Producer(daemon.address)
        future = producer.send(ProducerRecord("t", "v"), lambda *outcome: calls.append(outcome))
        producer.send(ProducerRecord("t", "w"))
        with pytest.raises(TimeoutException, match=r"records not answered within 0.2 s: 2"):
            producer.close(timeout=0.2)
        error = future.exception(0)
        assert isinstance(error, OutcomeUnknownException)
        assert not error.retriable
        assert len(calls) == 1
        producer.close()


def test_what_was_never_sent_can_be_sent_again(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path)
    with daemon:
        producer = Producer(daemon.address)
        producer.send(ProducerRecord("t", "v")).result(10)
    futures = [producer.send(ProducerRecord("t", "in the session"))]
    with pytest.raises(TimeoutException):
        producer.flush(0.2)
    futures.append(producer.send(ProducerRecord("t", "in the outbox")))
    with pytest.raises(TimeoutException, match=r"records not answered within 0\.2 s: 2"):
        producer.close(timeout=0.2)
    errors = [future.exception(0) for future in futures]
    assert [(type(error), error.retriable) for error in errors if error] == [(TimeoutException, True)] * 2
    with pytest.raises(OutcomeUnknownException):
        producer.flush()


def test_a_closed_producer_says_so(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        producer = Producer(daemon.address)
        producer.close()
        with pytest.raises(IllegalStateException, match="closed"):
            producer.send(ProducerRecord("t", "v"))
        producer.flush()
        producer.close()


def test_a_forked_child_is_told_and_the_parent_goes_on(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        waiting = producer.send(ProducerRecord("t", "parent"))
        waiting.result(10)
        reader, writer = os.pipe()
        # Forking beside threads is what this is about; newer Pythons warn of it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            said = []
            for attempt in (lambda: producer.send(ProducerRecord("t", "child")), producer.flush, producer.close):
                try:
                    attempt()
                    said.append("nothing")
                except IllegalStateException as error:
                    said.append(str(error).split(":")[0])
            os.write(writer, "\n".join(said).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answers:
            said = answers.read().splitlines()
        expected = f"this producer belongs to process {os.getpid()}"
        assert said == [expected, expected, "nothing"]
        producer.send(ProducerRecord("t", "parent again")).result(10)
        assert daemon.values() == [b"parent", b"parent again"]


def test_who_forgets_to_close_gets_delivered_at_exit(tmp_path: Path) -> None:
    program = "import sys; from ingestd.client import *; Producer(sys.argv[1]).send(ProducerRecord('t', 'v'))"
    with FakeDaemon(tmp_path) as daemon:
        subprocess.run([sys.executable, "-c", program, daemon.address], check=True, timeout=30)
        assert daemon.values() == [b"v"]
        assert daemon.frames[-1] == CLOSE


def test_the_address_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeDaemon(tmp_path) as daemon:
        monkeypatch.setenv("INGESTD_ADDRESS", daemon.address)
        with Producer() as producer:
            producer.send(ProducerRecord("t", "v")).result(10)
        monkeypatch.delenv("INGESTD_ADDRESS")
        with pytest.raises(ConfigException, match="set INGESTD_ADDRESS"):
            Producer()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"address": "tcp:host:1"}, "tcp is not supported yet"),
        ({"address": "udp:127.0.0.1:1", "answer": "delivered"}, "datagrams are not answered"),
        ({"address": "unix-stream:/x", "answer": "all"}, "give one of none, accepted, delivered"),
        ({"address": "unix-stream:/x", "max_block_ms": -1}, "max_block_ms=-1"),
        ({"address": "unix-stream:/x", "buffer_memory": 0}, "buffer_memory=0"),
    ],
)
def test_impossible_arguments(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigException, match=text):
        Producer(**arguments)


def datagram_values(sock: socket.socket, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    sock.settimeout(10)
    while len(values) < count:
        for _, flags, body in FrameReader().feed(sock.recv(70_000)):
            decoded = decode_records(body, flags)
            assert decoded.topic == "t"
            values += [record.value for record in decoded.records]
    return values


def test_unix_datagrams(tmp_path: Path) -> None:
    path = str(tmp_path / "log.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        received: list[bytes | None] = []
        reader = threading.Thread(target=lambda: received.extend(datagram_values(sock, 5000)))
        reader.start()
        with Producer(f"unix-datagram:{path}") as producer:
            futures = [producer.send(ProducerRecord("t", b"%d" % number)) for number in range(5000)]
            producer.flush(20)
            assert futures[-1].result(0).offset == -1
        reader.join(20)
    assert received == [b"%d" % number for number in range(5000)]


def test_unix_datagrams_wait_for_the_daemon(tmp_path: Path) -> None:
    path = str(tmp_path / "log.sock")
    with Producer(f"unix-datagram:{path}", max_block_ms=100) as producer:
        with pytest.raises(TimeoutException, match="No such file"):
            producer.send(ProducerRecord("t", "v"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            time.sleep(0.2)
            producer.send(ProducerRecord("t", "first")).result(10)
            assert datagram_values(sock, 1) == [b"first"]
        Path(path).unlink()
        future = producer.send(ProducerRecord("t", "second"))
        time.sleep(0.1)
        assert not future.done()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            future.result(10)
            assert datagram_values(sock, 1) == [b"second"]


def test_udp(tmp_path: Path) -> None:  # noqa: ARG001
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with Producer(f"udp:127.0.0.1:{sock.getsockname()[1]}") as producer:
            producer.send(ProducerRecord("t", "v")).result(10)
            producer.send(ProducerRecord("t", bytes(60_000))).result(10)
            with pytest.raises(RecordTooLargeException):
                producer.send(ProducerRecord("t", bytes(65_400)))
        assert datagram_values(sock, 2) == [b"v", bytes(60_000)]


def test_udp_without_a_reader_loses_quietly_and_goes_on() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with Producer(f"udp:127.0.0.1:{port}") as producer:
        for _ in range(5):
            producer.send(ProducerRecord("t", "lost")).result(10)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))
            producer.send(ProducerRecord("t", "seen")).result(10)
            assert datagram_values(sock, 1) == [b"seen"]


def test_a_mistake_in_the_producers_thread_reaches_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    with FakeDaemon(tmp_path) as daemon:
        producer = Producer(daemon.address)
        producer.send(ProducerRecord("t", "v")).result(10)
        monkeypatch.setattr(Session, "receive", broken)
        future = producer.send(ProducerRecord("t", "w"))
        for attempt in (future.result, lambda: producer.send(ProducerRecord("t", "x")), producer.flush, producer.close):
            with pytest.raises(KafkaException, match="thread ended: ZeroDivisionError"):
                attempt()


def test_closing_ends_a_flush_of_another_thread(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        producer = Producer(daemon.address)
        producer.send(ProducerRecord("t", "v"))
        said: list[KafkaException] = []

        def flush() -> None:
            try:
                producer.flush()
            except KafkaException as error:
                said.append(error)

        thread = threading.Thread(target=flush)
        thread.start()
        with pytest.raises(TimeoutException):
            producer.close(0.1)
        thread.join(10)
        assert [str(error) for error in said] == ["the producer was closed before everything was answered"]
