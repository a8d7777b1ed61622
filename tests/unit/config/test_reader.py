"""The reader as a whole: a good file gives a complete model, a bad one gives every fault with key, value and cure."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import config
from ingestd.client.address import Address
from ingestd.config.faults import toml_key, toml_text
from ingestd.config.model import NEVER_MS, Config, Key, Topic
from ingestd.config.reader import parse
from ingestd.config.settings import DAEMON, LISTENER, PRODUCER, TOPIC
from ingestd.errors import ConfigurationError, ExitStatus, Fault

PRODUCER_SECTION = '[producer]\nbootstrap.servers = ["kafka-1:9092"]\n'
LISTENER_SECTION = (
    '[[listeners]]\nname = "log"\nlisten = "unix-datagram:/run/i/log.sock"\nformat = "raw"\ntopic = "logs"\n'
)
FULL = """
[daemon]
workers = 2
state.directory = "/var/lib/ingestd"
arena.directory = "/dev/shm/ingestd"
durability = "process"

[producer]
bootstrap.servers = ["kafka-1:9092", "[::1]:9093"]
acks = "all"
enable.idempotence = true
linger.ms = 7
"batch.size" = 65536
buffer.memory = 67108864
compression.type = "zstd"
send.buffer.bytes = 1048576

[topics.orders]
partitions = 12
delivery.timeout.ms = 600000
compression.type = "lz4"

[topics."logs.app"]
linger.ms = 50

[[listeners]]
name = "app"
listen = "unix-stream:/run/ingestd/app.sock"
format = "frames"
topics = ["orders", "logs.app"]

