"""A Java producer's properties file, as it is, below what the TOML says."""

from pathlib import Path

import pytest

from ingestd.config import reader
from ingestd.config.reader import Loaded
from ingestd.errors import ConfigurationError, Fault

LISTENER = '[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "t"\n'
REAL_LIFE = """\
# Producer of the order service
bootstrap.servers=kafka-1.example.com:9092, kafka-2.example.com:9092,\\
                  PLAINTEXT://kafka-3.example.com:9092
client.id = order-service
acks=all
retries: 10
enable.idempotence=TRUE
batch.size=32768
linger.ms=20
buffer.memory=33554432
compression.type=lz4
delivery.timeout.ms=120000
request.timeout.ms 30000
max.in.flight.requests.per.connection=5
key.serializer=org.apache.kafka.common.serialization.StringSerializer
value.serializer=org.apache.kafka.common.serialization.ByteArraySerializer
! metrics of the old days
metric.reporters=
metrics.recording.level=DEBUG
enable.metrics.push=false
security.providers=com.example.Provider
schema.registry.url=http://registry:8081
group.id=orders
"""


def load(folder: Path, properties: str, toml: str = "") -> Loaded:
    (folder / "producer.properties").write_text(properties, encoding="latin-1")
    path = folder / "ingestd.toml"
    path.write_text(f'[producer]\nproperties.file = "producer.properties"\n{toml}\n{LISTENER}')
    return reader.load([path])


def faults_of(folder: Path, properties: str, toml: str = "") -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, properties, toml)
    return caught.value.faults


def test_a_file_of_a_java_application_is_taken_as_it_is(tmp_path: Path) -> None:
    loaded = load(tmp_path, REAL_LIFE)
    producer = loaded.config.producer
    assert producer.bootstrap_servers == tuple(f"kafka-{number}.example.com:9092" for number in (1, 2, 3))
    assert (producer.client_id, producer.acks, producer.retries, producer.enable_idempotence) == (
        "order-service",
        -1,
        10,
        True,
    )
    assert (producer.batch_size, producer.linger_ms, producer.delivery_timeout_ms) == (32_768, 20, 120_000)
    assert loaded.sources.exactly("producer.linger.ms").place == f"{tmp_path}/producer.properties:9"


def test_a_path_that_no_file_can_have_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ingestd.toml").write_text(f'[producer]\nproperties.file = "a\\u0000b"\n{LISTENER}')
    with pytest.raises(ConfigurationError, match=r"properties\.file"):
        reader.load([tmp_path / "ingestd.toml"])


def test_each_setting_that_changes_nothing_is_told_once(tmp_path: Path) -> None:
    notes = load(tmp_path, REAL_LIFE).notes
    file = f"{tmp_path}/producer.properties"
    for line, name in ((18, "metric.reporters"), (19, "metrics.recording.level"), (21, "security.providers")):
        (note,) = [note for note in notes if name in note]
        assert note.startswith(f"{file}:{line}: producer.{name}: changes nothing here")
    for line, name in ((22, "schema.registry.url"), (23, "group.id")):
        assert f"{file}:{line}: {name} is no setting of Kafka's producer, and left out" in notes
    assert not [note for note in notes if "serializer" in note]


def test_the_same_settings_in_the_toml_are_told_and_no_fault(tmp_path: Path) -> None:
    text = 'bootstrap.servers = ["k:1"]\nenable.metrics.push = true\nssl.provider = "x"\n'
    text += 'key.serializer = "org.apache.kafka.common.serialization.VoidSerializer"\n'
    notes = load(tmp_path, "", text).notes
    assert [note.split(": ")[1] for note in notes] == ["producer.enable.metrics.push", "producer.ssl.provider"]


def test_the_toml_goes_before_the_file_and_says_so(tmp_path: Path) -> None:
    loaded = load(tmp_path, "bootstrap.servers=a:1\nlinger.ms=1\n", 'linger.ms = 2\n"bootstrap.servers" = ["b:1"]\n')
    assert (loaded.config.producer.linger_ms, loaded.config.producer.bootstrap_servers) == (2, ("b:1",))
    file = f"{tmp_path}/producer.properties"
    assert f"{tmp_path}/ingestd.toml: producer.linger.ms: counts, and not {file}:2" in loaded.notes


def test_a_name_that_begins_with_another_settings_name_is_no_obstacle(tmp_path: Path) -> None:
    text = "bootstrap.servers=a:1\nbuffer.memory=40000000\nbuffer.memory.allocation.strategy=full\n"
    assert load(tmp_path, text).config.producer.buffer_memory == 40_000_000
    assert load(tmp_path, text, "buffer.memory = 50000000\n").config.producer.buffer_memory == 50_000_000


@pytest.mark.parametrize(
    ("line", "key", "part"),
    [
        ("linger.ms=5s", "producer.linger.ms", "not a whole number"),
        ("enable.idempotence=yes", "producer.enable.idempotence", "neither true nor false"),
        ("acks=1", "producer.acks", "enable.idempotence"),
        ("transactional.id=x", "producer.transactional.id", "no transactions"),
        ("interceptor.classes=com.example.Audit", "producer.interceptor.classes", "no Java virtual machine"),
        ("partitioner.rack.aware=true", "producer.partitioner.rack.aware", "racks"),
        ("key.serializer=io.confluent.kafka.serializers.KafkaAvroSerializer", "producer.key.serializer", "KafkaAvro"),
        (
            "value.serializer=org.apache.kafka.common.serialization.LongSerializer",
            "producer.value.serializer",
            'value_serializer=...) whose serialize() returns struct.pack(">q", value)',
        ),
    ],
)
def test_what_cannot_be_taken_is_a_fault_with_file_and_line(tmp_path: Path, line: str, key: str, part: str) -> None:
    found = faults_of(tmp_path, f"bootstrap.servers=a:1\n{line}\n")
    assert [(fault.key, fault.file) for fault in found] == [(key, f"{tmp_path}/producer.properties:2")]
    assert part in str(found[0])


