"""From the configuration to what the record path wants to know: topics by index, listeners in bytes and numbers."""

from collections.abc import Mapping
from typing import Final

from ingestd.config.model import Listener
from ingestd.hotpath.batch import encode_headers
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.limits import BATCH_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES_MAX

KEY_KINDS: Final = {"none": 0, "sender": 1, "field": 2}


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
        # The record path compares the batch that would hold this record only.
        record_bytes_max=listener.record_bytes_max + BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES_MAX,
    )
