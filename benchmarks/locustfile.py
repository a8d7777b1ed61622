"""locust users of a running daemon, at a moderate rate: latency to *accepted* and to *delivered*.

    locust -f benchmarks/locustfile.py --headless -u 30 -r 30 -t 30s --topic orders --kafka 127.0.0.1:9092 \\
        --frames unix-stream:/run/ingestd/app.sock --datagram unix-datagram:/run/ingestd/app-datagram.sock \\
        --udp udp:127.0.0.1:5514

An address that is not given leaves its users out. All three listeners have the format ``frames``. On a stream the
client's own answers are measured. Datagrams are not answered: *sent* is when the kernel has it, *delivered* is when an
independent consumer (with ``--kafka``) sees the record in the topic. ``python -m benchmarks latency`` starts all that
is needed and runs this file.
"""

import argparse
import threading
import time
from typing import Any, ClassVar

from locust import User, constant_throughput, events, task
from locust.env import Environment

from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata

USERS_RECORDS_PER_S = 20
CONSUMER_PAUSE_S = 0.002
STAMP_BYTES = 20


def _options(parser: Any) -> None:
    group: argparse.ArgumentParser = parser
    group.add_argument("--frames", default="", help="unix-stream address of a listener with format frames")
    group.add_argument("--datagram", default="", help="unix-datagram address of a listener with format frames")
    group.add_argument("--udp", default="", help="UDP address of a listener with format frames")
    group.add_argument("--kafka", default="", help="bootstrap servers, to see datagrams arrive")
    group.add_argument("--topic", default="bench", help="topic to send to")


def _value(mark: str) -> bytes:
    """A value of about 120 bytes that says when and how it was sent."""
    return b"%020d %s " % (time.time_ns(), mark.encode()) + b"x" * 85


class Sender(User):
    """Sends one record at a time at a steady rate."""

    abstract = True
    wait_time = constant_throughput(USERS_RECORDS_PER_S)
    option: ClassVar[str]
    answer: ClassVar[Any]
    """What the future means: accepted, delivered; none on datagrams: sent."""

    def on_start(self) -> None:
        """Opens this user's own connection."""
        options: Any = self.environment.parsed_options
        self.topic: str = options.topic
        self.producer = Producer(getattr(options, self.option), answer=self.answer)

    def on_stop(self) -> None:
        """Waits for the last answers."""
        self.producer.close(10)

    @task
    def send(self) -> None:
        """One record; its latency is booked when its future is done, without holding up the next one."""
        started_s = time.perf_counter()
        book: Any = self.environment.events.request.fire
        name = "sent" if self.answer == "none" else str(self.answer)

        def done(_metadata: RecordMetadata | None, error: KafkaException | None) -> None:
            book(
                request_type=self.option,
                name=name,
                response_time=(time.perf_counter() - started_s) * 1000,
                response_length=0,
                exception=error,
                context={},
            )

        key = b"user-%d" % id(self)
        self.producer.send(ProducerRecord(self.topic, _value(self.option), key), callback=done)


class StreamAccepted(Sender):
    """Unix stream, answered when the record is in the arena."""

    option = "frames"
    answer = "accepted"


class StreamDelivered(Sender):
    """Unix stream, answered when the record is in Kafka."""

    option = "frames"
    answer = "delivered"


class Datagram(Sender):
    """Unix datagram."""

    option = "datagram"
    answer = "none"


class Udp(Sender):
    """UDP."""

    option = "udp"
    answer = "none"


def _choose(environment: Environment, **_: Any) -> None:
    """Leaves out the users whose listener was not named."""
    options: Any = environment.parsed_options
    chosen = [user for user in (StreamAccepted, StreamDelivered, Datagram, Udp) if getattr(options, user.option)]
    environment.user_classes = list(chosen)


def _watch(environment: Environment, **_: Any) -> None:
    options: Any = environment.parsed_options
    if options.kafka:
        threading.Thread(target=_consume, args=(environment, options.kafka, options.topic), daemon=True).start()


def _consume(environment: Environment, bootstrap: str, topic: str) -> None:
    """Books how old each datagram's record is when the consumer sees it, to some CONSUMER_PAUSE_S.

    gevent cannot switch away from librdkafka's waiting, so this asks without waiting and sleeps by itself.
    """
    from confluent_kafka import OFFSET_END, Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "ingestd-locust",
            "fetch.wait.max.ms": 5,
            "enable.auto.commit": False,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_END) for partition in partitions])
    book: Any = environment.events.request.fire
    while True:
        time.sleep(CONSUMER_PAUSE_S)
        messages = consumer.consume(500, 0)
        now_ns = time.time_ns()
        for message in messages:
            value = message.value() or b""
            mark = value[STAMP_BYTES + 1 :].split(b" ", 1)[0].decode()
            if message.error() is None and mark in ("datagram", "udp"):
                book(
                    request_type=mark,
                    name="delivered",
                    response_time=(now_ns - int(value[:STAMP_BYTES])) / 1e6,
                    response_length=len(value),
                    exception=None,
                    context={},
                )


HOOKS: Any = events
HOOKS.init_command_line_parser.add_listener(_options)
HOOKS.init.add_listener(_choose)
HOOKS.test_start.add_listener(_watch)
