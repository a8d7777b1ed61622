"""What `check --live` asks a cluster about itself: topics with what we may do, settings of topics and brokers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ingestd.kafka.messages import DESCRIBE_CONFIGS, METADATA, frame, metadata_request, read_body, request_module

TOPIC: Final = 2
BROKER: Final = 4
"""Kinds of resources (Kafka's ConfigResource.Type)."""
READ: Final = 3
WRITE: Final = 4
DESCRIBE: Final = 8
"""Operations (Kafka's AclOperation): bits of ``TopicDescription.operations``."""
OPERATIONS_UNKNOWN: Final = -(2**31)


class TopicDescription(NamedTuple):
    """``replicas`` and ``in_sync``: per partition, how many. ``operations``: a bit per operation that is granted."""

    name: str
    code: int
    leaders: tuple[int, ...] = ()
    replicas: tuple[int, ...] = ()
    in_sync: tuple[int, ...] = ()
    operations: int = OPERATIONS_UNKNOWN

    def may(self, operation: int) -> bool | None:
        """Whether ``operation`` is granted; None: the broker does not tell (older than 2.3)."""
        return None if self.operations == OPERATIONS_UNKNOWN else bool(self.operations >> operation & 1)


class ClusterDescription(NamedTuple):
    """``brokers``: node → (host, port) as the cluster tells its clients."""

    cluster_id: str
    brokers: dict[int, tuple[str, int]]
    topics: dict[str, TopicDescription]


class SettingsDescription(NamedTuple):
    """Settings of one topic or broker by name; ``code`` is not 0 where they are not told."""

    kind: int
    name: str
    code: int
    values: Mapping[str, str | None]


def topics_request(version: int, correlation_id: int, client_id: str, topics: Sequence[str]) -> bytes:
    """Metadata of ``topics`` with what is granted on them; they must not be created by being asked for."""
    return metadata_request(version, correlation_id, client_id, topics, auto_create=False, operations=True)


def topics_response(version: int, data: bytes, at: int) -> ClusterDescription:
    """Raises ProtocolError."""
    entity = read_body(METADATA, version, data, at)
    topics = (_topic(row) for row in entity.topics or ())
    brokers = {int(row.node_id): (str(row.host), int(row.port)) for row in entity.brokers or ()}
    return ClusterDescription(str(entity.cluster_id or ""), brokers, {topic.name: topic for topic in topics})


def _topic(row: Any) -> TopicDescription:
    partitions = sorted(row.partitions or (), key=lambda partition: int(partition.partition_index))
    return TopicDescription(
        str(row.name or ""),
        int(row.error_code),
        tuple(int(partition.leader_id) for partition in partitions),
        tuple(len(partition.replica_nodes or ()) for partition in partitions),
        tuple(len(partition.isr_nodes or ()) for partition in partitions),
        int(getattr(row, "topic_authorized_operations", OPERATIONS_UNKNOWN)),
    )


def settings_request(version: int, correlation_id: int, client_id: str, resources: Iterable[tuple[int, str]]) -> bytes:
    """DescribeConfigs of ``resources`` (TOPIC or BROKER, name): every setting. A broker tells only its own."""
    module = request_module(DESCRIBE_CONFIGS, version)
    rows = tuple(
        module.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=None)
        for kind, name in resources
    )
    body = module.DescribeConfigsRequest(resources=rows, include_synonyms=False)
    return frame(DESCRIBE_CONFIGS, version, correlation_id, client_id, body)


def settings_response(version: int, data: bytes, at: int) -> list[SettingsDescription]:
    """Raises ProtocolError."""
    entity = read_body(DESCRIBE_CONFIGS, version, data, at)
    return [
        SettingsDescription(
            int(row.resource_type),
            str(row.resource_name),
            int(row.error_code),
            {str(entry.name): entry.value for entry in row.configs or ()},
        )
        for row in entity.results or ()
    ]
