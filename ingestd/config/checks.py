"""What must hold between settings, and what an operator should be told though it is no fault."""

import ipaddress
from collections.abc import Sequence

from ingestd.config import admin_address
from ingestd.config.checks_security import check_security, security_notes
from ingestd.config.faults import Faults
from ingestd.config.listeners import places_of
from ingestd.config.model import Config, Daemon, Listener, Producer, Topic, partitioning
from ingestd.config.notes import compression_notes, timing_notes, topic_notes
from ingestd.config.partitioner import check_partitioner
from ingestd.config.plan import ADMIN_NAME
from ingestd.limits import (
    BATCH_OVERHEAD_BYTES,
    BATCHES_IN_DOUBT_MAX,
    BUFFER_MEMORY_MIN,
    PAGE_BYTES,
    RECORD_OVERHEAD_BYTES_MAX,
    RESERVE_BYTES_MAX,
    RESERVE_BYTES_SMALL,
    RESERVE_SHARE,
    RESERVE_SHARE_SMALL,
)

BATCHES_PER_BUFFER_MIN = 4
"""One batch that is sent, one that is compressed, one that is filled, and one to spare."""


def record_bytes_max(max_request_size: int) -> int:
    """Key, value and headers of the largest record that a request can carry, by Kafka's estimate of a batch of one."""
    return max(1, max_request_size - BATCH_OVERHEAD_BYTES - RECORD_OVERHEAD_BYTES_MAX)


