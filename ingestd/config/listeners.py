"""Sections ``[[listeners]]``: each one by itself, then all of them against each other."""

import string
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ingestd.client import address as addresses
from ingestd.client.address import Address
from ingestd.config.faults import ABSENT, Faults, RefusedError, nearest, toml_text
from ingestd.config.model import Key, Listener
from ingestd.config.plan import own_path, shard_path
from ingestd.config.section import Rules, Section, flattened, read_section
from ingestd.config.settings import LISTENER
from ingestd.config.topics import check_topic_name
from ingestd.config.values import REQUIRED, UNSET
from ingestd.limits import (
    FRAME_BYTES_MAX,
    FRAME_ENVELOPE_BYTES,
    HEADER_NAME_BYTES_MAX,
    HEADERS_MAX,
    LISTENERS_MAX,
    UNIX_PATH_BYTES_MAX,
)

_RULES: Final = Rules(LISTENER)
_WHOLE: Final = ("key", "headers")
_NAME_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "._-")
_HEADERS_BYTES_MAX: Final = 64 << 10
_FRAMED_BYTES_MAX: Final = FRAME_BYTES_MAX - FRAME_ENVELOPE_BYTES


class _Draft:
    """A listener being read: its section, where faults of it are told, and which keys the file gives."""

    def __init__(self, place: str, table: object, faults: Faults) -> None:
        self.place = place
        self.faults = faults
        self.table: dict[str, object] = table if isinstance(table, dict) else {}
        self.given = frozenset(self.table)
        self.section: Section = read_section(place, table, _RULES, faults, whole=_WHOLE)

    def fault(self, name: str, text: str, cure: str) -> None:
        value = self.section[name]
        absent = value in (UNSET, REQUIRED) or name not in self.given
        self.faults.add(self.place + name, ABSENT if absent else _plain(value), text, cure)

    def __getitem__(self, name: str) -> Any:
        value = self.section[name]
        return None if value in (UNSET, REQUIRED) else value


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Address) else value


def read_listeners(tables: object, record_bytes_max: int, faults: Faults) -> list[Listener]:
    """All listeners whose kind is known, in the file's order. ``record_bytes_max``: what a request can carry."""
    if not isinstance(tables, list) or not tables:
        faults.add("listeners", ABSENT, "no listener", "Add a [[listeners]] with name, listen and format")
        return []
    if len(tables) > LISTENERS_MAX:
        faults.add("listeners", ABSENT, f"{len(tables)} listeners", f"Use at most {LISTENERS_MAX}")
    listeners = []
    for index, table in enumerate(tables):
        draft = _Draft(f"listeners.{listener_label(index, table)}.", table, faults)
        listener = _read_listener(draft, record_bytes_max)
        if listener is not None:
            listeners.append(listener)
    return listeners


def listener_label(index: int, table: object) -> str:
    """What a listener is called in keys: its name, where that is one, else its place, counted from 1."""
    name = table.get("name") if isinstance(table, dict) else None
    legal = isinstance(name, str) and name and _NAME_CHARACTERS.issuperset(name)
    # Plain, also where it comes out of a file: who prints what is in force looks for it by the name.
    return str.__str__(name) if legal else str(index + 1)