def test_a_near_miss_is_told_as_java_tells_it_and_with_the_name_that_was_meant(tmp_path: Path) -> None:
    notes = load(tmp_path, "bootstrap.servers=a:1\nlingr.ms=5\n").notes
    assert [note.partition(": ")[2] for note in notes] == [
        "lingr.ms is no setting of Kafka's producer, and left out. Did you mean linger.ms?"
    ]


def test_the_rest_of_a_broken_secret_is_not_taken_for_a_name_and_shown(tmp_path: Path) -> None:
    text = (
        "bootstrap.servers=a:1\nclient.rack=-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBK\n\u00fc=1\n"
    )
    notes = load(tmp_path, text).notes
    assert "MIIE" not in "".join(notes)
    assert [note.partition(": ")[0][-2:] for note in notes[:2]] == [":3", ":4"]


def test_a_file_that_cannot_be_read_is_a_fault_of_the_setting(tmp_path: Path) -> None:
    (tmp_path / "ingestd.toml").write_text(f'[producer]\nproperties.file = "none"\n{LISTENER}')
    with pytest.raises(ConfigurationError) as caught:
        reader.load([tmp_path / "ingestd.toml"])
    assert caught.value.faults[0].key == "producer.properties.file"
    assert "No such file" in caught.value.faults[0].text
    assert "line 1" in faults_of(tmp_path, "a=\\u12\n")[0].text
    with pytest.raises(ConfigurationError, match="not an absolute path"):
        reader.parse(f'[producer]\nproperties.file = "x"\n{LISTENER}')


PROVIDERS = """\
bootstrap.servers=${env:SEEDS}
client.id=${file:%s/secrets.properties:name}-${directory:%s:zone}
config.providers=file,env,directory
config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
config.providers.directory.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider
config.providers.directory.param.allowed.paths=/run
"""


def test_kafkas_own_configuration_providers_are_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDS", "a:1,b:1")
    (tmp_path / "secrets.properties").write_text("name=orders\n")
    (tmp_path / "zone").write_text("north\n")
    loaded = load(tmp_path, PROVIDERS.replace("%s", str(tmp_path)))
    assert loaded.config.producer.bootstrap_servers == ("a:1", "b:1")
    assert loaded.config.producer.client_id == "orders-north"
    assert loaded.sources.of("producer.client.id").concealed
    monkeypatch.delenv("SEEDS")
    assert [fault.key for fault in faults_of(tmp_path, PROVIDERS.replace("%s", str(tmp_path)))] == [
        "producer.bootstrap.servers"
    ]


def test_what_is_looked_up_loses_its_blanks_and_a_key_may_hold_colons(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.properties"
    secrets.write_text("name=orders\nk\\:x=row \nx=wrong\n")
    secrets.chmod(0o600)
    (tmp_path / "zone").write_text("north \t\n\n")
    text = PROVIDERS.replace("${env:SEEDS}", "a:1") + "ssl.key.password=${file:%s/secrets.properties:k:x}\n"
    loaded = load(tmp_path, text.replace("%s", str(tmp_path)))
    assert loaded.config.producer.client_id == "orders-north"
    assert loaded.config.producer.ssl_key_password.reveal() == "row"
    assert loaded.sources.of("producer.client.id").concealed


def test_only_what_java_takes_for_a_blank_is_trimmed(tmp_path: Path) -> None:
    # An "à" in UTF-8, which Java reads as Latin-1, ends with what Unicode takes for a blank.
    loaded = load(tmp_path, "bootstrap.servers=a:1\nssl.key.password=voil\u00c3\u00a0 \n")
    assert loaded.config.producer.ssl_key_password.reveal() == "voil\u00c3\u00a0"


def test_without_a_provider_a_variable_is_text_as_in_java(tmp_path: Path) -> None:
    assert load(tmp_path, "bootstrap.servers=a:1\nclient.id=${env:HOME}\n").config.producer.client_id == "${env:HOME}"


def test_a_provider_that_needs_java_is_refused(tmp_path: Path) -> None:
    text = "bootstrap.servers=a:1\nclient.id=${vault:x:y}\nconfig.providers=vault\n"
    found = faults_of(tmp_path, text + "config.providers.vault.class=com.example.Vault\n")
    assert (found[0].key, "needs Java" in found[0].text) == ("producer.client.id", True)


def test_a_password_that_a_provider_gives_is_no_path_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text("hunter2\n")
    (tmp_path / "zone").chmod(0o600)
    text = PROVIDERS.replace("${env:SEEDS}", "a:1").replace("client.id=${file:%s/secrets.properties:name}-", "x=")
    found = faults_of(tmp_path, (text + "sasl.login.password.file=${directory:%s:zone}\n").replace("%s", str(tmp_path)))
    assert [(fault.key, fault.value) for fault in found] == [("producer.sasl.login.password.file", '"***"')]
    assert "hunter2" not in str(found)


def test_a_secret_whose_variable_stands_in_a_file_is_not_exposed_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDS", "a:1")
    monkeypatch.setenv("PASSWORD", "hunter2")
    text = PROVIDERS.replace("client.id=${file:%s/secrets.properties:name}-${directory:%s:zone}", "client.id=x")
    for value, noted in (("${env:PASSWORD}", False), ("hunter2", True)):
        load(tmp_path, "bootstrap.servers=a:1\n")
        (tmp_path / "producer.properties").chmod(0o644)
        loaded = load(tmp_path, f"{text}ssl.key.password={value}\n")
        assert any("every user of this host" in note for note in loaded.notes) is noted, value
