"""The tables: every setting of Kafka's producer is in one at most, and the reference file says what they say."""

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingestd import config
from ingestd.config.faults import RefusedError
from ingestd.config.model import NEVER_MS, Producer
from ingestd.config.reader import parse
from ingestd.config.section import flattened
from ingestd.config.settings import DAEMON, LISTENER, NO_FIELD, OWN_DEFAULTS, PRODUCER, TOPIC
from ingestd.config.settings_ignored import PRODUCER_IGNORED
from ingestd.config.settings_refused import PRODUCER_FOREIGN, PRODUCER_NOT_YET
from ingestd.config.values import INT_MAX, LONG_MAX, REQUIRED, UNSET, Setting
from ingestd.errors import ConfigurationError
from ingestd.secret import Secret
from tests.reference.kafka_settings import NEWER, KafkaSetting, kafka_settings

REFERENCE = Path(__file__).parents[3] / "configs/ingestd.toml"
TABLES = {"daemon": DAEMON, "producer": PRODUCER, "topics": TOPIC, "listeners": LISTENER}


EXAMPLES = {"properties.file", "partitions", "owner", "group", "receive_buffer_bytes"}
"""Settings without a default, of which the reference shows an example."""


def uncommented(but: Collection[str] = NO_FIELD) -> str:
    """The reference with every default written out; what is in ``but`` stays a comment."""
    others = "|".join(map(re.escape, but))
    return re.sub(rf"^# (?!(?:{others}) )([a-z0-9_.]+ = )", r"\1", REFERENCE.read_text(), flags=re.MULTILINE)


def test_a_setting_has_one_place() -> None:
    assert not PRODUCER.keys() & PRODUCER_NOT_YET.keys()
    assert not PRODUCER.keys() & PRODUCER_FOREIGN.keys()
    assert not PRODUCER_NOT_YET.keys() & PRODUCER_FOREIGN.keys()
    assert not PRODUCER_IGNORED.keys() & {*PRODUCER, *PRODUCER_NOT_YET, *PRODUCER_FOREIGN}
    assert OWN_DEFAULTS.keys() <= PRODUCER.keys()


def test_the_model_has_a_field_for_every_producer_setting() -> None:
    names = PRODUCER.keys() - NO_FIELD
    assert {name.replace(".", "_") for name in names} == {field.name for field in msgspec.structs.fields(Producer)}


@pytest.mark.parametrize("name", [*PRODUCER_NOT_YET, *PRODUCER_FOREIGN])
def test_what_is_not_supported_is_refused_by_name(name: str) -> None:
    text = f'[producer]\nbootstrap.servers = ["k:1"]\n{name} = "x"\n'
    text += '[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "t"\n'
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    # A name that begins with another setting's whole name cannot stand beside it in TOML, but stands alone.
    assert [fault.key for fault in caught.value.faults] == [f"producer.{name}"]
    assert ("not yet" in caught.value.faults[0].text) == (name in PRODUCER_NOT_YET)


@pytest.mark.parametrize("setting", [s for table in TABLES.values() for s in table.values()], ids=lambda s: s.name)
def test_every_setting_is_explained(setting: Any) -> None:
    assert setting.text.endswith(".")
    assert setting.kind.valid


def test_the_reference_names_every_setting_with_its_default() -> None:
    document = tomllib.loads(uncommented())
    sections: dict[str, list[dict[str, Any]]] = {
        "daemon": [document["daemon"]],
        "producer": [document["producer"]],
        "topics": list(document["topics"].values()),
        "listeners": document["listeners"],
    }
    for section, tables in sections.items():
        named = {name for table in tables for name, _ in flattened({**table, "key": 0, "headers": 0})}
        missing = TABLES[section].keys() - named - NO_FIELD
        assert not missing, section
    assert all(f"\n# {name} = " in REFERENCE.read_text() for name in NO_FIELD)
    for section, table in (("daemon", DAEMON), ("producer", PRODUCER)):
        for name, value in flattened(document[section]):
            default = table[name].default
            if default is not UNSET and name != "bootstrap.servers":
                assert table[name].kind.read(value) == default, name


@pytest.mark.parametrize("setting", [s for table in TABLES.values() for s in table.values()], ids=lambda s: s.name)
def test_the_reference_says_when_to_change_it_and_in_which_unit_it_is(setting: Setting) -> None:
    prose = REFERENCE.read_text().replace("\n# ", " ")
    assert f"{setting.text} [{setting.unit}]" in prose if setting.unit else setting.text in prose


