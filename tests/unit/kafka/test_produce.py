"""Produce frames against golden bytes that other clients of Kafka made, and against kio."""

import datetime
import io
import uuid
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer

from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.produce import VERSIONS, Answer, Encoder, TopicRow, decode, topic_row, uvarint

G1 = bytes.fromhex(
    "00000000000000000000003d0000000002e641a44b0000000000000000018bcfe568000000018bcfe56800"
    "ffffffffffffffffffffffffffff0000000116000000"
    "010a68656c6c6f00"
)
TOPIC_ID = bytes.fromhex("00112233445566778899aabbccddeeff")
REQUESTS = {
    3: "00000070000000030000000700026331ffffffff00007530000000010001740000000100000000" + "00000049",
    9: "000000690000000900000007000263310000ffff0000753002027402000000004a",
    13: "000000770000000d00000007000263310000ffff000075300200112233445566778899aabbccddeeff02000000004a",
}
RESPONSES = {
    3: "00000029000000070000000100017400000001000000000000000000000000004dffffffffffffffff00000000",
    8: "00000045000000070000000100017400000001000000000057ffffffffffffffffffffffffffffffff000000000000000000"
    "0000010000000200036261640005626174636800000000",
    10: "0000004e000000070002027402000000000006ffffffffffffffffffffffffffffffffffffffffffffffff0100010009000000"
    "0200000005000000000000010011020000000206686f737462000023840000",
    13: "0000003e00000007000200112233445566778899aabbccddeeff02000000000000000000000000004dffffffffffffffff"
    "0000000000000000010000000000000000",
}


def encode(version: int, topics: list[tuple[TopicRow, list[tuple[int, memoryview]]]], client_id: str = "c1") -> bytes:
    return b"".join(Encoder(version, client_id, -1, 30000).request(7, topics))


@pytest.mark.parametrize("version", REQUESTS)
def test_request_is_the_golden_frame(version: int) -> None:
    tail = b"\0\0\0" if version >= 9 else b""
    frame = encode(version, [(topic_row("t", TOPIC_ID), [(0, memoryview(G1))])])
    assert frame.hex() == (bytes.fromhex(REQUESTS[version]) + G1 + tail).hex()


@pytest.mark.parametrize("value", [0, 0x7F, 0x80, 0x3FFF, 0x4000, 131_073, 0x1FFFFF, 0x200000, 0x7FFFFFFF])
def test_a_varint_has_seven_bits_per_byte_low_ones_first(value: int) -> None:
    encoded = uvarint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value
    assert [byte >= 0x80 for byte in encoded] == [True] * (len(encoded) - 1) + [False]
    assert len(encoded) == max(-(-value.bit_length() // 7), 1)


def answers_of(version: int) -> tuple[list[Answer], int, tuple[tuple[int, str, int], ...]]:
    frame = bytes.fromhex(RESPONSES[version])
    assert len(frame) == 4 + int.from_bytes(frame[:4])
    return decode(version, frame, 8)


def test_response_3_is_read() -> None:
    assert answers_of(3) == ([Answer("t", 0, 0, 77, -1, -1, (), "", -1, -1)], 0, ())


def test_response_8_names_the_bad_record() -> None:
    answer = answers_of(8)[0][0]
    assert (answer.code, answer.record_errors, answer.text) == (87, ((2, "bad"),), "batch")


def test_response_10_names_the_new_leader() -> None:
    answers, _, endpoints = answers_of(10)
    assert (answers[0].code, answers[0].leader_id, answers[0].leader_epoch) == (6, 2, 5)
    assert endpoints == ((2, "hostb", 9092),)


def test_response_13_names_the_topic_by_id() -> None:
    assert answers_of(13)[0] == [Answer(TOPIC_ID, 0, 0, 77, -1, 0, (), "", -1, -1)]


def kio_module(version: int) -> Any:
    return import_module(f"kio.schema.produce.v{version}")


def kio_bytes(entity: Any) -> bytes:
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def kio_request(version: int, topics: list[tuple[str, bytes, list[tuple[int, bytes]]]], client_id: str) -> bytes:
    module = import_module(f"kio.schema.produce.v{version}.request")
    header = module.ProduceRequest.__header_schema__

    def address(name: str, topic_id: bytes) -> dict[str, Any]:
        return {"topic_id": uuid.UUID(bytes=topic_id)} if version >= 13 else {"name": name}

    body = module.ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout=datetime.timedelta(seconds=30),
        topic_data=tuple(
            module.TopicProduceData(
                **address(name, topic_id),
                partition_data=tuple(module.PartitionProduceData(index=i, records=r) for i, r in partitions),
            )
            for name, topic_id, partitions in topics
        ),
    )
    head = header(request_api_key=0, request_api_version=version, correlation_id=7, client_id=client_id)
    frame = kio_bytes(head) + kio_bytes(body)
    return len(frame).to_bytes(4) + frame


TOPICS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=200, alphabet="abc.-_é"),
        st.binary(min_size=16, max_size=16).filter(any),
        st.lists(
            st.tuples(
                st.integers(0, 2**31 - 1), st.sampled_from([1, 2, 100, 126, 127, 16382, 16383, 16384]).map(bytes)
            ),
            min_size=1,
            max_size=4,
        ),
    ),
    max_size=4,
)