def reserve_bytes(buffer_memory: int) -> int:
    """What an arena of that size keeps free for compression and repair."""
    found = max(buffer_memory // RESERVE_SHARE, min(buffer_memory // RESERVE_SHARE_SMALL, RESERVE_BYTES_SMALL))
    return min(found, RESERVE_BYTES_MAX) // PAGE_BYTES * PAGE_BYTES


def batch_size_max(buffer_memory: int) -> int:
    """The largest batch that still can be repaired or split in a full arena: two halves fill up to two pages more, and
    senders of the records may need another.
    """
    return reserve_bytes(buffer_memory) - 3 * PAGE_BYTES


def check_daemon(daemon: Daemon, faults: Faults) -> None:
    if daemon.pressure_low >= daemon.pressure_high:
        text = f"not below pressure.high = {daemon.pressure_high}"
        faults.add("daemon.pressure.low", daemon.pressure_low, text, "Leave a gap, such as 0.75 and 0.9")
    directories = {daemon.arena_directory: "arena.directory", daemon.state_directory: "state.directory"}
    for path, key in directories.items():
        if not path.startswith("/"):
            faults.add(f"daemon.{key}", path, "not an absolute path", "Begin it with /")


def check_admin(daemon: Daemon, listeners: Sequence[Listener], faults: Faults) -> None:
    """``admin.listen`` against the listeners."""
    if daemon.admin_listen is None:
        return
    address = admin_address.parse(daemon.admin_listen)
    for listener in listeners:
        if listener.name == ADMIN_NAME:
            text = "the name that a socket unit gives to the socket of admin.listen"
            faults.add(f"listeners.{listener.name}.name", listener.name, text, "Choose another name")
        if address.path and address.path in places_of(listener, daemon.workers):
            text = f"a path of the listener {listener.name} too"
            faults.add("daemon.admin.listen", daemon.admin_listen, text, "Choose another path")


def check_producer(producer: Producer, given: frozenset[str], faults: Faults) -> None:
    """Contradictions within ``[producer]``; ``given`` holds the names that the file sets."""
    _check_idempotence(producer, given, faults)
    _check_hosts(producer, faults)
    check_security(producer, given, faults)
    check_partitioner("producer.", partitioning(producer), faults)
    _check_delivery_timeout("producer.", producer.delivery_timeout_ms, producer.linger_ms, producer, faults)
    _check_batch_size("producer.", producer.batch_size, producer, faults)
    floor = max(BUFFER_MEMORY_MIN, BATCHES_PER_BUFFER_MIN * producer.max_request_size)
    if producer.buffer_memory < floor:
        text = f"too small for max.request.size = {producer.max_request_size}"
        faults.add("producer.buffer.memory", producer.buffer_memory, text, f"Write at least {floor}")


def _check_hosts(producer: Producer, faults: Faults) -> None:
    """A host whose name no resolver can be asked for."""
    for seed in producer.bootstrap_servers:
        host = seed.rpartition(":")[0]
        try:
            host.encode("idna")
        except UnicodeError:
            text = f"{seed} has an empty part or one of more than 63 bytes between its dots"
            faults.add("producer.bootstrap.servers", list(producer.bootstrap_servers), text, "Correct the host's name")


def _check_idempotence(producer: Producer, given: frozenset[str], faults: Faults) -> None:
    """Kafka switches idempotence off in silence where it was not asked for; here that has to be said."""
    if not producer.enable_idempotence:
        return
    off = "enable.idempotence = false"
    if producer.acks != -1:
        how = "set" if "enable.idempotence" in given else "the default"
        text = f"contradicts enable.idempotence = true ({how})"
        faults.add("producer.acks", producer.acks, text, f'Use acks = "all", or write {off} and give up exactly once')
    if producer.retries == 0:
        cure = f"Leave it out, or write {off}"
        faults.add("producer.retries", 0, "contradicts enable.idempotence = true", cure)
    in_flight = producer.max_in_flight_requests_per_connection
    if in_flight > BATCHES_IN_DOUBT_MAX:
        text = f"more than the {BATCHES_IN_DOUBT_MAX} that brokers remember of an idempotent producer"
        cure = f"Write at most {BATCHES_IN_DOUBT_MAX}, or {off}"
        faults.add("producer.max.in.flight.requests.per.connection", in_flight, text, cure)


def _check_delivery_timeout(
    place: str, timeout_ms: int | None, linger_ms: int, producer: Producer, faults: Faults
) -> None:
    if timeout_ms is None:
        return
    floor = linger_ms + producer.request_timeout_ms
    if timeout_ms < floor:
        text = f"less than linger.ms + request.timeout.ms = {floor}"
        cure = f'Write at least {floor}, or "never", or lower the other two'
        faults.add(f"{place}delivery.timeout.ms", timeout_ms, text, cure)


def _check_batch_size(place: str, batch_size: int, producer: Producer, faults: Faults) -> None:
    if batch_size > producer.max_request_size:
        text = f"a batch would not fit into max.request.size = {producer.max_request_size}"
        faults.add(
            f"{place}batch.size", batch_size, text, "Lower it, or raise max.request.size with the broker's limits"
        )
    elif batch_size > batch_size_max(producer.buffer_memory):
        text = f"too large for buffer.memory = {producer.buffer_memory}"
        largest = batch_size_max(producer.buffer_memory)
        cure = f"Write at most {largest}, or raise buffer.memory" if largest > 0 else "Raise buffer.memory"
        faults.add(f"{place}batch.size", batch_size, text, cure)


def check_topic(topic: Topic, config: Config, place: str, faults: Faults) -> None:
    """A topic's own settings against the producer's."""
    settings = config.topic_settings(topic)
    if topic.delivery_timeout_ms is not None or topic.linger_ms is not None:
        _check_delivery_timeout(place, settings.delivery_timeout_ms, settings.linger_ms, config.producer, faults)
    if topic.batch_size is not None:
        _check_batch_size(place, topic.batch_size, config.producer, faults)
    if settings.partitioning != partitioning(config.producer):
        check_partitioner(place, settings.partitioning, faults)


def notes(config: Config) -> list[str]:
    """What is allowed and yet worth a second look, one sentence each."""
    found = []
    producer = config.producer
    if producer.acks != -1:
        found.append(f"acks = {producer.acks} voids the promises: records may be lost or doubled without a report")
    elif not producer.enable_idempotence:
        found.append("enable.idempotence = false: a retry may write a record twice or out of order")
    found += compression_notes(config)
    if config.daemon.durability == "memory":
        found.append('durability = "memory": what is buffered dies with its worker')
    found += timing_notes(producer)
    found += [note for topic in config.topics for note in topic_notes(topic, config)]
    found += security_notes(producer)
    if config.daemon.admin_listen is not None:
        address = admin_address.parse(config.daemon.admin_listen)
        if address.host and not _is_loopback(address.host):
            found.append(f"admin.listen: anybody who reaches {address} can read topics and figures, without a password")
    for listener in config.listeners:
        if listener.address.kind == "udp" and not _is_loopback(listener.address.host):
            found.append(
                f"{listener.name}: anybody who reaches {listener.address} can write, and under any sender address"
            )
        if listener.address.kind == "unix-datagram" and listener.when_full == "block":
            found.append(f"{listener.name}: programs that log to {listener.address.path} hang while the buffer is full")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
