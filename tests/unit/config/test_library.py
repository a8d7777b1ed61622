"""A program's dict of Kafka's names: Kafka's defaults, Kafka's and Python's values, every fault at once."""

from typing import Any

import msgspec
import pytest

from ingestd.config.library import read_library_settings
from ingestd.config.model import Producer
from ingestd.errors import ConfigurationError

SEEDS: dict[str, Any] = {"bootstrap.servers": "a:9092"}


def faults(**config: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        read_library_settings({**SEEDS, **{name.replace("_", "."): value for name, value in config.items()}})
    return [str(fault) for fault in raised.value.faults]


def test_defaults_are_kafkas_own() -> None:
    producer, objects, notes = read_library_settings(SEEDS)
    assert (producer.acks, producer.enable_idempotence, producer.linger_ms) == (-1, True, 5)
    assert (producer.batch_size, producer.buffer_memory) == (16_384, 33_554_432)
    assert (producer.delivery_timeout_ms, producer.max_block_ms) == (120_000, 60_000)
    assert (producer.send_buffer_bytes, producer.receive_buffer_bytes) == (131_072, 32_768)
    assert (producer.client_id, objects, notes) == ("", {}, [])


def test_every_default_is_of_the_kind_that_its_field_has() -> None:
    """A default is not read as a value is: nothing else would say that it cannot be used."""
    producer = read_library_settings(SEEDS).producer
    assert msgspec.convert(msgspec.structs.asdict(producer), Producer, strict=True) == producer


@pytest.mark.parametrize(
    "config",
    [
        {"bootstrap.servers": "a:1, b:2", "acks": "1", "enable.idempotence": "false", "linger.ms": " 7 "},
        {"bootstrap.servers": ["a:1", "b:2"], "acks": 1, "enable.idempotence": False, "linger.ms": 7},
        {"bootstrap.servers": ("a:1", "b:2"), "acks": "1", "enable.idempotence": False, "linger.ms": 7},
    ],
)
def test_values_may_be_kafkas_or_pythons(config: dict[str, Any]) -> None:
    producer = read_library_settings(config).producer
    assert producer.bootstrap_servers == ("a:1", "b:2")
    assert (producer.acks, producer.enable_idempotence, producer.linger_ms) == (1, False, 7)


@pytest.mark.parametrize("name", ["key.serializer", "value.serializer", "partitioner.class"])
def test_none_is_kafkas_default_where_an_object_may_stand(name: str) -> None:
    found = read_library_settings({**SEEDS, name: None})
    assert (found.objects, found.notes, found.producer.partitioner_class) == ({}, [], "")


@pytest.mark.parametrize(
    "name",
    ["sasl.jaas.config", "ssl.truststore.location", "ssl.cipher.suites", "sasl.login.read.timeout.ms", "ssl.provider"],
)
def test_none_is_kafkas_null_and_changes_nothing(name: str) -> None:
    assert read_library_settings({**SEEDS, name: None}) == read_library_settings(SEEDS)


@pytest.mark.parametrize("name", ["bootstrap.servers", "acks", "ssl.endpoint.identification.algorithm", "linger_ms"])
def test_none_is_no_value_where_kafka_has_a_default(name: str) -> None:
    with pytest.raises(ConfigurationError):
        read_library_settings({**SEEDS, name: None})


def test_a_dict_is_no_value_and_is_not_shown() -> None:
    assert faults(delivery={"timeout.ms": 5000}) == [
        'delivery: a dict. Write whole names, such as "ssl.truststore.location"'
    ]
    told = faults(ssl={1: 2}, sasl={"password": "hunter2"}, bootstrap_servers={})
    assert [line.partition(":")[0] for line in told] == ["bootstrap.servers", "ssl", "sasl"]
    assert "hunter2" not in "".join(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sasl.password", "${file:/run/pw}"),
        ("sasl.password", " ${KAFKA_PASSWORD} "),
        ("sasl.jaas.config", 'org.x.PlainLoginModule required password="${env:KAFKA_PASSWORD}";'),
        ("bootstrap.servers", ["${file:/run/seeds:servers}"]),
        ("client.id", "${HOSTNAME}"),
    ],
)
def test_a_variable_is_a_fault_and_not_a_value(name: str, value: object) -> None:
    [fault] = faults(**{name: value})
    assert fault.startswith(f"{name} = ")
    assert "Read it in the program" in fault


