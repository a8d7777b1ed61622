"""What is in force, as the TOML file that would say it all: every default written out."""

from collections.abc import Iterator
from typing import Any, Final

from ingestd.config.faults import MASKED, is_secret, toml_key, toml_text
from ingestd.config.model import NEVER_MS, Config, Key, Listener, Topic
from ingestd.config.settings import DAEMON, LISTENER, NO_FIELD, PRODUCER, TOPIC
from ingestd.config.sources import Sources
from ingestd.secret import Concealed, Secret

NO_SOURCES: Final = Sources()
"""For who knows none: no source is written."""


def to_toml(config: Config, sources: Sources = NO_SOURCES) -> str:
    """A file that reads as ``config``, with the source of each value behind it; secrets masked.

    Of the topics only what they set themselves is written: the rest is the producer's.
    """
    lines = ["[daemon]"]
    lines += _pairs("daemon", {name: getattr(config.daemon, _field(name)) for name in DAEMON}, sources)
    lines += ["", "[producer]"]
    lines += _pairs("producer", _producer_values(config), sources)
    for topic in config.topics:
        key = f"topics.{toml_key(topic.name)}"
        lines += ["", f"[{key}]", *_pairs(key, _topic_values(topic), sources)]
    for listener in config.listeners:
        lines += ["", "[[listeners]]"]
        lines += _pairs(f"listeners.{listener.name}", _listener_values(listener), sources)
    return "\n".join(lines) + "\n"


def _field(name: str) -> str:
    return name.replace(".", "_")


def _pairs(section: str, values: dict[str, Any], sources: Sources) -> Iterator[str]:
    for name, value in values.items():
        if value is None:
            continue
        source = sources.exactly(f"{section}.{name}")
        masked = sources.hides(f"{section}.{name}") or (is_secret(name) and not isinstance(value, Secret))
        pair = f"{name} = {MASKED if masked else toml_text(_escaped(value))}"
        if sources is NO_SOURCES:
            yield pair
        else:
            place = source.place or "default"
            yield f"{pair}  # {place if place.isprintable() else toml_text(place)}"


def _escaped(value: Any) -> Any:
    """``value`` so that no ``${`` in it is read as a variable."""
    if isinstance(value, str) and not isinstance(value, Concealed):
        return value.replace("${", "$${")
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {name: _escaped(item) for name, item in value.items()}
    return value


def _producer_values(config: Config) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(config.producer, _field(name)) for name in PRODUCER if name not in NO_FIELD}
    values["acks"] = "all" if values["acks"] == -1 else values["acks"]
    values["delivery.timeout.ms"] = _never(values["delivery.timeout.ms"], None)
    return values


def _topic_values(topic: Topic) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(topic, _field(name)) for name in TOPIC}
    values["delivery.timeout.ms"] = _never(values["delivery.timeout.ms"], NEVER_MS)
    return values


def _never(timeout_ms: int | None, never: int | None) -> int | str | None:
    return "never" if timeout_ms == never else timeout_ms


def _listener_values(listener: Listener) -> dict[str, Any]:
    address, wire = listener.address, listener.format
    values: dict[str, Any] = {name: getattr(listener, name, None) for name in LISTENER}
    values["listen"] = str(address)
    values["topics"] = list(listener.topics) if wire == "frames" else None
    values["key"] = None if wire == "frames" else _key(listener.key)
    values["headers"] = {name: value.decode() for name, value in listener.headers} or None
    values["mode"] = f"{listener.mode:04o}" if address.kind != "udp" else None
    values["shards"] = listener.shards if address.kind == "unix-datagram" else None
    values["connections_max"] = listener.connections_max if address.kind == "unix-stream" else None
    return values


def _key(key: Key) -> object:
    return {"field": key.field, "delimiter": key.delimiter} if key.kind == "field" else key.kind
