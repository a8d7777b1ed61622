"""The messages that are not produce requests, by kio (``describe.py`` has those of `check --live`). Bytes in, plain
values out.

Every decode raises ProtocolError on bytes that are not the message; every error code stays a number.
"""

import datetime
import io
import sys
import uuid
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from struct import Struct
from typing import Any, Final, NamedTuple

from ingestd.kafka.counts import check_counts
from ingestd.kafka.errors import NONE, UNSUPPORTED_VERSION, ProtocolError
from ingestd.kafka.newer import read_entity
from ingestd.kafka.reader import Reader

# kio's types import hypothesis where it is installed, to be of use in tests: 10 MiB of every process that speaks Kafka.
_HYPOTHESIS: Final = "hypothesis"
_absent = _HYPOTHESIS not in sys.modules
if _absent:
    sys.modules[_HYPOTHESIS] = None  # type: ignore[assignment]  # this is how an import is made to fail
from kio.serial import entity_reader, entity_writer  # noqa: E402
from kio.serial.errors import SerialError  # noqa: E402

if _absent:
    del sys.modules[_HYPOTHESIS]

METADATA: Final = 3
SASL_HANDSHAKE: Final = 17
API_VERSIONS: Final = 18
INIT_PRODUCER_ID: Final = 22
DESCRIBE_CONFIGS: Final = 32
SASL_AUTHENTICATE: Final = 36

_MODULES: Final = {
    METADATA: ("metadata", "Metadata"),
    SASL_HANDSHAKE: ("sasl_handshake", "SaslHandshake"),
    SASL_AUTHENTICATE: ("sasl_authenticate", "SaslAuthenticate"),
    API_VERSIONS: ("api_versions", "ApiVersions"),
    INIT_PRODUCER_ID: ("init_producer_id", "InitProducerId"),
    DESCRIBE_CONFIGS: ("describe_configs", "DescribeConfigs"),
}
SUPPORTED: Final = {
    METADATA: range(4, 14),
    SASL_HANDSHAKE: range(1, 2),
    API_VERSIONS: range(5),
    INIT_PRODUCER_ID: range(6),
    DESCRIBE_CONFIGS: range(1, 5),
    SASL_AUTHENTICATE: range(3),
}
"""Versions that are spoken, per api (produce has its own module)."""

SOFTWARE_NAME: Final = "ingestd"
_SIZE: Final = Struct(">i")
_NO_TOPIC_ID: Final = bytes(16)


class PartitionInfo(NamedTuple):
    """``leader`` -1: none. ``leader_epoch`` -1: the broker does not tell."""

    partition: int
    code: int
    leader: int
    leader_epoch: int


class TopicInfo(NamedTuple):
    name: str
    code: int
    topic_id: bytes
    partitions: tuple[PartitionInfo, ...]


class ClusterInfo(NamedTuple):
    """A metadata answer. ``brokers``: node → (host, port)."""

    brokers: dict[int, tuple[str, int]]
    cluster_id: str
    topics: tuple[TopicInfo, ...]
    throttle_ms: int
    code: int


class ApiRanges(NamedTuple):
    """An ApiVersions answer: api key → (lowest, highest)."""

    code: int
    ranges: dict[int, tuple[int, int]]
    throttle_ms: int = 0


class ProducerIdentity(NamedTuple):
    code: int
    producer_id: int
    producer_epoch: int
    throttle_ms: int


class SaslAnswer(NamedTuple):
    """An answer to SaslAuthenticate. ``lifetime_ms`` 0: the session does not end by itself."""

    code: int
    text: str
    auth_bytes: bytes
    lifetime_ms: int


@cache
def _request_class(api_key: int, version: int) -> Any:
    package, name = _MODULES[api_key]
    return getattr(import_module(f"kio.schema.{package}.v{version}.request"), f"{name}Request")


@cache
def request_module(api_key: int, version: int) -> Any:
    """kio's module with the request of that version and the structures in it."""
    return import_module(f"kio.schema.{_MODULES[api_key][0]}.v{version}.request")


@cache
def _response_class(api_key: int, version: int) -> tuple[Any, bool]:
    package, name = _MODULES[api_key]
    entity = getattr(import_module(f"kio.schema.{package}.v{version}.response"), f"{name}Response")
    # A response header of version 1 has a tag section behind the correlation id (ApiVersions: never).
    return entity, entity.__header_schema__.__version__ >= 1


def frame(api_key: int, version: int, correlation_id: int, client_id: str, body: Any) -> bytes:
    """The whole request around ``body``, length first."""
    header_class = type(body).__header_schema__
    header = header_class(
        request_api_key=api_key, request_api_version=version, correlation_id=correlation_id, client_id=client_id
    )
    out = io.BytesIO()
    entity_writer(header_class)(out, header)
    entity_writer(type(body))(out, body)
    raw = out.getvalue()
    return _SIZE.pack(len(raw)) + raw


def read_body(api_key: int, version: int, data: bytes, at: int) -> Any:
    """The answer in ``data`` from ``at`` on, as kio's structure; ProtocolError."""
    entity_class, tagged = _response_class(api_key, version)
    try:
        if tagged:
            header = Reader(data, at)
            header.tags()
            at = header.at
        check_counts(entity_class, data, at)
        return entity_reader(entity_class)(data, at)[0]
    except (KeyError, ValueError):
        # Tagged fields or error codes that kio's tables do not know: the broker is newer than they are.
        return read_entity(entity_class, data, at)
    except (SerialError, OverflowError, IndexError) as error:
        raise ProtocolError(f"api {api_key} version {version}: {error}") from error


def milliseconds(value: datetime.timedelta) -> int:
    return value // datetime.timedelta(milliseconds=1)


