"""``ingestd.producer.Producer`` against the scripted broker: what blocks, what raises, what goes to the future."""

import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ingestd.client.errors import (
    BufferExhaustedException,
    ConfigException,
    IllegalStateException,
    InvalidRecordException,
    InvalidTopicException,
    KafkaException,
    OutcomeUnknownException,
    RecordTooLargeException,
    SerializationException,
    TimeoutException,
    TopicAuthorizationException,
    UnknownTopicOrPartitionException,
)
from ingestd.kafka.errors import INVALID_PRODUCER_EPOCH, INVALID_RECORD, MESSAGE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED
from ingestd.producer import Future, Producer, ProducerRecord, RecordMetadata
from tests.fakes.broker import CLOSE, INIT_PRODUCER_ID, NOTHING, PRODUCE, Partition, error
from tests.fakes.threaded import ThreadedCluster, scripted
from tests.functional.producer_rig import lines_of

NOT_ENOUGH_REPLICAS = 19


def make(cluster: ThreadedCluster, **config: Any) -> Producer:
    quick = {"retry.backoff.ms": 10, "retry.backoff.max.ms": 50, "reconnect.backoff.ms": 10}
    given = {name.replace("_", "."): value for name, value in config.items()}
    return Producer({"bootstrap.servers": cluster.bootstrap, "max.block.ms": 30_000, **quick, **given})


def log(cluster: ThreadedCluster, topic: str = "t", partition: int = 0) -> list[bytes]:
    return cluster.call(lambda: lines_of(cluster.cluster.log(topic, partition)))


def test_the_three_ways_to_send() -> None:
    told: list[tuple[RecordMetadata | None, KafkaException | None]] = []
    with scripted(t=1) as cluster, make(cluster) as producer:
        forgotten = producer.send(ProducerRecord("t", "fire and forget"))
        metadata = producer.send(ProducerRecord("t", "synchronous", key="k", timestamp_ms=77)).result(30)
        producer.send(ProducerRecord("t", "asynchronous"), lambda metadata, error: told.append((metadata, error)))
        producer.flush()
        assert forgotten.done()
        assert metadata == RecordMetadata("t", 0, 1, 77, 1, 11)
        assert [(found and found.offset, failed) for found, failed in told] == [(2, None)]
        assert log(cluster) == [b"fire and forget", b"synchronous", b"asynchronous"]


@pytest.mark.parametrize(
    ("config", "partitions"),
    [
        ({"partitioner_class": "round_robin"}, [0, 1, 2, 0, 1, 2]),
        # CRC-32 of "foobar" is 2666930069.
        ({"partitioner_class": "consistent_random"}, [2666930069 % 3] * 6),
        # murmur2 of it, made positive, is 1357151166.
        ({}, [1357151166 % 3] * 6),
    ],
)
def test_partitioners_by_name(config: dict[str, Any], partitions: list[int]) -> None:
    with scripted(t=3) as cluster, make(cluster, **config) as producer:
        sent = [producer.send(ProducerRecord("t", "v", key="foobar")) for _ in range(6)]
        assert [future.result(30).partition for future in sent] == partitions


