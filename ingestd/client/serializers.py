"""Serializers: what turns a key or a value into bytes.

Any object with `serialize(topic, value, headers) -> bytes | None` will do; `headers` is the record's tuple of
(name, value) pairs. None stays None without a serializer being asked. What it raises reaches the caller of send() as
SerializationException.
"""

from typing import Any, Final, Protocol

from ingestd.client.errors import SerializationException
from ingestd.client.records import Header


class Serializer(Protocol):
    """What Producer asks of a key_serializer and a value_serializer."""

    def serialize(self, topic: str, value: Any, headers: tuple[Header, ...]) -> bytes | None:
        """The bytes of `value`, or None for a null."""


class BytesSerializer:
    """Bytes (also bytearray and memoryview) as they are."""

    def serialize(self, topic: str, value: bytes, headers: tuple[Header, ...]) -> bytes:  # noqa: ARG002
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise SerializationException(f"BytesSerializer takes bytes, not {type(value).__name__}")
        return bytes(value)


class StringSerializer:
    """Text in an encoding, UTF-8 unless said otherwise."""

    def __init__(self, encoding: str = "utf-8") -> None:
        "".encode(encoding)  # an unknown encoding is a mistake here, not at the first record
        self.encoding: Final = encoding

    def serialize(self, topic: str, value: str, headers: tuple[Header, ...]) -> bytes:  # noqa: ARG002
        if not isinstance(value, str):
            raise SerializationException(f"StringSerializer takes str, not {type(value).__name__}")
        try:
            return value.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise SerializationException(f"cannot be written as {self.encoding}: {error}") from error


def serialize(
    serializer: Serializer | None, topic: str, value: Any, headers: tuple[Header, ...], what: str
) -> bytes | None:
    """Runs a serializer; without one, bytes go as they are and text as UTF-8. `what` names the field in errors."""
    if value is None:
        return None
    if serializer is None:
        return _plain(value, what)
    try:
        data: object = serializer.serialize(topic, value, headers)
    except SerializationException:
        raise
    except Exception as error:
        raise SerializationException(f"the {what} of a record for {topic!r}: {error}") from error
    if data is None or type(data) is bytes:
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise SerializationException(f"the {what} serializer returned {type(data).__name__}, not bytes")


def _plain(value: Any, what: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise SerializationException(f"the {what} cannot be written as UTF-8: {error}") from error
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise SerializationException(f"a {what} of type {type(value).__name__} needs a serializer: give {what}_serializer=")