[[listeners]]
name = "devices"
listen = "udp:127.0.0.1:5514"
format = "lines"
topic = "readings"
key = { field = 1, delimiter = "\\t" }
headers = { host = "gateway-7", app.version = "1" }
when_full = "block"
"""


def faults_of(text: str) -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.exit_status is ExitStatus.CONFIGURATION
    return caught.value.faults


def test_a_full_file_is_read_as_written() -> None:
    read = parse(FULL)
    assert (read.daemon.workers, read.daemon.arena_directory) == (2, "/dev/shm/ingestd")
    assert read.producer.bootstrap_servers == ("kafka-1:9092", "[::1]:9093")
    assert (read.producer.linger_ms, read.producer.batch_size, read.producer.acks) == (7, 65536, -1)
    assert read.topics == (
        Topic("orders", partitions=12, compression_type="lz4", delivery_timeout_ms=600_000),
        Topic("logs.app", linger_ms=50),
        Topic("readings"),
    )
    app, devices = read.listeners
    assert app.address == Address("unix-stream", "/run/ingestd/app.sock")
    assert (app.topics, app.topic, app.timestamp, app.when_full) == (("orders", "logs.app"), None, "record", "block")
    assert devices.key == Key("field", 1, "\t")
    assert devices.headers == (("host", b"gateway-7"), ("app.version", b"1"))
    assert (devices.timestamp, devices.when_full, devices.record_bytes_max) == ("arrival", "block", 1_048_494)


def test_what_is_left_out_has_kafkas_defaults_but_for_the_named_ones() -> None:
    read = parse(PRODUCER_SECTION + LISTENER_SECTION)
    producer = read.producer
    assert producer.delivery_timeout_ms is None
    assert (producer.batch_size, producer.buffer_memory) == (131_072, 67_108_864)
    assert (producer.acks, producer.enable_idempotence, producer.linger_ms) == (-1, True, 5)
    assert (producer.request_timeout_ms, producer.max_request_size, producer.max_block_ms) == (30_000, 1 << 20, 60_000)
    assert (producer.max_in_flight_requests_per_connection, producer.retries) == (5, 2**31 - 1)
    assert (producer.topic_denied_timeout_ms, producer.metadata_max_age_ms) == (600_000, 300_000)
    assert (read.daemon.workers, read.daemon.state_directory, read.daemon.arena_directory) == (
        1,
        "/var/lib/ingestd",
        "/var/lib/ingestd",
    )
    listener = read.listeners[0]
    assert (listener.mode, listener.shards, listener.timestamp_future_ms) == (0o660, 1, 3_000_000)
    assert listener.timestamp_past_ms == 7 * 86_400_000


def test_the_shedding_default_is_that_of_the_socket() -> None:
    udp = '[[listeners]]\nname = "u"\nlisten = "udp:[::1]:5514"\nformat = "raw"\ntopic = "t"\n'
    read = parse(PRODUCER_SECTION + LISTENER_SECTION + udp)
    assert [listener.when_full for listener in read.listeners] == ["block", "shed_newest"]


def test_workers_auto_is_one_per_core() -> None:
    read = parse('[daemon]\nworkers = "auto"\n' + PRODUCER_SECTION + LISTENER_SECTION)
    assert read.daemon.workers == len(os.sched_getaffinity(0))


def test_reconnect_backoff_alone_sets_both_as_in_kafka() -> None:
    read = parse(PRODUCER_SECTION + "reconnect.backoff.ms = 70\n" + LISTENER_SECTION)
    assert (read.producer.reconnect_backoff_ms, read.producer.reconnect_backoff_max_ms) == (70, 70)


@pytest.mark.parametrize("level", ['"all"', '" ALL "', "-1", '"-1"'])
def test_acks_all_has_several_spellings(level: str) -> None:
    assert parse(PRODUCER_SECTION + f"acks = {level}\n" + LISTENER_SECTION).producer.acks == -1


def test_acks_one_needs_idempotence_off_and_then_is_taken() -> None:
    text = PRODUCER_SECTION + "acks = 1\n"
    assert [fault.key for fault in faults_of(text + LISTENER_SECTION)] == ["producer.acks"]
    assert parse(text + "enable.idempotence = false\nretries = 0\n" + LISTENER_SECTION).producer.acks == 1


def test_the_model_survives_its_way_to_a_worker() -> None:
    read = parse(FULL)
    assert msgspec.json.decode(msgspec.json.encode(read), type=Config) == read


def test_a_topics_own_settings_go_before_the_producers() -> None:
    text = (
        PRODUCER_SECTION + "delivery.timeout.ms = 60000\n[topics.logs]\ndelivery.timeout.ms = 'never'\nlinger.ms = 0\n"
    )
    read = parse(text + LISTENER_SECTION)
    topic = read.topics[0]
    assert topic.delivery_timeout_ms == NEVER_MS
    settings = read.topic_settings(topic)
    assert (settings.delivery_timeout_ms, settings.linger_ms, settings.batch_size) == (None, 0, 131_072)
    assert read.topic_settings(Topic("other")).delivery_timeout_ms == 60_000


CASES: list[tuple[str, str, str, str]] = [
    # (what is added to a good file, key, value as shown, part of text and cure)
    ("linger.ms = 5\n" + PRODUCER_SECTION, "linger.ms", "5", "Move it below [producer]"),
    ("[deamon]\n" + PRODUCER_SECTION, "deamon", "", "Did you mean daemon?"),
    ("daemon = 3\n" + PRODUCER_SECTION, "daemon", "3", "Write it as [daemon]"),
    ("topics = 3\n" + PRODUCER_SECTION, "topics", "3", "Write [topics.NAME]"),
    ("", "producer.bootstrap.servers", "", "missing"),
    ("[daemon]\nworkers = 0\n" + PRODUCER_SECTION, "daemon.workers", "0", 'from 1 to 128, or "auto"'),
    ("[daemon]\nworkers = true\n" + PRODUCER_SECTION, "daemon.workers", "true", "not a whole number"),
    (
        '[daemon]\nadmin.listen = "127.0.0.1"\n' + PRODUCER_SECTION,
        "daemon.admin.listen",
        '"127.0.0.1"',
        'has no port. Write it like "127.0.0.1:9464"',
    ),
    ('[daemon]\ndurability = "power"\n' + PRODUCER_SECTION, "daemon.durability", '"power"', "not yet"),
    ('[daemon]\ndurability = "disk"\n' + PRODUCER_SECTION, "daemon.durability", '"disk"', '"process", "memory"'),
    (
        '[daemon]\nstate.directory = "state"\n' + PRODUCER_SECTION,
        "daemon.state.directory",
        '"state"',
        "Begin it with /",
    ),
    ("[daemon]\npressure.low = 0.95\n" + PRODUCER_SECTION, "daemon.pressure.low", "0.95", "not below pressure.high"),
    ("[daemon]\npressure.high = 90\n" + PRODUCER_SECTION, "daemon.pressure.high", "90", "such as 0.9"),
    ("[daemon]\nlinger.ms = 5\n" + PRODUCER_SECTION, "daemon.linger.ms", "5", "Move it to [producer]"),
    (PRODUCER_SECTION + "workers = 2\n", "producer.workers", "2", "Move it to [daemon]"),
    (PRODUCER_SECTION + "lingr.ms = 5\n", "producer.lingr.ms", "5", "Did you mean linger.ms?"),
    (PRODUCER_SECTION + "linger_ms = 5\n", "producer.linger_ms", "5", "Did you mean linger.ms?"),
    (PRODUCER_SECTION + "zzz = {}\n", "producer.zzz", "{}", "unknown key"),
    (PRODUCER_SECTION + 'linger.ms = "5"\n', "producer.linger.ms", '"5"', "Write 5 without them"),
    (PRODUCER_SECTION + "linger.ms = 5.0\n", "producer.linger.ms", "5.0", "not a whole number"),
    (PRODUCER_SECTION + "linger.ms = -1\n", "producer.linger.ms", "-1", "from 0"),
    (PRODUCER_SECTION + 'linger.ms = 5\n"linger.ms" = 5\n', "producer.linger.ms", "5", "given twice"),
    (PRODUCER_SECTION + "acks = 2\n", "producer.acks", "2", 'Use "all", 1 or 0'),
    (PRODUCER_SECTION + "acks = 0\n", "producer.acks", "0", "enable.idempotence = false"),
    (PRODUCER_SECTION + "retries = 0\n", "producer.retries", "0", "contradicts"),
    (PRODUCER_SECTION + "compression.gzip.level = 0\n", "producer.compression.gzip.level", "0", "1 to 9, or -1"),
    (PRODUCER_SECTION + "compression.lz4.level = 18\n", "producer.compression.lz4.level", "18", "from 1 to 17"),
    (PRODUCER_SECTION + "compression.zstd.level = 23\n", "producer.compression.zstd.level", "23", "-131072 to 22"),
    (
        PRODUCER_SECTION + '[topics.logs]\ncompression.gzip.level = "best"\n',
        "topics.logs.compression.gzip.level",
        '"best"',
        "not a whole number",
    ),
    (PRODUCER_SECTION + 'compression.type = "brotli"\n', "producer.compression.type", '"brotli"', "Use one of"),
    (PRODUCER_SECTION + "delivery.timeout.ms = 30000\n", "producer.delivery.timeout.ms", "30000", "at least 30005"),
    (PRODUCER_SECTION + 'delivery.timeout.ms = "ever"\n', "producer.delivery.timeout.ms", '"ever"', 'or "never"'),
    (PRODUCER_SECTION + "batch.size = 1048577\n", "producer.batch.size", "1048577", "max.request.size = 1048576"),
    (
        PRODUCER_SECTION + "batch.size = 262144\nbuffer.memory = 4194304\n",
        "producer.batch.size",
        "262144",
        "at most 249856",
    ),
    (
        PRODUCER_SECTION + "buffer.memory = 4194304\n[topics.logs]\nbatch.size = 258049\n",
        "topics.logs.batch.size",
        "258049",
        "raise buffer.memory",
    ),
    (PRODUCER_SECTION + "buffer.memory = 4194303\n", "producer.buffer.memory", "4194303", "at least 4194304"),
    (PRODUCER_SECTION + "max.request.size = 67108864\n", "producer.buffer.memory", "67108864", "at least 268435456"),
    (PRODUCER_SECTION + "metadata.max.idle.ms = 4999\n", "producer.metadata.max.idle.ms", "4999", "from 5000"),
    (
        PRODUCER_SECTION + 'client.dns.lookup = "default"\n',
        "producer.client.dns.lookup",
        '"default"',
        "use_all_dns_ips",
    ),
    (PRODUCER_SECTION + "send.buffer.bytes = -2\n", "producer.send.buffer.bytes", "-2", "from -1"),
    (PRODUCER_SECTION + 'security.protocol = "TLS"\n', "producer.security.protocol", '"TLS"', "not a known"),
    (PRODUCER_SECTION + "ssl.key.password = 1234\n", "producer.ssl.key.password", '"***"', "not a string"),
    (PRODUCER_SECTION + 'transactional.id = "x"\n', "producer.transactional.id", '"x"', "no transactions"),
    (PRODUCER_SECTION + "partitions = 3\n", "producer.partitions", "3", "Move it to [topics.NAME]"),
    (PRODUCER_SECTION + "[topics.logs]\nacks = 1\n", "topics.logs.acks", "1", "Move it to [producer]"),
    (PRODUCER_SECTION + "[topics.logs]\nbatch.size = 2097152\n", "topics.logs.batch.size", "2097152", "would not fit"),
    (PRODUCER_SECTION + "[topics.logs]\npartitions = 0\n", "topics.logs.partitions", "0", "from 1"),
    (PRODUCER_SECTION + "[topics.logs]\ndelivery.timeout.ms = 1\n", "topics.logs.delivery.timeout.ms", "1", "30005"),
    (PRODUCER_SECTION + "[topics.log]\n", "topics.log", "", "Did you mean [topics.logs]?"),
    (PRODUCER_SECTION + "[topics.logs.app]\n", "topics.logs.app", "", '[topics."logs.app"]'),
    (PRODUCER_SECTION + "[topics.logs.app.web]\nlinger.ms = 1\n", "topics.logs.app.web", "", '[topics."logs.app.web"]'),
    (PRODUCER_SECTION + "[topics.logs.app]\nlinger.ms = 1\n", "topics.logs.app", "", '[topics."logs.app"]'),
    (PRODUCER_SECTION + "[topics.__offsets]\n", "topics.__offsets", "", "internal topic"),
    (PRODUCER_SECTION + '[topics."a b"]\n', 'topics."a b"', "", "not a topic name"),
]


@pytest.mark.parametrize(("text", "key", "value", "part"), CASES)
def test_a_fault_is_told_with_key_value_and_cure(text: str, key: str, value: str, part: str) -> None:
    found = faults_of(text + LISTENER_SECTION)
    assert [(fault.key, fault.value) for fault in found] == [(key, value)]
    assert part in str(found[0])
    assert found[0].cure


def test_servers_are_checked_one_by_one() -> None:
    for seeds, part in {
        '["kafka-1"]': "not host:port",
        '["::1:9092"]': "not host:port",
        '["kafka-1:0"]': "no legal port",
        '["kafka-1:99999"]': "no legal port",
        '["a:1", "a:1"]': "twice",
        '["a:1", "kafka..svc:9092"]': "kafka..svc:9092 has an empty part",
        f'["{"a" * 64}.svc:9092"]': "more than 63 bytes",
        "[]": "no broker",
        '"kafka-1:9092"': "not a list",
    }.items():
        found = faults_of(f"[producer]\nbootstrap.servers = {seeds}\n{LISTENER_SECTION}")
        assert [fault.key for fault in found] == ["producer.bootstrap.servers"]
        assert part in found[0].text


def test_every_fault_of_a_file_is_found_in_one_go() -> None:
    text = '[daemon]\nworkers = 0\n[producer]\nlinger.ms = "5"\nacks = 1\n[[listeners]]\nname = "x"\nformat = "raw"\n'
    assert [fault.key for fault in faults_of(text)] == [
        "daemon.workers",
        "producer.linger.ms",
        "producer.bootstrap.servers",
        "producer.acks",
        "listeners.x.listen",
    ]


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[daemon]\n# caf\xe9\n")
    broken = tmp_path / "broken.toml"
    broken.write_text("[daemon\n")
    none = tmp_path / "none.toml"
    for path, part in ((none, "cannot be read"), (tmp_path, "cannot be read"), (latin, "latin.toml:2: not UTF-8")):
        with pytest.raises(ConfigurationError) as caught:
            config.load(path)
        assert part in str(caught.value)
    with pytest.raises(ConfigurationError, match="line 1"):
        config.load(broken)


def test_a_good_file_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "ingestd.toml"
    path.write_text(FULL)
    assert config.load(path) == parse(FULL)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=5,
)
NAMES = st.one_of(
    st.sampled_from([*DAEMON, *PRODUCER, *TOPIC, *LISTENER, "topics", "daemon", "x.y"]), st.text(max_size=12)
)
SECTIONS = st.dictionaries(NAMES, VALUES, max_size=6)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "daemon": st.one_of(SECTIONS, VALUES),
        "producer": st.one_of(SECTIONS, VALUES),
        "topics": st.one_of(st.dictionaries(st.text(max_size=8), st.one_of(SECTIONS, VALUES), max_size=3), VALUES),
        "listeners": st.one_of(st.lists(st.one_of(SECTIONS, VALUES), max_size=3), VALUES),
        "other": VALUES,
    },
)


@given(DOCUMENTS)
def test_whatever_stands_in_a_file_it_is_read_or_refused(document: dict[str, Any]) -> None:
    text = "\n".join(f"{toml_key(key) or toml_text(key)} = {toml_text(value)}" for key, value in document.items())
    try:
        parse(text)
    except ConfigurationError as refused:
        assert refused.faults
        assert all(fault.key and fault.text and fault.cure and "\n" not in str(fault) for fault in refused.faults)
    else:
        pytest.fail("no file without bootstrap.servers is good")
