from typing import Any

import pytest

from ingestd.client.errors import SerializationException
from ingestd.client.serializers import BytesSerializer, StringSerializer, serialize


class Raw(bytes):
    pass


class Custom:
    def __init__(self, result: Any) -> None:
        self.result = result
        self.seen: Any = None

    def serialize(self, topic: str, value: Any, headers: tuple[tuple[str, bytes | None], ...]) -> Any:
        self.seen = (topic, value, headers)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("serializer", "value", "data"),
    [
        (None, "Zürich", "Zürich".encode()),
        (None, b"\x00", b"\x00"),
        (None, bytearray(b"x"), b"x"),
        (None, Raw(b"x"), b"x"),
        (BytesSerializer(), Raw(b"x"), b"x"),
        (Custom(Raw(b"made")), 1, b"made"),
        (None, "", b""),
        (StringSerializer(), "é", b"\xc3\xa9"),
        (StringSerializer("latin-1"), "é", b"\xe9"),
        (BytesSerializer(), memoryview(b"xy"), b"xy"),
        (Custom(b"made"), object(), b"made"),
        (Custom(bytearray(b"made")), 1, b"made"),
        (Custom(None), 1, None),
    ],
)
def test_values_become_bytes(serializer: Any, value: Any, data: bytes | None) -> None:
    result = serialize(serializer, "t", value, (), "value")
    assert result == data
    assert result is None or type(result) is bytes


def test_none_stays_none_and_no_serializer_is_asked() -> None:
    custom = Custom(b"never")
    assert serialize(custom, "t", None, (), "key") is None
    assert custom.seen is None


def test_a_serializer_sees_topic_value_and_headers() -> None:
    custom = Custom(b"")
    serialize(custom, "orders", 7, (("h", b"1"),), "value")
    assert custom.seen == ("orders", 7, (("h", b"1"),))


@pytest.mark.parametrize(
    ("serializer", "value", "text"),
    [
        (None, 7, "a key of type int needs a serializer: give key_serializer="),
        (None, "\ud800", "cannot be written as UTF-8"),
        (StringSerializer(), b"x", "takes str, not bytes"),
        (StringSerializer("ascii"), "é", "cannot be written as ascii"),
        (BytesSerializer(), "x", "takes bytes, not str"),
        (Custom(KeyError("id")), {}, "the key of a record for 't': 'id'"),
        (Custom("text"), 1, "returned str, not bytes"),
    ],
)
def test_what_cannot_be_serialized_says_why(serializer: Any, value: Any, text: str) -> None:
    with pytest.raises(SerializationException) as caught:
        serialize(serializer, "t", value, (), "key")
    assert text in str(caught.value)


def test_an_unknown_encoding_is_refused_at_once() -> None:
    with pytest.raises(LookupError):
        StringSerializer("no-such-encoding")
