"""Serializers by Kafka's interface, by Java's names, and those of the client."""

from typing import Any

import pytest

from ingestd.client.errors import SerializationException
from ingestd.client.serializers import StringSerializer
from ingestd.producer.library.serializers import FieldSerializer

JAVA = "org.apache.kafka.common.serialization."


class Recorder:
    """Writes down how it was called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def configure(self, configs: dict[str, Any], is_key: bool) -> None:
        self.calls.append((configs, is_key))

    def serialize(self, topic: str, data: Any) -> bytes:
        self.calls.append((topic, data))
        return b"bytes"

    def close(self) -> None:
        self.calls.append("closed")


class WithHeaders:
    def serialize(self, topic: str, data: Any, headers: tuple[Any, ...]) -> bytes:
        return f"{topic} {data} {headers}".encode()


@pytest.mark.parametrize("name", ["", "AvroSerializer"])
def test_a_name_that_is_not_known_is_said_with_its_setting(name: str) -> None:
    with pytest.raises(ValueError, match=r"^value\.serializer: "):
        FieldSerializer(name, {}, is_key=False)


def test_an_object_is_configured_asked_and_closed() -> None:
    made = Recorder()
    serializer = FieldSerializer(made, {"a": 1}, is_key=True)
    assert serializer.serialize("t", 5, ()) == b"bytes"
    assert serializer.serialize("t", None, ()) is None
    serializer.close()
    assert made.calls == [({"a": 1}, True), ("t", 5), "closed"]


def test_a_class_is_made_an_object() -> None:
    assert FieldSerializer(Recorder, {}, is_key=False).serialize("t", 1, ()) == b"bytes"


def test_headers_are_handed_to_those_that_take_them() -> None:
    serializer = FieldSerializer(WithHeaders(), {}, is_key=False)
    assert serializer.serialize("t", 1, (("h", b"x"),)) == b"t 1 (('h', b'x'),)"
    assert FieldSerializer(StringSerializer("latin-1"), {}, is_key=False).serialize("t", "\xe9", ()) == b"\xe9"


@pytest.mark.parametrize(
    ("name", "data", "written"),
    [
        ("StringSerializer", "é", b"\xc3\xa9"),
        ("ByteArraySerializer", b"x", b"x"),
        ("ShortSerializer", -2, b"\xff\xfe"),
        ("IntegerSerializer", 258, b"\0\0\1\2"),
        ("LongSerializer", 1, b"\0\0\0\0\0\0\0\1"),
        ("FloatSerializer", 1.0, b"\x3f\x80\0\0"),
        ("DoubleSerializer", 1.0, b"\x3f\xf0\0\0\0\0\0\0"),
    ],
)
def test_javas_serializers_by_name_write_javas_bytes(name: str, data: Any, written: bytes) -> None:
    assert FieldSerializer(JAVA + name, {}, is_key=True).serialize("t", data, ()) == written
    assert FieldSerializer(name, {}, is_key=True).serialize("t", data, ()) == written


@pytest.mark.parametrize(
    ("given", "data"), [("IntegerSerializer", 1 << 40), ("VoidSerializer", 1), ("StringSerializer", 1), (None, 1.5)]
)
def test_what_cannot_be_written_is_a_serialization_error(given: object, data: Any) -> None:
    with pytest.raises(SerializationException):
        FieldSerializer(given, {}, is_key=False).serialize("t", data, ())


def test_without_a_serializer_bytes_and_text_pass() -> None:
    serializer = FieldSerializer(None, {}, is_key=False)
    assert serializer.passes_bytes
    assert [serializer.serialize("t", data, ()) for data in (b"x", "é", None)] == [b"x", b"\xc3\xa9", None]
    serializer.close()


def test_what_a_serializer_raises_and_returns_wrongly_is_named() -> None:
    class Faulty:
        def serialize(self, topic: str, data: Any) -> Any:
            return data / 0 if topic == "raises" else 5

    serializer = FieldSerializer(Faulty(), {}, is_key=True)
    with pytest.raises(SerializationException, match="the key of a record for 'raises': division by zero"):
        serializer.serialize("raises", 1, ())
    with pytest.raises(SerializationException, match="the key serializer returned int"):
        serializer.serialize("t", 1, ())


@pytest.mark.parametrize("given", ["com.example.Avro", object()])
def test_what_is_no_serializer_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="serialize"):
        FieldSerializer(given, {}, is_key=True)
