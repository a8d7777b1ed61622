"""Answers from a broker that is newer than kio's tables, and the same answers as kio reads them."""

import dataclasses
import datetime
import io
import uuid
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer

from ingestd.kafka import messages
from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.newer import read_entity

TOPIC_ID = uuid.UUID(int=77)
UNKNOWN_TAGS = b"\2" + b"\x65\3abc" + b"\x66\0"
"""Two tagged fields that nobody knows: 101 of three bytes, 102 of none."""


def response(package: str, name: str, version: int) -> tuple[Any, Any]:
    module = import_module(f"kio.schema.{package}.v{version}.response")
    return module, getattr(module, f"{name}Response")


def written(entity: Any) -> bytes:
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def metadata(version: int) -> Any:
    module, cls = response("metadata", "Metadata", version)
    epoch = {"leader_epoch": 8} if version >= 7 else {}
    partition = module.MetadataResponsePartition(
        error_code=ErrorCode.leader_not_available, partition_index=4, leader_id=-1, replica_nodes=(1, 2), **epoch
    )
    by_id = {"topic_id": TOPIC_ID} if version >= 10 else {}
    topic = module.MetadataResponseTopic(
        error_code=ErrorCode.none, name="t", is_internal=True, partitions=(partition,), **by_id
    )
    extra = {"error_code": ErrorCode.none} if version >= 13 else {}
    brokers = tuple(module.MetadataResponseBroker(node_id=n, host=f"h{n}", port=9092, rack=None) for n in (1, 2))
    throttle = datetime.timedelta(milliseconds=33)
    return cls(throttle_time=throttle, brokers=brokers, cluster_id="c", controller_id=1, topics=(topic,), **extra)


def api_versions(version: int) -> Any:
    module, cls = response("api_versions", "ApiVersions", version)
    keys = tuple(module.ApiVersion(api_key=key, min_version=0, max_version=key + 1) for key in (0, 3, 22))
    throttle = {"throttle_time": datetime.timedelta(milliseconds=5)} if version >= 1 else {}
    return cls(error_code=ErrorCode.none, api_keys=keys, **throttle)


def init_producer_id(version: int) -> Any:
    _, cls = response("init_producer_id", "InitProducerId", version)
    return cls(throttle_time=datetime.timedelta(0), error_code=ErrorCode.none, producer_id=2**53 + 1, producer_epoch=3)


ANSWERS = [
    *(metadata(version) for version in range(4, 14)),
    *(api_versions(version) for version in range(5)),
    *(init_producer_id(version) for version in range(6)),
]


def assert_same(read: Any, entity: Any) -> None:
    for field in dataclasses.fields(entity):
        ours, theirs = getattr(read, field.name), getattr(entity, field.name)
        if isinstance(theirs, tuple):
            assert len(ours) == len(theirs)
            for one, other in zip(ours, theirs, strict=True):
                assert_same(one, other) if dataclasses.is_dataclass(other) else None
                assert dataclasses.is_dataclass(other) or one == other
        else:
            assert ours == ("" if theirs is None and field.metadata["kafka_type"] == "string" else theirs), field.name


@pytest.mark.parametrize("entity", ANSWERS, ids=lambda entity: f"{type(entity).__name__}-{entity.__version__}")
def test_what_kio_knows_is_read_as_kio_reads_it(entity: Any) -> None:
    assert_same(read_entity(type(entity), written(entity), 0), entity)


def newer_metadata(code: int) -> bytes:
    """Metadata 12 with unknown tags in the header and behind every struct; ``code``: the topic's."""
    broker = (1).to_bytes(4) + b"\2h" + (9092).to_bytes(4) + b"\0" + UNKNOWN_TAGS
    partition = bytes(2) + bytes(4) + (1).to_bytes(4) + (5).to_bytes(4) + b"\1\1\1" + UNKNOWN_TAGS
    head = code.to_bytes(2, signed=True) + b"\2t" + TOPIC_ID.bytes + b"\0"
    topic = head + b"\2" + partition + bytes(4) + UNKNOWN_TAGS
    return UNKNOWN_TAGS + bytes(4) + b"\2" + broker + b"\2c" + (1).to_bytes(4) + b"\2" + topic + UNKNOWN_TAGS


@pytest.mark.parametrize("code", [0, 3, 1234], ids=["none", "known", "unknown"])
def test_unknown_tagged_fields_and_codes_are_no_obstacle(code: int) -> None:
    partition = messages.PartitionInfo(0, 0, 1, 5)
    topic = messages.TopicInfo("t", code, TOPIC_ID.bytes, (partition,))
    expected = messages.ClusterInfo({1: ("h", 9092)}, "c", (topic,), 0, 0)
    assert messages.metadata_response(12, newer_metadata(code), 0) == expected


def test_known_tagged_fields_among_unknown_ones_are_read() -> None:
    entity = type(api_versions(3))
    body = bytes(2) + b"\2" + (18).to_bytes(2) + bytes(2) + (9).to_bytes(2) + UNKNOWN_TAGS + bytes(4)
    epoch = b"\1\x08" + (71).to_bytes(8)
    read = read_entity(entity, body + b"\2" + epoch + b"\x65\1x", 0)
    assert read.finalized_features_epoch == 71
    assert read.api_keys == (SimpleNamespace(api_key=18, min_version=0, max_version=9),)
    assert messages.api_versions_response(3, body + b"\2" + epoch + b"\x65\1x", 0).ranges == {18: (0, 9)}


@given(cut=st.integers(0, 200))
def test_an_answer_that_is_cut_short_is_refused(cut: int) -> None:
    whole = newer_metadata(1234)
    if cut < len(whole):
        with pytest.raises(ProtocolError):
            messages.metadata_response(12, whole[:cut], 0)
