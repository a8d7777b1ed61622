"""What kio's annotations mean: each form that they have, and messages of kio's."""

import dataclasses
from typing import Any

import pytest
from kio.schema.api_versions.v3.response import ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey
from kio.schema.metadata.v12.response import MetadataResponse, MetadataResponseBroker, MetadataResponseTopic
from kio.static.primitive import i32

from ingestd.kafka.messages import SUPPORTED, _response_class
from ingestd.kafka.schema import Field, fields


@dataclasses.dataclass
class Struct:
    number: i32


@pytest.mark.parametrize(
    ("annotation", "array", "entity"),
    [
        (i32, False, None),
        (i32 | None, False, None),
        (tuple[i32, ...], True, None),
        (tuple[i32, ...] | None, True, None),
        (tuple[i32 | None, ...], True, None),
        (Struct, False, Struct),
        (tuple[Struct, ...], True, Struct),
        (tuple[Struct, ...] | None, True, Struct),
        (tuple[Struct | None, ...], True, Struct),
    ],
    ids=str,
)
def test_each_form_of_an_annotation(annotation: Any, array: bool, entity: Any) -> None:
    kind = {} if entity else {"kafka_type": "int32"}
    message = dataclasses.make_dataclass("Message", [("x", annotation, dataclasses.field(metadata=kind))])
    assert fields(message) == [Field("x", None, None, array, entity, kind.get("kafka_type", ""))]


def test_a_struct_that_may_be_null_is_not_misread() -> None:
    message = dataclasses.make_dataclass("Message", [("x", Struct | None)])
    with pytest.raises(TypeError, match="x is a struct that may be null"):
        fields(message)


@pytest.mark.parametrize(
    ("api_key", "version"), [(api_key, version) for api_key, versions in SUPPORTED.items() for version in versions]
)
def test_every_answer_that_is_read_can_be_told(api_key: int, version: int) -> None:
    entities = [_response_class(api_key, version)[0]]
    for entity in entities:
        entities += [field.entity for field in fields(entity) if field.entity is not None]
    assert entities


def test_a_message_has_its_fields_in_the_order_in_which_they_are_sent() -> None:
    assert fields(MetadataResponse) == [
        Field("throttle_time", None, None, False, None, "timedelta_i32"),
        Field("brokers", None, None, True, MetadataResponseBroker, ""),
        Field("cluster_id", None, None, False, None, "string"),
        Field("controller_id", None, -1, False, None, "int32"),
        Field("topics", None, None, True, MetadataResponseTopic, ""),
    ]


def test_tagged_fields_have_their_tag_and_what_they_are_where_it_is_not_sent() -> None:
    assert [field for field in fields(ApiVersionsResponse) if field.tag is not None] == [
        Field("supported_features", 0, (), True, SupportedFeatureKey, ""),
        Field("finalized_features_epoch", 1, -1, False, None, "int64"),
        Field("finalized_features", 2, (), True, FinalizedFeatureKey, ""),
        Field("zk_migration_ready", 3, False, False, None, "bool"),
    ]
