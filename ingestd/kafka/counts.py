"""Checks the counts of arrays in an answer before kio reads it.

kio's reader is native: it takes memory for as many elements as a count claims, and where that cannot be had (2^32 - 2
elements are 32 GiB) the process is aborted, which no exception handler sees. Driven by kio's own schema classes; what
lies between counts is skipped.
"""

from collections.abc import Callable
from functools import cache, partial
from struct import error as struct_error
from typing import Any, Final

from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.reader import Reader
from ingestd.kafka.schema import Field, fields

_BYTES: Final[dict[str, int]] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "error_code": 2,
    "int32": 4,
    "timedelta_i32": 4,
    "int64": 8,
    "timedelta_i64": 8,
    "float64": 8,
    "uuid": 16,
}
Skip = int | Callable[[Reader], object]
"""How to get behind a value: its bytes, or what moves a reader there."""


def check_counts(entity: Any, data: bytes, at: int) -> None:
    """Raises ProtocolError where a message of kio's class ``entity`` at ``at`` has an array that is longer than it."""
    try:
        _entity(entity)(Reader(data, at))
    except (IndexError, struct_error) as error:
        raise ProtocolError("response ends inside a field") from error


@cache
def _entity(entity: Any) -> Callable[[Reader], None]:
    steps: list[Skip] = []
    tagged: dict[int, Skip] = {}
    for field in fields(entity):
        skip = _skip(field, entity.__flexible__)
        if field.tag is not None:
            tagged[field.tag] = skip
        elif isinstance(skip, int) and steps and isinstance(steps[-1], int):
            steps[-1] += skip
        else:
            steps.append(skip)

    def walk(reader: Reader) -> None:
        for step in steps:
            if type(step) is int:
                reader.at += step
            else:
                step(reader)  # type: ignore[operator]  # type() says so, and costs less than isinstance()
        if entity.__flexible__:
            for tag, value in reader.tags():
                _move(Reader(value, 0), tagged.get(tag, 0))

    return walk


def _skip(field: Field, flexible: bool) -> Skip:
    skip = _primitive(field.kind, flexible) if field.entity is None else _entity(field.entity)
    return partial(_array, skip, flexible) if field.array else skip


def _primitive(kind: str, flexible: bool) -> Skip:
    if kind in ("string", "bytes"):
        return lambda reader: reader.octets(flexible, short=kind == "string")
    if kind not in _BYTES:
        raise ProtocolError(f"no way to read a field of type {kind or 'unknown'}")
    return _BYTES[kind]


def _array(element: Skip, flexible: bool, reader: Reader) -> None:
    if isinstance(element, int):
        count = reader.count(flexible, element)
        reader.at += count * element
        return
    for _ in range(reader.count(flexible, 1)):
        element(reader)


def _move(reader: Reader, skip: Skip) -> None:
    if not isinstance(skip, int):
        skip(reader)
