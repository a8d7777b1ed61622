"""From the configuration to what the record path wants to know: topics by index, listeners in bytes and numbers."""

from collections.abc import Mapping, Sequence
from typing import Final

from ingestd.config.model import Listener
from ingestd.hotpath.listener_spec import ListenerSpec

KEY_KINDS: Final = {"none": 0, "sender": 1, "field": 2}


def varint(value: int) -> bytes:
    """A signed number as Kafka's zigzag varint."""
    number = value << 1 if value >= 0 else (-value << 1) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_headers(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Headers as they stand in a Kafka record, their count apart: name length, name, value length, value."""
    encoded = b""
    for name, value in headers:
        text = name.encode()
        encoded += varint(len(text)) + text + varint(len(value)) + value
    return encoded


def listener_spec(index: int, listener: Listener, topics: Mapping[str, int]) -> ListenerSpec:
    """``topics``: index in the arena's topic table by name."""
    return ListenerSpec(
        index=index,
        format=listener.format,
        topic=-1 if listener.topic is None else topics[listener.topic],
        topics=tuple(topics[name] for name in listener.topics),
        key=KEY_KINDS[listener.key.kind],
        key_field=listener.key.field,
        key_delimiter=listener.key.delimiter.encode() or b"\0",
        timestamp=1 if listener.timestamp == "record" else 0,
        timestamp_past_ms=listener.timestamp_past_ms,
        timestamp_future_ms=listener.timestamp_future_ms,
        timestamp_refuse=listener.timestamp_out_of_bounds == "refuse",
        headers=encode_headers(listener.headers),
        header_count=len(listener.headers),
        shed=listener.when_full == "shed_newest",
        record_bytes_max=listener.record_bytes_max,
    )