def api_versions_request(version: int, correlation_id: int, client_id: str, software_version: str) -> bytes:
    """ApiVersions; ``software_version`` must match Kafka's pattern for it (letters, digits, dots, dashes)."""
    cls = _request_class(API_VERSIONS, version)
    body = cls() if version < 3 else cls(client_software_name=SOFTWARE_NAME, client_software_version=software_version)
    return frame(API_VERSIONS, version, correlation_id, client_id, body)


def api_versions_response(version: int, data: bytes, at: int) -> ApiRanges:
    """A broker too old for ``version`` answers with error 35 and a body of version 0 (KIP-511)."""
    if len(data) >= at + 2 and int.from_bytes(data[at : at + 2], signed=True) == UNSUPPORTED_VERSION:
        try:
            entity = read_body(API_VERSIONS, 0, data, at)
        except ProtocolError:
            # librdkafka's mock cluster sends a list that is none; as with an empty one, version 0 is asked next.
            return ApiRanges(UNSUPPORTED_VERSION, {})
    else:
        entity = read_body(API_VERSIONS, version, data, at)
    ranges = {int(row.api_key): (int(row.min_version), int(row.max_version)) for row in entity.api_keys or ()}
    throttle_time = getattr(entity, "throttle_time", datetime.timedelta(0))
    return ApiRanges(int(entity.error_code), ranges, milliseconds(throttle_time))


def metadata_request(
    version: int,
    correlation_id: int,
    client_id: str,
    topics: Sequence[str],
    auto_create: bool,
    *,
    operations: bool = False,
) -> bytes:
    """``operations``: the answer says what is granted on each topic (from version 8 on)."""
    module = request_module(METADATA, version)
    extra: dict[str, Any] = {}
    if version >= 8:
        extra["include_topic_authorized_operations"] = operations
        if version <= 10:
            extra["include_cluster_authorized_operations"] = False
    by_id = {"topic_id": None} if version >= 10 else {}
    rows = tuple(module.MetadataRequestTopic(name=name, **by_id) for name in topics)
    body = module.MetadataRequest(topics=rows, allow_auto_topic_creation=auto_create, **extra)
    return frame(METADATA, version, correlation_id, client_id, body)


def metadata_response(version: int, data: bytes, at: int) -> ClusterInfo:
    entity = read_body(METADATA, version, data, at)
    topics = []
    for topic in entity.topics or ():
        topic_id: uuid.UUID | None = getattr(topic, "topic_id", None)
        partitions = tuple(
            PartitionInfo(
                int(row.partition_index),
                int(row.error_code),
                int(row.leader_id),
                int(getattr(row, "leader_epoch", -1)),
            )
            for row in topic.partitions or ()
        )
        raw_id = topic_id.bytes if topic_id is not None else _NO_TOPIC_ID
        topics.append(TopicInfo(str(topic.name or ""), int(topic.error_code), raw_id, partitions))
    brokers = {int(row.node_id): (str(row.host), int(row.port)) for row in entity.brokers or ()}
    return ClusterInfo(
        brokers,
        str(entity.cluster_id or ""),
        tuple(topics),
        milliseconds(entity.throttle_time),
        int(getattr(entity, "error_code", NONE)),
    )


def init_producer_id_request(version: int, correlation_id: int, client_id: str) -> bytes:
    """A fresh producer id without a transactional id (docs/kafka.md 7)."""
    cls = _request_class(INIT_PRODUCER_ID, version)
    body = cls(transactional_id=None, transaction_timeout=datetime.timedelta(milliseconds=2**31 - 1))
    return frame(INIT_PRODUCER_ID, version, correlation_id, client_id, body)


def init_producer_id_response(version: int, data: bytes, at: int) -> ProducerIdentity:
    entity = read_body(INIT_PRODUCER_ID, version, data, at)
    return ProducerIdentity(
        int(entity.error_code),
        int(entity.producer_id),
        int(entity.producer_epoch),
        milliseconds(entity.throttle_time),
    )


def sasl_handshake_request(correlation_id: int, client_id: str, mechanism: str) -> bytes:
    """Version 1: what follows are SaslAuthenticate requests (KIP-152)."""
    return frame(SASL_HANDSHAKE, 1, correlation_id, client_id, _request_class(SASL_HANDSHAKE, 1)(mechanism=mechanism))


def sasl_handshake_response(data: bytes, at: int) -> tuple[int, tuple[str, ...]]:
    """(error code, the mechanisms that the broker has)."""
    entity = read_body(SASL_HANDSHAKE, 1, data, at)
    return int(entity.error_code), tuple(str(name) for name in entity.mechanisms or ())


def sasl_authenticate_request(version: int, correlation_id: int, client_id: str, auth_bytes: bytes) -> bytes:
    body = _request_class(SASL_AUTHENTICATE, version)(auth_bytes=auth_bytes)
    return frame(SASL_AUTHENTICATE, version, correlation_id, client_id, body)


def sasl_authenticate_response(version: int, data: bytes, at: int) -> SaslAnswer:
    entity = read_body(SASL_AUTHENTICATE, version, data, at)
    lifetime = getattr(entity, "session_lifetime", None)
    return SaslAnswer(
        int(entity.error_code),
        str(entity.error_message or ""),
        bytes(entity.auth_bytes or b""),
        0 if lifetime is None else milliseconds(lifetime),
    )


def highest_common(ranges: dict[int, tuple[int, int]], api_key: int) -> int:
    """The highest version that both sides speak; -1: none. Not for produce, whose advertised minimum lies."""
    low, high = ranges.get(api_key, (0, -1))
    spoken = SUPPORTED[api_key]
    version = min(high, spoken[-1])
    return version if version >= max(low, spoken[0]) else -1