def test_callbacks_come_in_the_order_of_the_partition_and_their_faults_are_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order: list[int] = []

    def callback(number: int) -> Any:
        def call(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
            assert error is None and metadata is not None and metadata.offset == number
            order.append(number)
            if number == 500:
                raise ZeroDivisionError

        return call

    with scripted(t=1) as cluster, make(cluster, batch_size=2000) as producer:
        for number in range(2000):
            producer.send(ProducerRecord("t", f"{number}"), callback(number))
    assert order == list(range(2000))
    assert caplog.text.count("a callback raised") == 1


def test_many_threads_each_keep_their_order(seed: int) -> None:
    """``seed`` only shows in the values: what is random is how the threads meet."""
    per_thread = 1500

    def run(name: int) -> None:
        for number in range(per_thread):
            producer.send(ProducerRecord("t", f"{seed}:{name}:{number}", key=f"key {name}"))

    with scripted(t=3) as cluster:
        with make(cluster, batch_size=4000, linger_ms=1) as producer:
            threads = [threading.Thread(target=run, args=(name,)) for name in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        found: dict[str, list[int]] = defaultdict(list)
        for partition in range(3):
            for line in log(cluster, partition=partition):
                _, name, number = line.decode().split(":")
                found[name].append(int(number))
    assert found == {str(name): list(range(per_thread)) for name in range(6)}


# -- max.block.ms


def test_an_unknown_topic_blocks_for_max_block_ms_and_the_cause_says_why() -> None:
    with scripted(t=1) as cluster, make(cluster, max_block_ms=300) as producer:
        started = time.monotonic()
        with pytest.raises(TimeoutException, match="'absent' is not in the cluster's metadata after") as raised:
            producer.send(ProducerRecord("absent", "v"))
        assert 0.3 <= time.monotonic() - started < 10
        assert isinstance(raised.value.__cause__, UnknownTopicOrPartitionException)
        assert producer.send(ProducerRecord("t", "v")).result(30).offset == 0


def test_a_topic_that_is_made_meanwhile_ends_the_wait() -> None:
    with scripted(t=1) as cluster, make(cluster) as producer:
        timer = threading.Timer(
            0.3, lambda: cluster.call(lambda: cluster.cluster.topics.update(late=cluster.cluster.topics["t"]))
        )
        timer.start()
        assert producer.send(ProducerRecord("late", "v")).result(30).topic == "late"
        timer.join()


def test_a_partition_that_is_not_there_blocks_too() -> None:
    with scripted(t=2) as cluster, make(cluster, max_block_ms=200) as producer:
        with pytest.raises(TimeoutException, match="has 2 partitions, and no partition 2"):
            producer.send(ProducerRecord("t", "v", partition=2))
        assert producer.send(ProducerRecord("t", "v", partition=1)).result(30).partition == 1


def test_a_partition_that_comes_meanwhile_ends_the_wait() -> None:
    with scripted(t=1) as cluster, make(cluster) as producer:
        assert producer.send(ProducerRecord("t", "v")).result(30).partition == 0
        partitions = cluster.cluster.topics["t"].partitions
        timer = threading.Timer(0.8, lambda: cluster.call(lambda: partitions.append(Partition(1))))
        timer.start()
        assert producer.send(ProducerRecord("t", "v", partition=1)).result(30).partition == 1
        timer.join()


def test_no_broker_at_all_is_said() -> None:
    """With what is known of why: nothing yet of one that keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seed = f"127.0.0.1:{silent.getsockname()[1]}"
        for server, said in ((seed, seed), ("127.0.0.1:1", "127.0.0.1:1: Connection refused")):
            settings = {"bootstrap.servers": server, "max.block.ms": 300}
            with Producer(settings) as producer, pytest.raises(TimeoutException) as raised:
                producer.send(ProducerRecord("t", "v"))
            assert f"no broker could be reached ({said}), after max.block.ms = 300" in str(raised.value)


def test_a_topic_that_is_not_ours_fails_its_records_at_once() -> None:
    told: list[Any] = []
    with scripted(t=1) as cluster, make(cluster) as producer:
        cluster.call(lambda: cluster.broker.denied.update(t=TOPIC_AUTHORIZATION_FAILED))
        future = producer.send(ProducerRecord("t", "v"), lambda metadata, error: told.append((metadata, error)))
        assert isinstance(future.exception(20), TopicAuthorizationException)
        with pytest.raises(TopicAuthorizationException):
            producer.partitions_for("t")
    assert [metadata for metadata, _ in told] == [None]


@pytest.mark.parametrize("name", ["t" * 250, "\ud800"], ids=ascii)
def test_a_name_that_no_topic_can_have_fails_its_own_records_only(name: str) -> None:
    with scripted(t=1) as cluster, make(cluster) as producer:
        other = producer.send(ProducerRecord("t", "v"))
        for _ in range(2):
            future = producer.send(ProducerRecord(name, "v"))
            assert isinstance(future.exception(20), InvalidTopicException)
        with pytest.raises(InvalidTopicException):
            producer.partitions_for(name)
        assert other.result(30).offset == 0


def test_a_host_without_so_much_room_is_said_and_nothing_stays_behind() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConfigException, match=r"buffer.memory = 17592186044416"):
        Producer({"bootstrap.servers": "127.0.0.1:1", "buffer.memory": 1 << 44})
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_buffer_blocks_for_max_block_ms_and_all_of_it_comes_back() -> None:
    """Fault 14."""
    sizes = {"buffer_memory": 1 << 20, "max_request_size": 65536, "batch_size": 16384}
    futures: list[Future] = []
    with scripted(t=1) as cluster, make(cluster, max_block_ms=300, **sizes) as producer:
        producer.send(ProducerRecord("t", b"first")).result(30)
        free_bytes = producer.metrics()["buffer-available-bytes"]
        cluster.pause()
        started = time.monotonic()
        with pytest.raises(BufferExhaustedException, match="1048576 is full"):
            while True:
                started = time.monotonic()
                futures.append(producer.send(ProducerRecord("t", bytes(2000))))
        assert 0.3 <= time.monotonic() - started < 10
        assert len(futures) * 2000 > 500_000
        released: list[Future] = []
        blocked = threading.Thread(target=lambda: released.append(producer.send(ProducerRecord("t", bytes(2000)))))
        cluster.resume()
        blocked.start()
        producer.flush(20)
        blocked.join()
        producer.flush(20)
        assert {future.exception(0) for future in (*futures, *released)} == {None}
        assert [future.result(0).offset for future in futures] == list(range(1, len(futures) + 1))
        assert producer.metrics()["buffer-available-bytes"] == free_bytes
        assert producer.metrics()["records-outstanding"] == 0


def test_who_waits_for_room_makes_open_batches_go() -> None:
    sizes = {"buffer_memory": 1 << 20, "max_request_size": 65536, "batch_size": 16384, "linger_ms": 60_000}
    with scripted(t=64) as cluster, make(cluster, delivery_timeout_ms=120_000, **sizes) as producer:
        for number in range(2000):
            producer.send(ProducerRecord("t", bytes(1000), partition=number % 64))
        producer.flush(20)
        assert producer.metrics()["records-delivered-total"] == 2000


def test_a_partition_without_a_broker_holds_up_its_topic_and_no_other() -> None:
    sizes = {"buffer_memory": 16 << 20, "max_request_size": 65536, "batch_size": 16384, "max_block_ms": 1000}
    refused: list[BaseException] = []

    def fill() -> None:
        try:
            while True:
                producer.send(ProducerRecord("sick", bytes(1000), partition=1))
        except BufferExhaustedException as error:
            refused.append(error)

    with scripted(nodes=2, sick=2, well=1) as cluster, make(cluster, **sizes) as producer:
        for partition in range(2):
            producer.send(ProducerRecord("sick", "first", partition=partition)).result(30)
        cluster.stop_node(2)
        filling = threading.Thread(target=fill)
        filling.start()
        delivered = 0
        while filling.is_alive():
            producer.send(ProducerRecord("well", bytes(5000))).result(30)
            delivered += 1
        filling.join()
        assert delivered > 5
        assert "a partition of 'sick' takes no more" in str(refused[0])
        assert producer.send(ProducerRecord("well", "still")).result(30).offset == delivered
        cluster.start_node(2)
        producer.flush(20)
        assert producer.send(ProducerRecord("sick", "again", partition=1)).result(30).partition == 1
        assert producer.metrics()["record-error-total"] == 0


# -- errors of records


def test_a_record_beyond_max_request_size_fails_alone_and_before_it_is_queued() -> None:
    """Fault 10."""
    told: list[Any] = []
    with scripted(t=1) as cluster, make(cluster, max_request_size=65536) as producer:
        future = producer.send(ProducerRecord("t", bytes(65536)), lambda *outcome: told.append(outcome[1]))
        assert isinstance(future.exception(5), RecordTooLargeException)
        assert producer.send(ProducerRecord("t", bytes(65000))).result(30).offset == 0
        assert producer.metrics()["record-error-total"] == 0
    assert isinstance(told[0], RecordTooLargeException)


def test_a_serializer_that_fails_raises_from_send() -> None:
    with scripted(t=1) as cluster, make(cluster, value_serializer="IntegerSerializer") as producer:
        with pytest.raises(SerializationException):
            producer.send(ProducerRecord("t", "no number"))
        assert producer.send(ProducerRecord("t", 5)).result(30).serialized_value_size == 4


def test_records_that_the_broker_names_fail_and_the_others_go_on() -> None:
    with scripted(t=1) as cluster, make(cluster, linger_ms=200) as producer:
        refused = error(INVALID_RECORD, record_errors=((1, "bad"), (3, "worse")))
        cluster.call(lambda: cluster.broker.control(PRODUCE, refused))
        futures = [producer.send(ProducerRecord("t", f"{number}")) for number in range(5)]
        producer.flush(10)
        errors = [future.exception(0) for future in futures]
        assert [type(each) for each in errors] == [
            type(None), InvalidRecordException, type(None), InvalidRecordException, type(None)
        ]  # fmt: skip
        assert "t-0" in str(errors[1]) and "bad" in str(errors[1]) and "worse" in str(errors[3])
        assert not errors[1].retriable  # type: ignore[union-attr]
        assert [futures[index].result(0).offset for index in (0, 2, 4)] == [0, 1, 2]
        assert log(cluster) == [b"0", b"2", b"4"]


def test_a_batch_never_sent_expires_after_delivery_timeout_ms() -> None:
    config = {"delivery_timeout_ms": 300, "linger_ms": 0, "request_timeout_ms": 200}
    with scripted(t=1) as cluster, make(cluster, **config) as producer:
        producer.send(ProducerRecord("t", "first")).result(30)
        cluster.pause()
        future = producer.send(ProducerRecord("t", "late"))
        failed = future.exception(10)
        assert isinstance(failed, TimeoutException) and failed.retriable
        assert "t-0" in str(failed)
        cluster.resume()
        assert producer.send(ProducerRecord("t", "after")).result(10).offset >= 1


def test_who_waits_for_the_end_of_all_is_told_when_the_last_expires() -> None:
    config = {"delivery_timeout_ms": 300, "linger_ms": 0, "request_timeout_ms": 200}
    with scripted(t=1) as cluster:
        producer = make(cluster, **config)
        producer.send(ProducerRecord("t", "first")).result(30)
        cluster.pause()
        late = producer.send(ProducerRecord("t", "late"))
        producer.flush(5)
        assert isinstance(late.exception(0), TimeoutException)
        later = producer.send(ProducerRecord("t", "later"))
        began = time.monotonic()
        producer.close(10)
        assert time.monotonic() - began < 8
        assert isinstance(later.exception(0), TimeoutException)


def test_a_batch_that_was_sent_expires_too_and_says_that_it_may_have_been_written() -> None:
    config = {"delivery_timeout_ms": 600, "linger_ms": 0, "request_timeout_ms": 500}
    with scripted(t=1) as cluster, make(cluster, **config) as producer:
        producer.send(ProducerRecord("t", "first")).result(30)
        cluster.call(lambda: cluster.broker.control(PRODUCE, lambda request: (request.handle(), NOTHING)[1], times=9))
        failed = producer.send(ProducerRecord("t", "sent")).exception(10)
        assert isinstance(failed, OutcomeUnknownException)
        assert "may have been written" in str(failed)
        cluster.call(cluster.broker.clear_controls)
        assert producer.send(ProducerRecord("t", "after")).result(10).offset == 2
        assert log(cluster) == [b"first", b"sent", b"after"]


def test_a_batch_too_large_for_the_broker_is_split_and_each_record_hears_where_it_is() -> None:
    """Fault 26: a flush waits for the halves."""
    with scripted(t=1) as cluster, make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000) as producer:
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(MESSAGE_TOO_LARGE), times=2))
        order: list[int] = []
        futures = [
            producer.send(ProducerRecord("t", f"{number}"), lambda *outcome: order.append(outcome[0].offset))
            for number in range(40)
        ]
        producer.flush(20)
        assert [future.result(0).offset for future in futures] == list(range(40)) == order
        assert log(cluster) == [b"%d" % number for number in range(40)]


@pytest.mark.parametrize("acks", [0, 1])
def test_acks_0_and_1_answer_honestly(acks: int) -> None:
    with scripted(t=1) as cluster:
        with make(cluster, acks=acks, enable_idempotence=False) as producer:
            metadata = [producer.send(ProducerRecord("t", f"{number}")).result(30) for number in range(3)]
            assert [found.offset for found in metadata] == ([-1, -1, -1] if acks == 0 else [0, 1, 2])
            assert metadata[0].has_offset is (acks == 1)
        deadline = time.monotonic() + 5
        while len(log(cluster)) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert log(cluster) == [b"0", b"1", b"2"]


# -- flush and close (fault 26)


def test_flush_does_not_linger_and_waits_for_retries() -> None:
    with scripted(t=1) as cluster, make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000) as producer:
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(NOT_ENOUGH_REPLICAS), times=3))
        # More than one batch: some are full before the flush, the last one is not.
        futures = [producer.send(ProducerRecord("t", f"{number}".ljust(5000))) for number in range(10)]
        started = time.monotonic()
        producer.flush(10)
        assert time.monotonic() - started < 5
        assert all(future.done() for future in futures)
        assert [int(line) for line in log(cluster)] == list(range(10))


def test_flush_waits_only_for_what_was_sent_before_and_can_time_out() -> None:
    with scripted(t=1) as cluster, make(cluster, request_timeout_ms=30_000) as producer:
        producer.flush(1)
        cluster.call(lambda: cluster.broker.control(PRODUCE, lambda _: NOTHING))
        producer.send(ProducerRecord("t", "unanswered"))
        with pytest.raises(TimeoutException, match="it goes on"):
            producer.flush(0.2)
        cluster.call(cluster.broker.cut)
        producer.flush(10)
        assert log(cluster) == [b"unanswered"]


def test_a_callback_can_send_but_neither_flush_nor_wait() -> None:
    errors: list[BaseException] = []
    again: list[Future] = []

    def callback(*_: object) -> None:
        again.append(producer.send(ProducerRecord("t", "from a callback")))
        for forbidden in (producer.flush, again[0].result):
            try:
                forbidden()
            except IllegalStateException as refused:
                errors.append(refused)

    with scripted(t=1) as cluster, make(cluster) as producer:
        producer.send(ProducerRecord("t", "v"), callback).result(30)
        while not again:
            time.sleep(0.005)
        assert again[0].result(30).offset == 1
    assert len(errors) == 2


def test_close_waits_for_everything() -> None:
    with scripted(t=1) as cluster:
        producer = make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000)
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(NOT_ENOUGH_REPLICAS), times=3))
        futures = [producer.send(ProducerRecord("t", f"{number}")) for number in range(10)]
        producer.close()
        producer.close()
        assert [future.result(0).offset for future in futures] == list(range(10))
        with pytest.raises(IllegalStateException, match="closed"):
            producer.send(ProducerRecord("t", "late"))
        assert producer.metrics() == {}
        producer.flush()


def test_close_0_fails_the_rest_at_once_and_says_what_may_have_been_written() -> None:
    told: list[Any] = []
    with scripted(t=2) as cluster:
        producer = make(cluster, linger_ms=0)
        producer.send(ProducerRecord("t", "first", partition=0)).result(30)
        cluster.call(lambda: cluster.broker.control(PRODUCE, lambda _: NOTHING, times=5))
        sent = producer.send(ProducerRecord("t", "sent", partition=0), lambda *outcome: told.append(outcome[1]))
        while cluster.call(lambda: cluster.broker.requests[PRODUCE]) < 2:
            time.sleep(0.005)
        unsent = producer.send(ProducerRecord("t", "waits behind it", partition=0))
        started = time.monotonic()
        producer.close(0)
        assert time.monotonic() - started < 10
        assert isinstance(sent.exception(0), OutcomeUnknownException)
        assert isinstance(unsent.exception(0), KafkaException)
        assert told == [sent.exception(0)]


def test_close_0_says_what_may_have_been_written_under_other_numbers() -> None:
    """The batch may be in the log; it has just got new numbers, and no attempt was made under these."""
    with scripted(t=1) as cluster:
        producer = make(cluster, linger_ms=0, retry_backoff_ms=1000, retry_backoff_max_ms=60_000)
        producer.send(ProducerRecord("t", "first")).result(30)
        cluster.call(lambda: cluster.broker.control(PRODUCE, lambda request: (request.handle(), CLOSE)[1]))
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(INVALID_PRODUCER_EPOCH)))
        sent = producer.send(ProducerRecord("t", "sent"))
        while cluster.call(lambda: cluster.broker.requests[INIT_PRODUCER_ID]) < 2:
            time.sleep(0.005)
        time.sleep(0.2)
        assert cluster.call(lambda: cluster.broker.requests[PRODUCE]) == 3
        producer.close(0)
        assert log(cluster) == [b"first", b"sent"]
        assert isinstance(sent.exception(0), OutcomeUnknownException)


def test_close_0_with_retries_pending() -> None:
    with scripted(t=1) as cluster:
        producer = make(cluster, linger_ms=0)
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(NOT_ENOUGH_REPLICAS), times=1000))
        futures = [producer.send(ProducerRecord("t", f"{number}")) for number in range(100)]
        while cluster.call(lambda: cluster.broker.requests[PRODUCE]) < 3:
            time.sleep(0.005)
        producer.close(0)
        assert all(isinstance(future.exception(0), KafkaException) for future in futures)
        assert log(cluster) == []


def test_close_from_a_callback_does_not_wait_and_still_ends_well() -> None:
    returned = threading.Event()

    def callback(*_: object) -> None:
        producer.close()
        returned.set()

    with scripted(t=1) as cluster:
        producer = make(cluster)
        producer.send(ProducerRecord("t", "v"), callback)
        assert returned.wait(5)
        producer.close(5)
        assert not producer._thread.is_alive()


def test_a_close_wakes_those_who_wait_for_room() -> None:
    refused: list[BaseException] = []
    sizes = {"buffer_memory": 1 << 20, "max_request_size": 65536}

    def fill() -> None:
        try:
            while True:
                producer.send(ProducerRecord("t", bytes(5000)))
        except KafkaException as error:
            refused.append(error)

    with scripted(t=1) as cluster:
        producer = make(cluster, max_block_ms=60_000, **sizes)
        producer.send(ProducerRecord("t", b"first")).result(30)
        cluster.pause()
        thread = threading.Thread(target=fill)
        thread.start()
        while not producer.metrics()["waiting-threads"]:
            time.sleep(0.005)
        producer.close(0)
        thread.join(5)
        assert [type(error) for error in refused] == [IllegalStateException]
        cluster.resume()


# -- life and death


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told() -> None:
    def child(producer: Producer, future: Future) -> None:
        told = 0
        for use in (lambda: producer.send(ProducerRecord("t", "v")), producer.flush, future.result, producer.metrics):
            try:
                use()
            except IllegalStateException as error:
                told += "after a fork" in str(error)
        producer.close()
        os._exit(told)

    with scripted(t=1) as cluster, make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000) as producer:
        future = producer.send(ProducerRecord("t", "v"))
        process = multiprocessing.get_context("fork").Process(target=child, args=(producer, future))
        process.start()
        process.join(10)
        assert process.exitcode == 4
        producer.flush(5)
        assert future.result(0).offset == 0


def test_a_program_that_forgets_to_close_still_delivers() -> None:
    program = (
        "import sys; from ingestd.producer import Producer, ProducerRecord;"
        "producer = Producer({'bootstrap.servers': sys.argv[1], 'linger.ms': 500});"
        "[producer.send(ProducerRecord('t', str(number))) for number in range(100)]"
    )
    with scripted(t=1) as cluster:
        done = subprocess.run([sys.executable, "-c", program, cluster.bootstrap], timeout=30, check=True)
        assert done.returncode == 0
        assert log(cluster) == [b"%d" % number for number in range(100)]


def test_a_fault_of_our_own_ends_the_producer_and_everybody_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with scripted(t=1) as cluster:
        producer = make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000)
        future = producer.send(ProducerRecord("t", "v"))

        def fault() -> None:
            raise ZeroDivisionError("a mistake")

        with caplog.at_level(logging.CRITICAL):
            producer._thread.call(fault)
            assert "a mistake" in str(future.exception(5))
        with pytest.raises(KafkaException, match="a mistake"):
            producer.send(ProducerRecord("t", "v"))
        producer.close()


def test_partitions_and_metrics_can_be_asked_for() -> None:
    with scripted(t=3) as cluster, make(cluster) as producer:
        infos = producer.partitions_for("t")
        assert [(info.partition, info.leader and info.leader.port) for info in infos] == [
            (partition, cluster.broker.port) for partition in range(3)
        ]
        producer.send(ProducerRecord("t", "v")).result(30)
        metrics = producer.metrics()
        assert (metrics["record-send-total"], metrics["record-error-total"], metrics["request-total"]) == (1, 0, 1)
        assert metrics["batch-size-avg"] > 61