def test_the_reference_with_every_default_written_out_means_the_same() -> None:
    short, long = config.load(REFERENCE), parse(uncommented(EXAMPLES))
    assert long.daemon == short.daemon
    assert long.producer == short.producer
    assert [long.topic_settings(topic) for topic in long.topics] == [short.topic_settings(t) for t in short.topics]
    assert long.topics[0].delivery_timeout_ms == NEVER_MS
    assert long.listeners == short.listeners


def test_the_reference_marks_what_is_an_example_and_no_default() -> None:
    commented = re.findall(r"^# ([a-z0-9_.]+) = .*?(  # example.*)?$", REFERENCE.read_text(), flags=re.MULTILINE)
    assert {name for name, mark in commented if mark} == EXAMPLES
    settings = {name: setting for table in TABLES.values() for name, setting in table.items()}
    assert all(settings[name].default is UNSET for name in EXAMPLES)


# Where our range is narrower than Kafka's, and why.
NARROWER: dict[str, tuple[int, int]] = {
    "max.request.size": (1024, INT_MAX),  # a smaller one carries no record
    "buffer.memory": (0, 1 << 44),  # a file of that size is preallocated; checks.py has the lower bound
    "request.timeout.ms": (1, INT_MAX),  # no answer comes in no time
    "socket.connection.setup.timeout.ms": (1, INT_MAX),  # nor does a connection
    "socket.connection.setup.timeout.max.ms": (1, INT_MAX),
    "sasl.login.connect.timeout.ms": (1, INT_MAX),
    "sasl.login.read.timeout.ms": (1, INT_MAX),
    "connections.max.idle.ms": (0, LONG_MAX),  # Kafka says nothing of negative ones
}
HIGHEST = {"SHORT": 2**15 - 1, "INT": INT_MAX, "LONG": LONG_MAX}
NOTHING = (None, UNSET, "", (), Secret(""))


@pytest.mark.parametrize("name", [*(row.name for row in kafka_settings()), *NEWER])
def test_every_setting_of_kafkas_producer_is_read_or_answered(name: str) -> None:
    places = [PRODUCER, PRODUCER_IGNORED, PRODUCER_NOT_YET, PRODUCER_FOREIGN]
    assert sum(name in place for place in places) == 1


@pytest.mark.parametrize("row", [row for row in kafka_settings() if row.mark != "-"], ids=lambda row: row.name)
def test_what_the_daemon_must_have_is_read_with_kafkas_default_and_range(row: KafkaSetting) -> None:
    if row.name in PRODUCER_NOT_YET:
        return
    setting = PRODUCER[row.name]
    default = OWN_DEFAULTS.get(row.name, setting.default)
    if row.default in ("null", "", "[]", "REQUIRED"):
        assert default in (*NOTHING, REQUIRED) or row.name in OWN_DEFAULTS
    elif row.name in OWN_DEFAULTS:
        assert str(default) == row.default
    else:
        text = row.default.strip("[]").replace(", ", ",")
        assert setting.kind.read(setting.kind.from_text(text)) == default
    if row.type in HIGHEST:
        check_range(row, setting)


def check_range(row: KafkaSetting, setting: Setting) -> None:
    """Both ends are taken and nothing beyond; a word or -1 beside the range is the kind's own affair."""
    bounds = [part for part in row.range.split("]")[0].strip("[").split(",") if part not in ("", "...")]
    low = int(bounds[0]) if bounds else 0
    high = int(bounds[1]) if len(bounds) > 1 else HIGHEST[row.type]
    low, high = NARROWER.get(row.name, (low, high))
    assert (setting.kind.read(low), setting.kind.read(high)) == (low, high)
    for beyond in (low - 1, high + 1):
        if not (beyond == -1 and "or -1" in row.range) and not (beyond == 0 and "or -1" in row.range):
            with pytest.raises(RefusedError):
                setting.kind.read(beyond)


@pytest.mark.parametrize("name", PRODUCER_IGNORED)
def test_what_is_ignored_is_told_or_refused_with_a_cure(name: str) -> None:
    try:
        notice = PRODUCER_IGNORED[name]("com.example.Something")
    except RefusedError as refused:
        assert refused.cure
    else:
        assert notice.startswith("changes nothing here: ")
