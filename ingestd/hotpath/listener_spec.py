"""What the record path needs to know of a listener."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """A listener as `Intake.add_listener` takes it; its topics are rows of the arena that the intake knows already."""

    index: int
    """0..127, the number that provenance runs name it by."""
    format: str
    """raw, lines or frames."""
    topic: int = -1
    """The topic of every record; -1: named by the record (frames)."""
    topics: tuple[int, ...] = ()
    """Allow-list of the topics that records may name."""
    key: int = 0
    """0 none, 1 the sender, 2 a field."""
    key_field: int = 0
    """Counted from 1."""
    key_delimiter: bytes = b"\t"
    """One byte."""
    timestamp: int = 0
    """0 time of arrival, 1 the record's own, where it brings one."""
    timestamp_past_ms: int = 7 * 24 * 3600 * 1000
    timestamp_future_ms: int = 50 * 60 * 1000
    timestamp_refuse: bool = False
    """A record out of bounds is refused; otherwise it takes the time of its arrival."""
    headers: bytes = b""
    """Static headers, encoded by `batch.encode_headers`."""
    header_count: int = 0
    shed: bool = False
    """A full arena refuses the record instead of holding its sender up."""
    record_bytes_max: int = 1 << 20
    """Of a batch that holds the record alone: what a broker compares with max.message.bytes."""