@pytest.mark.parametrize("version", sorted(VERSIONS))
@settings(max_examples=25, deadline=None)
@given(topics=TOPICS, client_id=st.text(max_size=20))
def test_requests_equal_those_of_kio(
    version: int, topics: list[tuple[str, bytes, list[tuple[int, bytes]]]], client_id: str
) -> None:
    ours = encode(
        version,
        [(topic_row(name, topic_id), [(i, memoryview(r)) for i, r in parts]) for name, topic_id, parts in topics],
        client_id,
    )
    assert ours == kio_request(version, topics, client_id)


ANSWERS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=200, alphabet="abc.-_é"),
        st.binary(min_size=16, max_size=16).filter(any),
        st.lists(
            st.tuples(
                st.integers(0, 2**31 - 1),
                st.sampled_from([0, 6, 10, 45, 87, -1]),
                st.integers(-1, 2**63 - 1),
                st.integers(-1, 2**63 - 1),
                st.lists(st.tuples(st.integers(0, 5000), st.text(max_size=9)), max_size=3),
                st.text(max_size=200),
                st.tuples(st.integers(-1, 9), st.integers(-1, 9)),
            ),
            max_size=4,
        ),
    ),
    max_size=3,
)


def kio_response(version: int, topics: list[Any], throttle_ms: int) -> bytes:
    module = import_module(f"kio.schema.produce.v{version}.response")
    responses = []
    for name, topic_id, partitions in topics:
        rows = []
        for index, code, offset, start, errors, text, leader in partitions:
            fields: dict[str, Any] = {"index": index, "error_code": ErrorCode(code), "base_offset": offset}
            fields["log_append_time"] = None
            if version >= 5:
                fields["log_start_offset"] = start
            if version >= 8:
                fields["record_errors"] = tuple(
                    module.BatchIndexAndErrorMessage(batch_index=i, batch_index_error_message=t) for i, t in errors
                )
                fields["error_message"] = text
            if version >= 10:
                fields["current_leader"] = module.LeaderIdAndEpoch(leader_id=leader[0], leader_epoch=leader[1])
            rows.append(module.PartitionProduceResponse(**fields))
        address = {"topic_id": uuid.UUID(bytes=topic_id)} if version >= 13 else {"name": name}
        responses.append(module.TopicProduceResponse(**address, partition_responses=tuple(rows)))
    throttle = datetime.timedelta(milliseconds=throttle_ms)
    return kio_bytes(module.ProduceResponse(responses=tuple(responses), throttle_time=throttle))


@pytest.mark.parametrize("version", sorted(VERSIONS))
@settings(max_examples=25, deadline=None)
@given(topics=ANSWERS, throttle_ms=st.integers(0, 2**31 - 1))
def test_responses_of_kio_are_read(version: int, topics: list[Any], throttle_ms: int) -> None:
    header = b"\0" if version >= 9 else b""
    read = decode(version, header + kio_response(version, topics, throttle_ms), 0)
    expected = []
    for name, topic_id, partitions in topics:
        for index, code, offset, start, errors, text, leader in partitions:
            expected.append(
                Answer(
                    topic_id if version >= 13 else name,
                    index,
                    code,
                    offset,
                    -1,
                    start if version >= 5 else -1,
                    tuple(errors) if version >= 8 else (),
                    text if version >= 8 else "",
                    *(leader if version >= 10 else (-1, -1)),
                )
            )
    assert read == (expected, throttle_ms, ())


@given(throttle_ms=st.integers(0, 2**31 - 1), code=st.sampled_from([0, 6, 87]), offset=st.integers(-1, 2**63 - 1))
def test_the_usual_answer_is_read_as_any_other(throttle_ms: int, code: int, offset: int) -> None:
    body = b"\0" + kio_response(13, [("t", TOPIC_ID, [(3, code, offset, 5, [], None, (-1, -1))])], throttle_ms)
    usual = decode(13, body, 0)
    with_unknown_tag = decode(13, body[:-1] + b"\1\7\1x", 0)
    assert usual == with_unknown_tag == ([Answer(TOPIC_ID, 3, code, offset, -1, 5, (), "", -1, -1)], throttle_ms, ())


def test_kio_reads_the_same_of_the_golden_response() -> None:
    module = kio_module(13)
    entity, _ = entity_reader(module.ProduceResponse)(bytes.fromhex(RESPONSES[13]), 9)
    assert entity.responses[0].partition_responses[0].base_offset == answers_of(13)[0][0].base_offset


@pytest.mark.parametrize("version", RESPONSES)
def test_every_cut_response_is_a_protocol_error(version: int) -> None:
    frame = bytes.fromhex(RESPONSES[version])
    for end in range(8, len(frame)):
        with pytest.raises(ProtocolError):
            decode(version, frame[:end], 8)


@pytest.mark.parametrize("version", sorted(VERSIONS))
@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=300))
def test_foreign_bytes_are_read_or_refused(version: int, data: bytes) -> None:
    try:
        response = decode(version, data, 0)
    except ProtocolError:
        return
    assert len(response.answers) <= len(data)
