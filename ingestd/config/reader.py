"""From a TOML file to a checked :class:`Config`; all faults are found in one go."""

import os
import tomllib
from pathlib import Path
from typing import Any, Final

from ingestd.config.checks import check_daemon, check_producer, check_topic, record_bytes_max
from ingestd.config.faults import ABSENT, Faults, nearest, toml_key
from ingestd.config.listeners import check_together, read_listeners, topics_named
from ingestd.config.model import Config, Daemon, Producer
from ingestd.config.section import Rules, Section, flattened, given_names, read_section
from ingestd.config.settings import DAEMON, LISTENER, PRODUCER
from ingestd.config.settings_refused import DAEMON_NOT_YET, PRODUCER_FOREIGN, PRODUCER_NOT_YET
from ingestd.config.topics import gather_topics, read_topics
from ingestd.config.values import REQUIRED, UNSET
from ingestd.errors import ConfigurationError, Fault

_SECTIONS: Final = ("daemon", "producer", "topics", "listeners")
_DAEMON_RULES: Final = Rules(DAEMON, not_yet=DAEMON_NOT_YET, elsewhere=dict.fromkeys(PRODUCER, "[producer]"))
_PRODUCER_RULES: Final = Rules(
    PRODUCER,
    not_yet=PRODUCER_NOT_YET,
    foreign=PRODUCER_FOREIGN,
    elsewhere={"partitions": "[topics.NAME]", **dict.fromkeys((*DAEMON, *DAEMON_NOT_YET), "[daemon]")},
)
_FILE_BYTES_MAX: Final = 4 << 20


def load(path: Path) -> Config:
    """Reads and checks ``path``; raises ConfigurationError with every fault."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as refused:
        cure = "Name the configuration with -c FILE"
        raise ConfigurationError([Fault(str(path), "", f"cannot be read: {refused.strerror}", cure)]) from None
    if len(content) > _FILE_BYTES_MAX:
        raise ConfigurationError([Fault(str(path), "", f"larger than {_FILE_BYTES_MAX} bytes", "Name a TOML file")])
    try:
        text = content.decode()
    except UnicodeDecodeError as refused:
        line = content.count(b"\n", 0, refused.start) + 1
        raise ConfigurationError([Fault(f"{path}:{line}", "", "not UTF-8", "Save the file as UTF-8")]) from None
    return parse(text, str(path))


def parse(text: str, name: str = "configuration") -> Config:
    """As :func:`load`, from text; ``name`` stands in faults of the file as a whole."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as refused:
        cure = "Every later fault is hidden until this one is mended"
        raise ConfigurationError([Fault(name, "", f"not TOML: {refused}", cure)]) from None
    faults = Faults()
    config = _read(document, faults)
    faults.raise_if_any()
    return config


def _read(document: dict[str, Any], faults: Faults) -> Config:
    for key, value in document.items():
        if key not in _SECTIONS:
            _refuse_section(key, value, faults)
    daemon_section = read_section("daemon.", document.get("daemon", {}), _DAEMON_RULES, faults)
    producer_table = document.get("producer", {})
    producer_section = read_section("producer.", producer_table, _PRODUCER_RULES, faults)
    daemon = _daemon(daemon_section)
    producer = _producer(producer_section, given_names(producer_table))
    check_daemon(daemon, faults)
    check_producer(producer, given_names(producer_table), faults)
    topics = read_topics(document.get("topics", {}), faults)
    before = len(faults.found)
    tables = document.get("listeners", ABSENT)
    listeners = read_listeners(tables, record_bytes_max(producer.max_request_size), faults)
    check_together(listeners, daemon.workers, faults)
    # The topics of a listener with faults are not known for sure: an unused one would be told on top of the real fault.
    tell_unused = Faults() if len(faults.found) > before else faults
    config = Config(daemon, producer, gather_topics(topics, topics_named(listeners), tell_unused), tuple(listeners))
    for topic in topics.values():
        check_topic(topic, config, f"topics.{toml_key(topic.name)}.", faults)
    return config


def _refuse_section(key: str, value: object, faults: Faults) -> None:
    near = nearest(key, _SECTIONS)
    outside = False
    for name, inner in flattened({key: value}):
        if name in PRODUCER or name in DAEMON or name in LISTENER:
            section = "[producer]" if name in PRODUCER else "[daemon]" if name in DAEMON else "[[listeners]]"
            faults.add(name, inner, "outside of any section", f"Move it below {section}")
            outside = True
    if not outside:
        shown = ABSENT if isinstance(value, dict | list) else value
        faults.add(key, shown, "unknown section", f"Did you mean {near}?" if near else f"Use {', '.join(_SECTIONS)}")


def _daemon(section: Section) -> Daemon:
    state = section["state.directory"]
    arena = section["arena.directory"]
    return Daemon(
        workers=_processors() if section["workers"] is None else section["workers"],
        state_directory=state,
        arena_directory=state if arena is UNSET else arena,
        durability=section["durability"],
        stop_timeout_ms=section["stop.timeout.ms"],
        pressure_high=section["pressure.high"],
        pressure_low=section["pressure.low"],
    )


def _processors() -> int:
    """Cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def _producer(section: Section, given: frozenset[str]) -> Producer:
    values = {name.replace(".", "_"): value for name, value in section.items()}
    if values["bootstrap_servers"] is REQUIRED:
        values["bootstrap_servers"] = ()
    if "reconnect.backoff.ms" in given and "reconnect.backoff.max.ms" not in given:
        # As Kafka's clients do: who sets only the first pause gets no growth.
        values["reconnect_backoff_max_ms"] = values["reconnect_backoff_ms"]
    return Producer(**values)
