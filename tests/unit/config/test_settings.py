"""The tables: every setting of Kafka's producer is in one at most, and the reference file says what they say."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingestd import config
from ingestd.config.model import NEVER_MS, Producer
from ingestd.config.reader import parse
from ingestd.config.section import flattened
from ingestd.config.settings import DAEMON, LISTENER, NO_FIELD, OWN_DEFAULTS, PRODUCER, TOPIC
from ingestd.config.settings_refused import PRODUCER_FOREIGN, PRODUCER_NOT_YET
from ingestd.config.values import UNSET
from ingestd.errors import ConfigurationError

REFERENCE = Path(__file__).parents[3] / "configs/ingestd.toml"
TABLES = {"daemon": DAEMON, "producer": PRODUCER, "topics": TOPIC, "listeners": LISTENER}


def uncommented() -> str:
    """The reference with every default written out; only what names another file stays a comment."""
    others = "|".join(map(re.escape, NO_FIELD))
    return re.sub(rf"^# (?!(?:{others}) )([a-z_.]+ = )", r"\1", REFERENCE.read_text(), flags=re.MULTILINE)


def test_a_setting_has_one_place() -> None:
    assert not PRODUCER.keys() & PRODUCER_NOT_YET.keys()
    assert not PRODUCER.keys() & PRODUCER_FOREIGN.keys()
    assert not PRODUCER_NOT_YET.keys() & PRODUCER_FOREIGN.keys()
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


def test_the_reference_with_every_default_written_out_means_the_same() -> None:
    short, long = config.load(REFERENCE), parse(uncommented())
    assert long.daemon == short.daemon
    assert long.producer == short.producer
    assert [long.topic_settings(topic) for topic in long.topics] == [short.topic_settings(t) for t in short.topics]
    assert long.topics[0].delivery_timeout_ms == NEVER_MS
    neutral = {"owner": None, "group": None, "receive_buffer_bytes": None}
    assert [msgspec.structs.replace(listener, **neutral) for listener in long.listeners] == [
        msgspec.structs.replace(listener, **neutral) for listener in short.listeners
    ]
