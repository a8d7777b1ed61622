"""Java and its producer against what we make of their files: the format, the settings, and one file for both."""

import random
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from ingestd.config.faults import RefusedError
from ingestd.config.properties import parse_properties
from tests.kafka import artifacts
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.reader import read_topic
from tests.reference.kafka_settings import kafka_settings

PROGRAMS = Path(__file__).with_name("java")
PIECES = ["a", "b.c", "=", ":", " ", "\t", "\f", "\\", "\\\\", "\n", "\r", "\r\n", "#", "!", "\\u00e4", "\\u12", "\\n"]
PIECES += ["\xe4", "\\=", "\\:", "\\ ", "\\\n", "\\\r\n", "${x}", '"', ";", "0"]
FILES = 400


def test_every_file_is_read_as_java_reads_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = {f"{n:04}": "".join(chance.choices(PIECES, k=chance.randrange(30))) for n in range(FILES)}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    lines = java("DumpProperties", str(tmp_path))
    assert len(lines) == FILES
    for line in lines:
        name, *words = line.split(" ")
        assert ours(texts[name]) == theirs(words), repr(texts[name])


def java(program: str, *arguments: str) -> list[str]:
    """The lines that a program of the folder ``java`` prints."""
    return run_java([str(PROGRAMS / f"{program}.java"), *arguments], "").splitlines()


def run_java(words: list[str], given: str) -> str:
    """Runs Java with Kafka's jars; ``given`` is what it reads."""
    class_path = ":".join(map(str, artifacts.jars()))
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", class_path, *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=60).stdout


APPLICATION = """\
# The order service's producer, as it has been for years
bootstrap.servers = PLAINTEXT://{bootstrap}
client.id: order-service
acks=all
retries=2147483647
enable.idempotence=TRUE
max.in.flight.requests.per.connection = 5
linger.ms=20
batch.size 32768
compression.type=\\
    lz4
delivery.timeout.ms=120000
request.timeout.ms=30000
key.serializer=org.apache.kafka.common.serialization.StringSerializer
value.serializer=org.apache.kafka.common.serialization.StringSerializer
enable.metrics.push=false
metrics.recording.level=INFO
security.protocol=PLAINTEXT
schema.registry.url=http://registry.example.com:8081
"""


def test_the_file_of_a_java_application_starts_the_daemon(
    kafka: Cluster, topic_name: str, tmp_path: Path, make_daemon: Callable[..., Daemon]
) -> None:
    kafka.create_topic(topic_name)
    file = tmp_path / "producer.properties"
    file.write_text(APPLICATION.replace("{bootstrap}", kafka.bootstrap))
    listener = {"name": "app", "listen": "unix-stream:{sockets}/app", "format": "lines", "topic": topic_name}
    daemon = make_daemon("unused:1", [listener], workers=1)
    text, count = re.subn(
        r'"bootstrap.servers" = .*\n', f'"properties.file" = "{file}"\n', daemon.configuration.read_text()
    )
    assert count == 1
    daemon.configuration.write_text(text)
    daemon.start()
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(f"{daemon.sockets}/app")
        sender.sendall(b"of the daemon\n")
    daemon.wait_settled(1)
    log = daemon.log.read_text()
    for name in ("enable.metrics.push", "metrics.recording.level", "schema.registry.url"):
        assert len(re.findall(rf"WARNING .*{re.escape(file.name)}:\d+: .*{re.escape(name)}", log)) == 1, log
    # The same file is one that Kafka's own producer takes.
    words = ["org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", kafka.bootstrap, "--topic", topic_name]
    run_java([*words, "--producer.config", str(file)], "of Java\n")
    assert [record.value for record in read_topic(kafka.direct, topic_name)] == [b"of the daemon", b"of Java"]


def test_the_written_out_settings_are_those_of_kafkas_producer() -> None:
    found = {}
    for line in java("PrintProducerConfig"):
        name, kind, default, validator = line.split("\t")
        found[name] = (kind, default, validator if "..." in validator else "")
    assert found == {row.name: (row.type, row.default, row.range) for row in kafka_settings()}


def theirs(words: list[str]) -> dict[str, str] | None:
    if words == ["malformed"]:
        return None
    pairs = (word.split("=") for word in words if word)
    return {text_of(name): text_of(value) for name, value in pairs}


def text_of(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal).decode("utf-16-be", "replace")


def ours(text: str) -> dict[str, str] | None:
    try:
        return {entry.name: entry.value for entry in parse_properties(text)}
    except RefusedError:
        return None
