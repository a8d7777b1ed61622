"""Reads answers that kio does not take because they are newer than it: unknown tagged fields, unknown error codes.

Tagged fields may be added to a message at any time without a new version, and are to be skipped by who does not know
them (KIP-482); codes are added with every release. Driven by kio's own schema classes, field by field.
"""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from struct import error as struct_error
from types import SimpleNamespace
from typing import Any, Final, get_args, get_origin
from uuid import UUID

from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.reader import Reader

_NO_ID: Final = bytes(16)
_NUMBERS: Final[dict[str, int]] = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "error_code": 2}


class _Field:
    """One field of a message: its name, how its value is read, its tag (None: it is always there)."""

    __slots__ = ("default", "name", "read", "tag")

    def __init__(self, field: "dataclasses.Field[Any]", flexible: bool) -> None:
        self.name = field.name
        self.tag: int | None = field.metadata.get("tag")
        self.default = None if field.default is dataclasses.MISSING else field.default
        self.read = _value_reader(field.type, str(field.metadata.get("kafka_type", "")), flexible)


def _value_reader(annotation: Any, kind: str, flexible: bool) -> Callable[[Reader], Any]:
    inner = [part for part in get_args(annotation) if part not in (Ellipsis, type(None))]
    if get_origin(annotation) is tuple or any(get_origin(part) is tuple for part in inner):
        element = inner[0] if get_origin(annotation) is tuple else get_args(inner[0])[0]
        read_one = _value_reader(element, kind, flexible)
        return lambda reader: tuple(read_one(reader) for _ in range(reader.count(flexible, 1)))
    entity = next((part for part in (annotation, *inner) if dataclasses.is_dataclass(part)), None)
    if entity is not None:
        return lambda reader: _entity(entity, reader)
    return _primitive_reader(kind, flexible)


def _primitive_reader(kind: str, flexible: bool) -> Callable[[Reader], Any]:
    if kind in _NUMBERS:
        size = _NUMBERS[kind]
        return lambda reader: int.from_bytes(reader.take(size), signed=True)
    readers: dict[str, Callable[[Reader], Any]] = {
        "uint16": lambda reader: int.from_bytes(reader.take(2)),
        "bool": lambda reader: reader.take(1) != b"\0",
        "string": lambda reader: reader.string(flexible),
        "bytes": lambda reader: reader.octets(flexible),
        "uuid": lambda reader: _uuid(reader.take(16)),
        "timedelta_i32": lambda reader: timedelta(milliseconds=reader.i32()),
        "timedelta_i64": lambda reader: timedelta(milliseconds=reader.i64()),
    }
    if kind not in readers:
        raise ProtocolError(f"no way to read a field of type {kind or 'unknown'}")
    return readers[kind]


def _uuid(raw: bytes) -> UUID | None:
    return None if raw == _NO_ID else UUID(bytes=raw)


@cache
def _fields(entity: Any) -> tuple[_Field, ...]:
    return tuple(_Field(field, entity.__flexible__) for field in dataclasses.fields(entity))


def _entity(entity: Any, reader: Reader) -> SimpleNamespace:
    fields = _fields(entity)
    values = {field.name: field.read(reader) for field in fields if field.tag is None}
    if entity.__flexible__:
        tagged = {field.tag: field for field in fields if field.tag is not None}
        values.update({field.name: field.default for field in tagged.values()})
        for tag, value in reader.tags():
            if tag in tagged:
                values[tagged[tag].name] = tagged[tag].read(Reader(value, 0))
    return SimpleNamespace(**values)


def read_entity(entity: Any, data: bytes, at: int) -> SimpleNamespace:
    """As kio reads a message of class ``entity`` at ``at``, with error codes as numbers and null strings as "".

    Raises ProtocolError on bytes that are not the message.
    """
    try:
        return _entity(entity, Reader(data, at))
    except (IndexError, OverflowError, struct_error) as error:
        raise ProtocolError("response ends inside a field") from error
