"""The questions of the live check in every version, read and written by kio's own structures."""

import datetime
import io
from importlib import import_module
from typing import Any

import pytest
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer

from ingestd.kafka.describe import (
    BROKER,
    OPERATIONS_UNKNOWN,
    READ,
    TOPIC,
    WRITE,
    TopicDescription,
    settings_request,
    settings_response,
    topics_request,
    topics_response,
)
from ingestd.kafka.messages import DESCRIBE_CONFIGS, METADATA, SUPPORTED


def module(package: str, version: int, what: str) -> Any:
    return import_module(f"kio.schema.{package}.v{version}.{what}")


def body_of(frame: bytes, cls: Any) -> Any:
    """The request behind size and header, read by kio."""
    header, length = entity_reader(cls.__header_schema__)(frame, 4)
    assert (int(header.correlation_id), header.client_id) == (7, "me")
    return entity_reader(cls)(frame, 4 + length)[0]


def written(entity: Any) -> bytes:
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    tags = b"\0" if type(entity).__header_schema__.__version__ >= 1 else b""
    return tags + out.getvalue()


@pytest.mark.parametrize("version", SUPPORTED[METADATA])
def test_topics_are_asked_for_and_not_made(version: int) -> None:
    body = body_of(topics_request(version, 7, "me", ["a", "b"]), module("metadata", version, "request").MetadataRequest)
    assert ([topic.name for topic in body.topics], body.allow_auto_topic_creation) == (["a", "b"], False)
    assert getattr(body, "include_topic_authorized_operations", True) is True


@pytest.mark.parametrize("version", SUPPORTED[METADATA])
def test_topics_are_described(version: int) -> None:
    found = module("metadata", version, "response")
    partitions = tuple(
        found.MetadataResponsePartition(
            error_code=ErrorCode.none,
            partition_index=index,
            leader_id=leader,
            replica_nodes=(1, 2, 3),
            isr_nodes=(1, 2),
            **({"offline_replicas": ()} if version >= 5 else {}),
            **({"leader_epoch": 4} if version >= 7 else {}),
        )
        for index, leader in ((1, -1), (0, 2))
    )
    topic = found.MetadataResponseTopic(
        error_code=ErrorCode.none,
        name="a",
        is_internal=False,
        partitions=partitions,
        **({"topic_id": None} if version >= 10 else {}),
        **({"topic_authorized_operations": 1 << WRITE} if version >= 8 else {}),
    )
    answer = found.MetadataResponse(
        throttle_time=datetime.timedelta(0),
        brokers=(found.MetadataResponseBroker(node_id=2, host="h", port=9, rack=None),),
        cluster_id="c",
        controller_id=2,
        topics=(topic,),
        **({"cluster_authorized_operations": 0} if 8 <= version <= 10 else {}),
        **({"error_code": ErrorCode.none} if version >= 13 else {}),
    )
    described = topics_response(version, written(answer), 0)
    operations = 1 << WRITE if version >= 8 else OPERATIONS_UNKNOWN
    assert described.topics == {"a": TopicDescription("a", 0, (2, -1), (3, 3), (2, 2), operations)}
    assert (described.cluster_id, described.brokers) == ("c", {2: ("h", 9)})
    may = described.topics["a"].may
    assert (may(WRITE), may(READ)) == ((True, False) if version >= 8 else (None, None))


@pytest.mark.parametrize("version", SUPPORTED[DESCRIBE_CONFIGS])
def test_settings_are_asked_for_and_read(version: int) -> None:
    asked = module("describe_configs", version, "request").DescribeConfigsRequest
    body = body_of(settings_request(version, 7, "me", [(TOPIC, "t"), (BROKER, "1")]), asked)
    assert [(int(row.resource_type), row.resource_name) for row in body.resources] == [(2, "t"), (4, "1")]
    assert {row.configuration_keys for row in body.resources} == {None}
    found = module("describe_configs", version, "response")
    rows = tuple(
        found.DescribeConfigsResourceResult(
            name=name,
            value=value,
            read_only=False,
            config_source=5,
            is_sensitive=False,
            synonyms=(),
            **({"config_type": 0, "documentation": None} if version >= 3 else {}),
        )
        for name, value in (("a", "1"), ("b", None))
    )
    results = tuple(
        found.DescribeConfigsResult(
            error_code=code, error_message=None, resource_type=kind, resource_name=name, configs=configs
        )
        for code, kind, name, configs in (
            (ErrorCode.none, TOPIC, "t", rows),
            (ErrorCode.topic_authorization_failed, TOPIC, "u", ()),
        )
    )
    answer = found.DescribeConfigsResponse(throttle_time=datetime.timedelta(0), results=results)
    told = settings_response(version, written(answer), 0)
    assert [(row.kind, row.name, row.code, dict(row.values)) for row in told] == [
        (2, "t", 0, {"a": "1", "b": None}),
        (2, "u", 29, {}),
    ]
