"""Reads answers that kio does not take because they are newer than it: unknown tagged fields, unknown error codes.

Tagged fields may be added to a message at any time without a new version, and are to be skipped by who does not know
them (KIP-482); codes are added with every release. Driven by kio's own schema classes, field by field.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from struct import error as struct_error
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.reader import Reader
from ingestd.kafka.schema import Field, fields

_NO_ID: Final = bytes(16)
_NUMBERS: Final[dict[str, int]] = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "error_code": 2}


def _value_reader(field: Field, flexible: bool) -> Callable[[Reader], Any]:
    read = _primitive_reader(field.kind, flexible) if field.entity is None else partial(_entity, field.entity)
    if not field.array:
        return read
    return lambda reader: tuple(read(reader) for _ in range(reader.count(flexible, 1)))


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
def _fields(entity: Any) -> tuple[tuple[Field, Callable[[Reader], Any]], ...]:
    return tuple((field, _value_reader(field, entity.__flexible__)) for field in fields(entity))


def _entity(entity: Any, reader: Reader) -> SimpleNamespace:
    known = _fields(entity)
    values = {field.name: read(reader) for field, read in known if field.tag is None}
    if entity.__flexible__:
        tagged = {field.tag: (field, read) for field, read in known if field.tag is not None}
        values.update({field.name: field.default for field, _ in tagged.values()})
        for tag, value in reader.tags():
            if tag in tagged:
                field, read = tagged[tag]
                values[field.name] = read(Reader(value, 0))
    return SimpleNamespace(**values)


def read_entity(entity: Any, data: bytes, at: int) -> SimpleNamespace:
    """As kio reads a message of class ``entity`` at ``at``, with error codes as numbers and null strings as "".

    Raises ProtocolError on bytes that are not the message.
    """
    try:
        return _entity(entity, Reader(data, at))
    except (IndexError, OverflowError, struct_error) as error:
        raise ProtocolError("response ends inside a field") from error
