"""From TOML files to a checked :class:`Config`; all faults are found in one go."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ingestd.config.checks import check_admin, check_daemon, check_producer, check_topic, notes, record_bytes_max
from ingestd.config.documents import Document, expanded, merged, parse_toml, read_documents
from ingestd.config.faults import ABSENT, Faults, is_secret, nearest, toml_key
from ingestd.config.kafka_file import FILE_KEY, KafkaFile
from ingestd.config.listeners import check_together, read_listeners, topics_named
from ingestd.config.model import Config, Daemon, Producer
from ingestd.config.section import Rules, Section, flattened, given_names, read_section
from ingestd.config.settings import DAEMON, LISTENER, NO_FIELD, PRODUCER
from ingestd.config.settings_ignored import PRODUCER_IGNORED
from ingestd.config.settings_refused import PRODUCER_FOREIGN, PRODUCER_NOT_YET
from ingestd.config.sources import Sources
from ingestd.config.topics import gather_topics, read_topics
from ingestd.config.values import REQUIRED, UNSET

_SECTIONS: Final = ("daemon", "producer", "topics", "listeners")
_DAEMON_RULES: Final = Rules(DAEMON, elsewhere=dict.fromkeys(PRODUCER, "[producer]"))
_PRODUCER_RULES: Final = Rules(
    PRODUCER,
    not_yet=PRODUCER_NOT_YET,
    foreign=PRODUCER_FOREIGN,
    ignored=PRODUCER_IGNORED,
    elsewhere={"partitions": "[topics.NAME]", **dict.fromkeys(DAEMON, "[daemon]")},
)


class Loaded(NamedTuple):
    """A configuration, where each of its values comes from, and what is allowed and yet worth a second look."""

    config: Config
    sources: Sources
    notes: list[str]


def load(paths: Sequence[Path]) -> Loaded:
    """Reads and checks the files at ``paths`` with their drop-ins; raises ConfigurationError with every fault."""
    return read(read_documents(paths), os.environ)


def load_daemon(paths: Sequence[Path]) -> Daemon:
    """Section ``[daemon]`` alone, whatever else is wrong with the files, for who only looks for the daemon's places.

    ConfigurationError if that section has faults itself.
    """
    faults = Faults()
    whole = merged(read_documents(paths), faults.sources)
    section = expanded({"daemon": whole.get("daemon", {})}, os.environ, faults)["daemon"]
    daemon = _daemon(read_section("daemon.", section, _DAEMON_RULES, faults))
    check_daemon(daemon, faults)
    faults.raise_if_any()
    return daemon


def parse(text: str, name: str = "configuration") -> Config:
    """As :func:`load`, from text; ``name`` stands in faults of the file as a whole."""
    return read([Document("", parse_toml(text, name))], os.environ).config


def read(documents: Sequence[Document], environment: Mapping[str, str]) -> Loaded:
    """Checks what stands in ``documents``, later ones over earlier ones; ConfigurationError with every fault."""
    faults = Faults()
    whole = expanded(merged(documents, faults.sources), environment, faults)
    exposed = {document.file for document in documents if document.exposed}
    table = whole.get("producer")
    if isinstance(table, dict):
        whole["producer"] = _with_kafka_file(table, exposed, environment, faults)
    config = _read(whole, faults)
    faults.raise_if_any()
    _note_exposed(whole.get("producer", {}), exposed, faults)
    return Loaded(config, faults.sources, [*faults.notes, *notes(config)])


def _with_kafka_file(
    table: dict[str, Any], exposed: set[str], environment: Mapping[str, str], faults: Faults
) -> dict[str, Any]:
    named = dict(flattened(table)).get(FILE_KEY)
    if named is None:
        return table
    place = faults.sources.of(f"producer.{FILE_KEY}").place
    file = KafkaFile.read(named, Path(place).absolute().parent if place else None, faults)
    if file is None:
        return table
    if file.exposed:
        exposed.add(str(file.path))
    return file.laid_below(table, _PRODUCER_RULES, environment, faults)


def _note_exposed(table: Mapping[str, Any], exposed: set[str], faults: Faults) -> None:
    """Says which secrets stand in files that every user of the host can read."""
    for name, _ in flattened(table):
        key = f"producer.{name}"
        source = faults.sources.of(key)
        file = source.place if source.place in exposed else source.place.rpartition(":")[0]
        if is_secret(name) and not source.concealed and not source.replaced and file in exposed:
            faults.note(key, f"every user of this host can read it there. Run: chmod o= {file}")


def _read(document: dict[str, Any], faults: Faults) -> Config:
    for key, value in document.items():
        if key not in _SECTIONS:
            _refuse_section(key, value, faults)
    daemon_section = read_section("daemon.", document.get("daemon", {}), _DAEMON_RULES, faults)
    producer_table = document.get("producer", {})
    producer_section = read_section("producer.", producer_table, _PRODUCER_RULES, faults)
    daemon = _daemon(daemon_section)
    producer = producer_of(producer_section, given_names(producer_table))
    check_daemon(daemon, faults)
    check_producer(producer, given_names(producer_table), faults)
    topics = read_topics(document.get("topics", {}), faults)
    before = len(faults.found)
    tables = document.get("listeners", ABSENT)
    listeners = read_listeners(tables, record_bytes_max(producer.max_request_size), faults)
    check_together(listeners, daemon.workers, faults)
    check_admin(daemon, listeners, faults)
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
        faults.add(key, ABSENT, "unknown section", f"Did you mean {near}?" if near else f"Use {', '.join(_SECTIONS)}")


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
        dead_letters_bytes_max=section["dead.letters.bytes.max"],
        dead_letters_days_max=section["dead.letters.days.max"],
        data_loss_suspected=section["data.loss.suspected"],
        admin_listen=None if section["admin.listen"] is UNSET else section["admin.listen"],
    )


def _processors() -> int:
    """Cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def producer_of(section: Section, given: frozenset[str]) -> Producer:
    """The producer's settings; ``given``: the names that were written."""
    values = {name.replace(".", "_"): value for name, value in section.items() if name not in NO_FIELD}
    if values["bootstrap_servers"] is REQUIRED:
        values["bootstrap_servers"] = ()
    if "reconnect.backoff.ms" in given and "reconnect.backoff.max.ms" not in given:
        # As Kafka's clients do: who sets only the first pause gets no growth.
        values["reconnect_backoff_max_ms"] = values["reconnect_backoff_ms"]
    return Producer(**values)
