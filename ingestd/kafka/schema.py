"""What kio's schema classes say of a message: the one place that interprets how they annotate their fields."""

import dataclasses
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin


class Field(NamedTuple):
    """One field of a message: a struct or a primitive, or an array of either. Null is up to who reads the value."""

    name: str
    tag: int | None
    """None: it is always there."""
    default: Any
    array: bool
    entity: Any
    """kio's class of the struct; None: a primitive."""
    kind: str
    """kio's name of the primitive."""


def fields(entity: Any) -> list[Field]:
    """Of a message or a struct, in the order in which they are sent; behind them are tags if it is ``__flexible__``.

    TypeError: one is a struct that may be null. That has a byte in front of it, which no reader of ours takes; no
    message that is spoken has one.
    """
    return [_field(field) for field in dataclasses.fields(entity)]


def _field(field: "dataclasses.Field[Any]") -> Field:
    value = _not_null(field.type)
    if array := get_origin(value) is tuple:
        value = _not_null(get_args(value)[0])
    entity = value if dataclasses.is_dataclass(value) else None
    if entity is not None and not array and value is not field.type:
        raise TypeError(f"{field.name} is a struct that may be null")
    return Field(
        name=field.name,
        tag=field.metadata.get("tag"),
        default=None if field.default is dataclasses.MISSING else field.default,
        array=array,
        entity=entity,
        kind=str(field.metadata.get("kafka_type", "")),
    )


def _not_null(annotation: Any) -> Any:
    """``X`` of ``X | None``, and of ``X``."""
    parts = get_args(annotation)
    return next(part for part in parts if part is not NoneType) if NoneType in parts else annotation