def _read_listener(draft: _Draft, request_bytes_max: int) -> Listener | None:
    name, address, wire = draft["name"], _address(draft), draft["format"]
    if name is not None and not _NAME_CHARACTERS.issuperset(name):
        draft.fault("name", "not a listener's name", "Use letters, digits, dot, dash and underscore")
    headers = _headers(draft)
    key = _key(draft)
    if wire is None or address is None or name is None:
        _check_topic_names(draft)
        return None
    _check_topics(draft, wire)
    _check_format(draft, wire, address)
    _check_address_keys(draft, address)
    # Lines and datagrams have bounds of their own, which the intake knows: this one is the record's, overhead included.
    bytes_max = min(request_bytes_max, _FRAMED_BYTES_MAX) if wire == "frames" else request_bytes_max
    record_bytes_max = draft["record_bytes_max"]
    if record_bytes_max is not None and record_bytes_max > bytes_max:
        bound = "max.request.size" if bytes_max == request_bytes_max else "a frame"
        draft.fault("record_bytes_max", f"more than {bound} can carry", f"Write at most {bytes_max}")
    return Listener(
        name=name,
        address=address,
        format=wire,
        topic=draft["topic"],
        topics=draft["topics"],
        key=key,
        timestamp=draft["timestamp"] or ("record" if wire == "frames" else "arrival"),
        timestamp_past_ms=draft["timestamp_past_ms"],
        timestamp_future_ms=draft["timestamp_future_ms"],
        timestamp_out_of_bounds=draft["timestamp_out_of_bounds"],
        headers=headers,
        when_full=draft["when_full"] or ("shed_newest" if address.kind == "udp" else "block"),
        receive_buffer_bytes=draft["receive_buffer_bytes"],
        mode=draft["mode"],
        owner=draft["owner"],
        group=draft["group"],
        shards=draft["shards"],
        connections_max=draft["connections_max"],
        record_bytes_max=record_bytes_max or bytes_max,
    )


def _address(draft: _Draft) -> Address | None:
    text = draft["listen"]
    if text is None:
        return None
    try:
        return addresses.parse(text)
    except ValueError as refused:
        problem, _, cure = str(refused).removeprefix(f"{text}: ").rpartition(": ")
        draft.fault("listen", problem or str(refused), cure[:1].upper() + cure[1:])
        return None


def _check_topic_names(draft: _Draft) -> None:
    for key, names in (("topic", (draft["topic"],)), ("topics", draft["topics"])):
        for name in names:
            try:
                if name is not None:
                    check_topic_name(name)
            except RefusedError as refused:
                draft.fault(key, refused.text, refused.cure)


def _check_topics(draft: _Draft, wire: str) -> None:
    _check_topic_names(draft)
    if wire == "frames":
        if "topic" in draft.given:
            draft.fault("topic", "frames name their own topic", 'Use the allow-list: topics = ["..."]')
        if not draft.table.get("topics"):
            text = "the format frames needs an allow-list of topics"
            draft.fault("topics", text, 'Write topics = ["orders", "clicks"] with what its senders may name')
    else:
        if "topic" not in draft.given:
            draft.fault("topic", f"the format {wire} has no topic in it", 'Write topic = "..."')
        if "topics" in draft.given:
            draft.fault("topics", f"{wire} cannot name a topic", 'Use one topic = "...", or format = "frames"')


def _check_format(draft: _Draft, wire: str, address: Address) -> None:
    if wire == "raw" and address.kind == "unix-stream":
        cure = 'Use format = "lines" or "frames", or listen = "unix-datagram:..."'
        draft.fault("format", "a stream has no record boundaries for raw", cure)
    if wire == "frames" and "key" in draft.given:
        draft.fault("key", "frames bring their own keys", "Leave it out")
    if wire != "frames" and draft["timestamp"] == "record":
        draft.fault("timestamp", f"records of the format {wire} have no timestamp", 'Write timestamp = "arrival"')


def _check_address_keys(draft: _Draft, address: Address) -> None:
    """Keys that mean nothing on this kind of socket, and paths that would be too long with what is appended to them."""
    if address.kind == "udp":
        for name in ("mode", "owner", "group"):
            if name in draft.given:
                draft.fault(name, "a UDP socket is not a file", "Leave it out")
    if address.kind != "unix-datagram" and "shards" in draft.given:
        cure = "Leave it out: every worker has a socket of its own" if address.kind == "udp" else "Leave it out"
        draft.fault("shards", "only Unix datagram listeners have shards", cure)
    if address.kind != "unix-stream" and "connections_max" in draft.given:
        draft.fault("connections_max", f"{address.kind} has no connections", "Leave it out")
    if draft["key"] == "sender" and address.kind == "unix-datagram":
        draft.fault(
            "key", "a Unix datagram does not tell its sender", 'Use key = { field = 1, delimiter = " " } or "none"'
        )


