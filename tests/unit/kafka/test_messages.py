"""Messages against golden frames that another client of Kafka made, and against answers built with kio."""

import datetime
import io
import subprocess
import sys
import uuid
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer

from ingestd.kafka import messages
from ingestd.kafka.errors import ProtocolError

metadata_v13: Any = import_module("kio.schema.metadata.v13.response")


def test_hypothesis_is_not_brought_in_and_stays_to_be_had() -> None:
    script = (
        "import sys; from ingestd.kafka import messages as m; m.metadata_request(12, 1, 'c', ['t'], False);"
        "assert not [name for name in sys.modules if name.startswith('hypothesis')]; import hypothesis.strategies"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


def test_api_versions_requests_are_golden() -> None:
    assert messages.api_versions_request(0, 7, "c1", "1.0").hex() == "0000000c001200000000000700026331"
    golden = "0000001a0012000300000007000263310008696e676573746404312e3000"
    assert messages.api_versions_request(3, 7, "c1", "1.0").hex() == golden


@pytest.mark.parametrize(
    ("version", "golden"),
    [
        (4, "000000140003000400000007000263310000000100017401"),
        (9, "00000015000300090000000700026331000202740001000000"),
        (12, "000000240003000c0000000700026331000200000000000000000000000000000000027400010000"),
    ],
)
def test_metadata_requests_are_golden(version: int, golden: str) -> None:
    assert messages.metadata_request(version, 7, "c1", ["t"], True).hex() == golden


@pytest.mark.parametrize(
    ("version", "golden"),
    [
        (0, "00000012001600000000000700026331ffff7fffffff"),
        (4, "0000001d00160004000000070002633100007fffffffffffffffffffffffffff00"),
    ],
)
def test_init_producer_id_requests_are_golden(version: int, golden: str) -> None:
    assert messages.init_producer_id_request(version, 7, "c1").hex() == golden


def test_every_supported_version_encodes() -> None:
    for version in messages.SUPPORTED[messages.METADATA]:
        assert messages.metadata_request(version, 1, "c", ["a", "b"], False)[4:8] == bytes((0, 3, 0, version))
    for version in messages.SUPPORTED[messages.INIT_PRODUCER_ID]:
        assert messages.init_producer_id_request(version, 1, "c")[4:8] == bytes((0, 22, 0, version))
    for version in messages.SUPPORTED[messages.API_VERSIONS]:
        assert messages.api_versions_request(version, 1, "c", "1.0")[4:8] == bytes((0, 18, 0, version))


def as_bytes(entity: Any) -> bytes:
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def test_metadata_answer_is_read() -> None:
    topic_id = uuid.UUID(int=5)
    partition = metadata_v13.MetadataResponsePartition(
        error_code=ErrorCode.leader_not_available, partition_index=3, leader_id=-1, leader_epoch=9
    )
    entity = metadata_v13.MetadataResponse(
        throttle_time=datetime.timedelta(milliseconds=250),
        brokers=(metadata_v13.MetadataResponseBroker(node_id=2, host="h", port=9092),),
        cluster_id="abc",
        topics=(
            metadata_v13.MetadataResponseTopic(
                error_code=ErrorCode.none, name="t", topic_id=topic_id, partitions=(partition,)
            ),
        ),
        error_code=ErrorCode.none,
    )
    read = messages.metadata_response(13, b"\0" + as_bytes(entity), 0)
    assert read == messages.ClusterInfo(
        {2: ("h", 9092)},
        "abc",
        (messages.TopicInfo("t", 0, topic_id.bytes, (messages.PartitionInfo(3, 5, -1, 9),)),),
        250,
        0,
    )


def test_an_old_broker_answers_api_versions_in_version_0() -> None:
    answer = bytes.fromhex("0023" + "00000001" + "0012" + "0000" + "0002")
    assert messages.api_versions_response(4, answer, 0) == messages.ApiRanges(35, {18: (0, 2)})


def test_a_refusal_whose_list_is_cut_short_means_ask_for_version_0() -> None:
    answer = bytes.fromhex("0023" + "0000000a" + "0012")
    assert messages.api_versions_response(4, answer, 0) == messages.ApiRanges(35, {})


def test_highest_common_version() -> None:
    assert messages.highest_common({messages.METADATA: (0, 99)}, messages.METADATA) == 13
    assert messages.highest_common({messages.METADATA: (0, 7)}, messages.METADATA) == 7
    assert messages.highest_common({messages.METADATA: (0, 3)}, messages.METADATA) == -1
    assert messages.highest_common({}, messages.METADATA) == -1


@pytest.mark.parametrize(("version", "answer"), [(0, "0000" + "ffffffff"), (3, "0000" + "00" + "00000000" + "00")])
def test_an_answer_to_api_versions_with_a_null_list_has_no_versions(version: int, answer: str) -> None:
    assert messages.api_versions_response(version, bytes.fromhex(answer), 0) == messages.ApiRanges(0, {})


def test_a_handshake_with_a_null_list_offers_no_mechanism() -> None:
    assert messages.sasl_handshake_response(bytes.fromhex("0021" + "ffffffff"), 0) == (33, ())


def test_a_login_answered_with_an_unknown_code_and_null_bytes_is_an_answer() -> None:
    answer = bytes.fromhex("7fff" + "ffff" + "ffffffff")
    assert messages.sasl_authenticate_response(0, answer, 0) == messages.SaslAnswer(0x7FFF, "", b"", 0)


@given(data=st.binary(max_size=200))
def test_foreign_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (
        lambda: messages.metadata_response(13, data, 0),
        lambda: messages.metadata_response(4, data, 0),
        lambda: messages.api_versions_response(3, data, 0),
        lambda: messages.init_producer_id_response(4, data, 0),
    ):
        try:
            decode()
        except ProtocolError:
            continue