@pytest.mark.parametrize("password", ["${", "a${b}c", "${}", "$${A}", "${1}", "$NAME"])
def test_a_password_may_look_a_little_like_a_variable(password: str) -> None:
    login = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "u"}
    found = read_library_settings({**SEEDS, **login, "sasl.password": password})
    assert found.producer.sasl_password.reveal() == password


def test_nobody_is_told_to_write_a_variable() -> None:
    assert "${" not in "".join(faults(config_providers="env", sasl_password=5))


def test_an_unknown_key_is_a_fault_with_the_nearest_name() -> None:
    assert faults(**{"linger_msec": 5}) == ["linger.msec = 5: unknown key. Did you mean linger.ms?"]


@pytest.mark.parametrize("name", ["sasl.pasword", "sasl.passwd", "kafka.pw"])
@pytest.mark.parametrize("value", ["hunter2", "hunter2${file:x}"])
def test_the_value_of_an_unknown_key_may_be_a_secret(name: str, value: str) -> None:
    [fault] = faults(**{name: value})
    assert "unknown key" in fault
    assert "hunter2" not in fault


def test_a_secret_that_is_no_utf_8_is_a_fault_of_its_own() -> None:
    [fault] = faults(sasl_password="\udcff")
    assert fault.startswith('sasl.password = "***": not UTF-8')


def test_a_buffer_too_small_for_any_batch_says_so() -> None:
    told = "\n".join(faults(buffer_memory=1000))
    assert "Raise buffer.memory" in told
    assert "-" not in told.replace("batch.size", "")


def test_all_faults_are_told_at_once_by_their_plain_names() -> None:
    told = "\n".join(faults(acks="0", linger_ms="soon", batch_size=-1, compression_type="rar"))
    for part in ("acks = 0: contradicts", 'linger.ms = "soon"', "batch.size = -1", 'compression.type = "rar"'):
        assert part in told
    assert "producer." not in told


def test_bootstrap_servers_must_be_given() -> None:
    with pytest.raises(ConfigurationError, match=r"bootstrap\.servers: missing"):
        read_library_settings({})


def test_transactions_are_refused() -> None:
    assert "there are no transactions" in faults(transactional_id="t")[0]


def test_a_default_delivery_timeout_gives_way_and_an_explicit_one_does_not() -> None:
    slow = {**SEEDS, "request.timeout.ms": 200_000}
    assert read_library_settings(slow).producer.delivery_timeout_ms == 200_005
    assert "delivery.timeout.ms = 1000: less than" in faults(delivery_timeout_ms=1000)[0]


def test_objects_of_the_program_are_handed_through() -> None:
    serializer, partitioner = object(), object()
    objects = {"key.serializer": serializer, "value.serializer": "x.Y", "partitioner.class": partitioner}
    assert read_library_settings({**SEEDS, **objects}).objects == objects


def test_partitioners_by_name() -> None:
    named = {**SEEDS, "partitioner.class": "round_robin", "partitioner.ignore.keys": "false"}
    assert read_library_settings(named).producer.partitioner_class == "round_robin"
    assert "the class is at hand" in faults(partitioner_class="ingestd.partitioner:Partitioner")[0]


def test_what_changes_nothing_is_noted() -> None:
    [note] = read_library_settings({**SEEDS, "enable.metrics.push": "true"}).notes
    assert note.startswith("enable.metrics.push: changes nothing here")


def test_the_daemons_own_file_settings_have_no_place_here() -> None:
    assert "properties.file" in faults(properties_file="/x")[0]
