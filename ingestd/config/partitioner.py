"""What ``partitioner.class`` may say, and what must hold between the settings of the partitioner."""

import importlib.util
import re
from typing import Final

from ingestd.config.faults import Faults, RefusedError, toml_text
from ingestd.config.model import Partitioning, Producer
from ingestd.config.values import Kind
from ingestd.secret import Secret

BUILT_IN: Final = ""
"""Kafka's: murmur2 of the key; without a key sticky and adaptive (KIP-794). Also written as librdkafka calls it."""
MURMUR2: Final = "murmur2_random"
CRC32: Final = "consistent_random"
ROUND_ROBIN: Final = "round_robin"
CHOICES: Final = (BUILT_IN, CRC32, ROUND_ROBIN)
_COMPILED: Final = {BUILT_IN: "murmur2", CRC32: "crc32", ROUND_ROBIN: "round_robin"}

_PYTHON: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_JAVA: Final = re.compile(r"[a-z_]\w*(\.\w+)+", re.ASCII)
_JAVA_ROUND_ROBIN: Final = "org.apache.kafka.clients.producer.RoundRobinPartitioner"
_REMOVED: Final = {
    "DefaultPartitioner": "Leave it out: the built-in partitioner does what it did, and better without keys",
    "UniformStickyPartitioner": "Leave it out and write partitioner.ignore.keys = true",
}
_VALID: Final = ", ".join(map(toml_text, (MURMUR2, CRC32, ROUND_ROBIN)))
_USE: Final = f'Use {_VALID}, or "module:Class" of your own in Python'


def class_name() -> Kind:
    """Becomes one of CHOICES, or stays ``module:Class``; Java's names of what is here are taken, too."""
    return Kind("string", f'{_VALID}, "module:Class"', _read)


def _read(value: object) -> object:
    if not isinstance(value, str):
        raise RefusedError("not a string", "Write it in quotes")
    name = value.strip()
    if name in (BUILT_IN, MURMUR2):
        return BUILT_IN
    if name in CHOICES:
        return name
    if name == _JAVA_ROUND_ROBIN:
        return ROUND_ROBIN
    last = name.rpartition(".")[2]
    if last in _REMOVED:
        raise RefusedError("removed in Kafka 4.0", _REMOVED[last])
    if _PYTHON.fullmatch(name):
        return _found(name)
    if _JAVA.fullmatch(name):
        raise RefusedError("a class of Java", 'Write it anew in Python ("module:Class", see docs/partitioning.md)')
    raise RefusedError("not a known partitioner", _USE)


def _found(name: str) -> str:
    """Only looked for, not imported: the supervisor runs nobody's code."""
    package = name.partition(":")[0].partition(".")[0]
    # __main__ is what runs, here and in each worker another program.
    if package == "__main__" or importlib.util.find_spec(package) is None:
        raise RefusedError(f"no module {package}", "Install it beside ingestd, or put its folder on PYTHONPATH")
    return name


def compiled_name(settings: Partitioning) -> str | None:
    """What the record path calls that choice (``hotpath.intake.PARTITIONERS``); None: it is a class in Python."""
    if settings.ignore_keys and settings.partitioner_class == BUILT_IN:
        return "sticky"
    return _COMPILED.get(settings.partitioner_class)


def check_partitioner(place: str, settings: Partitioning, faults: Faults) -> None:
    """Settings that would have no effect beside each other."""
    name = settings.partitioner_class
    if settings.ignore_keys and name not in (BUILT_IN, ROUND_ROBIN):
        text = f'contradicts partitioner.class = "{name}", which looks at keys'
        faults.add(f"{place}partitioner.ignore.keys", True, text, "Leave out one of the two")
    timeout_ms = settings.availability_timeout_ms
    if timeout_ms and not settings.adaptive:
        text = "has no effect without partitioner.adaptive.partitioning.enable = true"
        faults.add(f"{place}partitioner.availability.timeout.ms", timeout_ms, text, "Leave out one of the two")
    elif timeout_ms and name not in (BUILT_IN, CRC32):
        text = f'has no effect with partitioner.class = "{name}"'
        faults.add(f"{place}partitioner.availability.timeout.ms", timeout_ms, text, "Leave out one of the two")


def configs_of(producer: Producer) -> dict[str, object]:
    """What a partitioner is configured with: the producer's settings by Kafka's names, secrets left out."""
    values = ((name.replace("_", "."), getattr(producer, name)) for name in producer.__struct_fields__)
    return {name: value for name, value in values if not isinstance(value, Secret)}
