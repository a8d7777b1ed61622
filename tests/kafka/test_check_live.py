"""`ingestd check --live` on a real broker with an authorizer: what it says will happen, and its exit status."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import COMMAND, toml
from tests.kafka.processes import free_ports

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # Brokers and clients of the tests are all User:ANONYMOUS; what has an entry is closed to those who are not in it.
    "allow.everyone.if.no.acl.found": "true",
    "producer.id.expiration.ms": "3600000",
}


def configure(
    folder: Path,
    bootstrap: str,
    topics: Mapping[str, Mapping[str, Any]],
    producer: Mapping[str, Any] | None = None,
    listener: Mapping[str, Any] | None = None,
) -> Path:
    """A configuration with one listener per topic."""
    lines = ["[daemon]", f"state.directory = {toml(str(folder / 'state'))}", "[producer]"]
    lines += [f"{name} = {toml(value)}" for name, value in {"bootstrap.servers": bootstrap.split(",")}.items()]
    lines += [f"{name} = {toml(value)}" for name, value in (producer or {}).items()]
    for number, (topic, settings) in enumerate(topics.items()):
        lines += [f"[topics.{toml(topic)}]", *(f"{name} = {toml(value)}" for name, value in settings.items())]
        table: dict[str, Any] = {"name": f"l{number}", "listen": f"unix-stream:/run/i/{number}"}
        table |= listener or {"format": "lines", "topic": topic}
        lines += ["[[listeners]]", *(f"{name} = {toml(value)}" for name, value in table.items())]
    path = folder / "ingestd.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def check(path: Path) -> tuple[int, str]:
    command = [*COMMAND, "check", "--live", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def grant(cluster: Cluster, topic: str, principal: str, *operations: AclOperation) -> None:
    bindings = [
        AclBinding(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            principal,
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for operation in operations
    ]
    for future in cluster.admin.create_acls(bindings).values():
        future.result(30)


def test_a_cluster_that_fits_is_fine(kafka: Cluster, topic_name: str, tmp_path: Path) -> None:
    kafka.create_topic(topic_name, 6)
    status, said = check(configure(tmp_path, kafka.bootstrap, {topic_name: {"partitions": 6}}))
    assert status == 0, said
    assert f"  topic {topic_name}: 6 partitions, 1 replica; granted: write, describe, read" in said.splitlines()
    assert re.search(rf"^bootstrap.servers {kafka.bootstrap}: reached, Produce 13$", said, re.M), said
    assert f"note: topic {topic_name}: one replica" in said
    assert said.splitlines()[-1].startswith("0 findings that will cost records")


def test_nobody_to_be_reached_is_tried_later(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    status, said = check(configure(tmp_path, f"127.0.0.1:{port}", {"t": {}}))
    assert status == 75
    assert said.splitlines()[0].startswith(f"bootstrap.servers 127.0.0.1:{port}: ")
    assert "refused" in said.splitlines()[0].lower()


def test_each_thing_that_does_not_fit_is_found(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = start_cluster(properties=AUTHORIZER)
    cluster.create_topic("small", config={"max.message.bytes": "100000", "compression.type": "gzip"})
    cluster.create_topic("strict", config={"min.insync.replicas": "2"})
    cluster.create_topic("compacted", config={"cleanup.policy": "compact"})
    cluster.create_topic("few", 2)
    for name in ("hidden", "silent", "reader"):
        cluster.create_topic(name)
    grant(cluster, "hidden", "User:somebody", AclOperation.WRITE)
    grant(cluster, "silent", "User:ANONYMOUS", AclOperation.WRITE)
    grant(cluster, "reader", "User:ANONYMOUS", AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    (closed,) = free_ports(1)
    names = ("small", "strict", "compacted", "hidden", "silent", "reader", "missing")
    topics: dict[str, dict[str, Any]] = {**{name: {} for name in names}, "few": {"partitions": 4}}
    path = configure(tmp_path, f"{cluster.bootstrap},127.0.0.1:{closed}", topics, {"compression.type": "zstd"})
    status, said = check(path)
    assert status == 1, said
    for pattern in (
        r"fails: broker 1: producer.id.expiration.ms = 3600000: .*Set it to 86400000",
        r"note: topic small: batch.size = 131072 is above its max.message.bytes = 100000: .*Set batch.size to 100000",
        r"fails: topic small: the listener l0 takes records up to 1048494 bytes, .*record_bytes_max = 99918",
        r"note: topic small: the broker compresses anew: its compression.type is gzip, ours is zstd",
        r"fails: topic strict: min.insync.replicas = 2 with 1 replica: nothing is ever taken",
        r"fails: topic compacted: compacted, and records of the listener l2 have no key",
        r"fails: topic hidden: not to be seen \(TOPIC_AUTHORIZATION_FAILED\)",
        r"note: topic silent: its settings are not told: TOPIC_AUTHORIZATION_FAILED",
        r"  topic silent: 1 partition, 1 replica; granted: write, describe$",
        r"fails: topic reader: WRITE is not granted",
        r"fails: topic missing: not there: ",
        r"fails: topic few: 2 partitions, 4 declared",
        rf"note: bootstrap.servers 127.0.0.1:{closed}: no connection: ",
    ):
        assert re.search(f"^{pattern}", said, re.M), f"{pattern}\n{said}"
    assert "fails: topic silent" not in said


def test_bounds_of_time_are_compared(kafka: Cluster, tmp_path: Path) -> None:
    kafka.create_topic("dated", config={"message.timestamp.before.max.ms": "86400000"})
    listener = {"format": "frames", "topics": ["dated"], "timestamp_future_ms": 7_200_000}
    path = configure(tmp_path, kafka.bootstrap, {"dated": {}}, listener=listener)
    status, said = check(path)
    assert status == 1
    assert "the listener l0 has timestamp_future_ms = 7200000, and message.timestamp.after.max.ms is 3600000" in said
    assert "the listener l0 has timestamp_past_ms = 604800000, and message.timestamp.before.max.ms is 86400000" in said
    assert "note: topic dated: message.timestamp.before.max.ms = 86400000: what an outage" in said