def _headers(draft: _Draft) -> tuple[tuple[str, bytes], ...]:
    table = draft["headers"]
    if not isinstance(table, dict):
        draft.fault("headers", "not a table", 'Write headers = { host = "gateway-7" }')
        return ()
    headers = []
    for name, value in flattened(table):
        if not isinstance(value, str) or not name or len(name.encode()) > HEADER_NAME_BYTES_MAX:
            cure = f'Write name = "value", names of at most {HEADER_NAME_BYTES_MAX} bytes'
            draft.fault("headers", f"the header {toml_text(name)} has no legal name or value", cure)
        else:
            headers.append((name, value.encode()))
    if len(headers) > HEADERS_MAX:
        draft.fault("headers", f"{len(headers)} headers", f"Use at most {HEADERS_MAX}")
    if sum(len(name.encode()) + len(value) for name, value in headers) > _HEADERS_BYTES_MAX:
        draft.fault("headers", "too large", f"Use at most {_HEADERS_BYTES_MAX} bytes in all: every record carries them")
    return tuple(headers)


def _key(draft: _Draft) -> Key:
    value = draft["key"]
    if value == "none":
        return Key()
    if value == "sender":
        return Key("sender")
    if not isinstance(value, dict):
        draft.fault("key", "not a key rule", 'Use "none", "sender" or { field = 1, delimiter = "\\t" }')
        return Key()
    for name in value:
        if name not in ("field", "delimiter"):
            near = nearest(name, ("field", "delimiter"))
            draft.fault("key", f"unknown key {toml_text(name)}", f"Did you mean {near}?" if near else "Leave it out")
    field, delimiter = value.get("field"), value.get("delimiter")
    if isinstance(field, bool) or not isinstance(field, int) or not 1 <= field <= 10_000:
        draft.fault("key", "field is not a number from 1", "Fields are counted from 1: { field = 1, ... }")
        field = 1
    if not isinstance(delimiter, str) or len(delimiter.encode()) != 1 or delimiter in "\n\r":
        draft.fault("key", "delimiter is not one byte", 'Write delimiter = "\\t", or another single ASCII character')
        delimiter = "\t"
    return Key("field", field, delimiter)


def check_together(listeners: Iterable[Listener], workers: int, faults: Faults) -> None:
    """Names and sockets that two listeners would share, and paths too long for what is appended to them."""
    names: set[str] = set()
    taken: dict[str, tuple[int, str]] = {}
    for index, listener in enumerate(listeners):
        key = f"listeners.{listener.name}"
        if listener.name in names:
            faults.add(f"{key}.name", listener.name, "two listeners have this name", "Give each its own")
        names.add(listener.name)
        for place in places_of(listener, workers):
            owner, owner_name = taken.setdefault(place, (index, listener.name))
            if owner != index:
                text = f"{place} belongs to the listener {toml_text(owner_name)} already"
                faults.add(f"{key}.listen", str(listener.address), text, "Choose another path or port")
                break
        longest = max(len(place.encode()) for place in places_of(listener, workers))
        if listener.address.kind != "udp" and longest > UNIX_PATH_BYTES_MAX:
            text = f"with its suffix the path has {longest} bytes, a socket's path at most {UNIX_PATH_BYTES_MAX}"
            faults.add(f"{key}.listen", str(listener.address), text, "Choose a shorter one")


def places_of(listener: Listener, workers: int) -> list[str]:
    """Every path that is bound for ``listener`` (frames: the shared one and each worker's own), or host and port."""
    address = listener.address
    if address.kind == "unix-stream":
        own_paths = [own_path(address.path, index) for index in range(workers)] if listener.format == "frames" else []
        return [address.path, *own_paths]
    if address.kind == "unix-datagram":
        return [shard_path(address.path, shard, listener.shards) for shard in range(listener.shards)]
    return [f"udp:{address.host}:{address.port}"]


def topics_named(listeners: Iterable[Listener]) -> Mapping[str, str]:
    """Every topic that the listeners name, with the key that names it, in the order of first mention."""
    named: dict[str, str] = {}
    for listener in listeners:
        for topic in (listener.topic, *listener.topics):
            if topic is not None:
                named.setdefault(topic, f"listeners.{listener.name}")
    return named
