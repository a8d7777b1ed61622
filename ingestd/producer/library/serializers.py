"""Serializers: what turns a key or a value into bytes, by Kafka's interface; those of ``ingestd.client`` do as well.

An object with ``serialize(topic, data) -> bytes | None``, or ``serialize(topic, data, headers)``, where ``headers`` is
the record's tuple of (name, value) pairs. ``configure(configs, is_key)`` and ``close()`` are called if it has them.
None stays None without a serializer being asked. What it raises reaches the caller of ``send()`` as
SerializationException.
"""

import inspect
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from ingestd.client.errors import SerializationException
from ingestd.client.records import Header
from ingestd.client.serializers import BytesSerializer, StringSerializer, serialize


class NumberSerializer:
    """A number as Java writes it: big-endian. ``format`` is one of struct's: ``>i`` for IntegerSerializer."""

    def __init__(self, form: str) -> None:
        self._struct = struct.Struct(form)

    def serialize(self, topic: str, data: float) -> bytes:  # noqa: ARG002
        try:
            return self._struct.pack(data)
        except struct.error as error:
            raise SerializationException(f"{data!r}: {error}") from error


class VoidSerializer:
    """Nothing but None, which no serializer is asked for."""

    def serialize(self, topic: str, data: object) -> None:  # noqa: ARG002
        raise SerializationException(f"VoidSerializer takes None, not {type(data).__name__}")


_JAVA: Final = "org.apache.kafka.common.serialization."
_BY_NAME: Final[Mapping[str, Callable[[], Any]]] = {
    "BytesSerializer": BytesSerializer,
    "ByteArraySerializer": BytesSerializer,
    "ByteBufferSerializer": BytesSerializer,
    "StringSerializer": StringSerializer,
    "VoidSerializer": VoidSerializer,
    "ShortSerializer": lambda: NumberSerializer(">h"),
    "IntegerSerializer": lambda: NumberSerializer(">i"),
    "LongSerializer": lambda: NumberSerializer(">q"),
    "FloatSerializer": lambda: NumberSerializer(">f"),
    "DoubleSerializer": lambda: NumberSerializer(">d"),
}


class FieldSerializer:
    """The serializer of keys, or of values. ValueError: what was given is none."""

    def __init__(self, given: object, configs: Mapping[str, Any], *, is_key: bool) -> None:
        self._what = "key" if is_key else "value"
        made = _made(given, self._what)
        self._made = made
        self._adapted: Any = None
        if made is None:
            return
        method = getattr(made, "serialize", None)
        if not callable(method):
            raise ValueError(f"{self._what}.serializer: {made!r} has no serialize(topic, data)")
        self._adapted = made if _takes_headers(method) else _WithoutHeaders(method)
        if callable(getattr(made, "configure", None)):
            made.configure(dict(configs), is_key)

    @property
    def passes_bytes(self) -> bool:
        """Bytes are taken as they are."""
        return self._made is None

    def serialize(self, topic: str, data: object, headers: tuple[Header, ...]) -> bytes | None:
        """The bytes of ``data``; without a serializer bytes as they are, text as UTF-8."""
        return serialize(self._adapted, topic, data, headers, self._what)

    def close(self) -> None:
        if callable(getattr(self._made, "close", None)):
            self._made.close()


class _WithoutHeaders:
    def __init__(self, method: Callable[[str, Any], bytes | None]) -> None:
        self._method = method

    def serialize(self, topic: str, value: Any, headers: tuple[Header, ...]) -> bytes | None:  # noqa: ARG002
        return self._method(topic, value)


def _made(given: object, what: str) -> Any:
    if isinstance(given, str):
        make = _BY_NAME.get(given.strip().removeprefix(_JAVA))
        if make is None:
            raise ValueError(
                f"{what}.serializer: {given!r} is none that is known here: give an object with serialize(topic, data)"
            )
        return make()
    return given() if isinstance(given, type) else given


def _takes_headers(method: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(parameter.kind in positional for parameter in parameters)
    return count >= 3 or any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
