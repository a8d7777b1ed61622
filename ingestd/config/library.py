"""The configuration of a producer inside a Python program: a dict of Kafka's names, with Kafka's own defaults but for
those of ``NOT_KAFKAS``.

Values are as Kafka's properties have them (``"5"``, ``"true"``, ``"a:9092,b:9092"``) or Python's (``5``, ``True``,
``["a:9092", "b:9092"]``).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ingestd.config.checks import check_producer
from ingestd.config.faults import ABSENT, Faults
from ingestd.config.model import Producer
from ingestd.config.partitioner import CHOICES
from ingestd.config.reader import producer_of
from ingestd.config.section import Rules, read_section
from ingestd.config.settings import NO_FIELD, OWN_DEFAULTS, PRODUCER
from ingestd.config.settings_ignored import PRODUCER_IGNORED
from ingestd.config.settings_refused import PRODUCER_FOREIGN, PRODUCER_NOT_YET
from ingestd.config.values import Setting
from ingestd.secret import Secret

OBJECTS: Final = ("key.serializer", "value.serializer", "partitioner.class")
"""Settings whose value may be an object of the program; None is none, as in Kafka."""

NOT_KAFKAS: Final = frozenset(
    {
        "ssl.truststore.type",
        "ssl.keystore.type",
        "sasl.login.connect.timeout.ms",
        "sasl.login.read.timeout.ms",
    }
)
"""Settings with the daemon's default in a program, too: only Java reads Kafka's JKS, and its threads wait for a token
endpoint without end."""

_NOTHING: Final = ("", (), Secret(""))
"""Defaults that stand for Kafka's null."""
_VARIABLE: Final = re.compile(r"""(^\s*|["'])\$\{[A-Za-z_]\w*(:[^{}]*)?\}(["']|\s*$)""")
"""``${NAME}`` or ``${provider:...}`` by itself, or in the quotes of a JAAS configuration: a password that is left to be
read would go to the broker as it stands."""

_SETTINGS: Final[Mapping[str, Setting]] = {
    name: setting if name in NOT_KAFKAS else setting._replace(default=OWN_DEFAULTS.get(name, setting.default))
    for name, setting in PRODUCER.items()
    if name not in NO_FIELD
}
_RULES: Final = Rules(
    {**_SETTINGS, "client.id": _SETTINGS["client.id"]._replace(default="")},
    not_yet=PRODUCER_NOT_YET,
    foreign={
        **PRODUCER_FOREIGN,
        "config.providers": "variables are not replaced, the program gives what they hold",
        **dict.fromkeys(NO_FIELD, "the configuration of a program is this dict"),
    },
    ignored={name: notice for name, notice in PRODUCER_IGNORED.items() if name not in OBJECTS},
)


class LibrarySettings(NamedTuple):
    """``producer``: what the daemon has as ``[producer]``; ``objects``: those of OBJECTS that were given; ``notes``:
    settings that change nothing, and why."""

    producer: Producer
    objects: dict[str, Any]
    notes: list[str]


def read_library_settings(config: Mapping[str, object]) -> LibrarySettings:
    """Raises ConfigurationError with every fault, each with key, value and cure."""
    faults = Faults()
    objects = {
        name: config[name] for name in OBJECTS if config.get(name) is not None and not _is_ours(name, config[name])
    }
    left = {str(name): value for name, value in config.items() if name not in OBJECTS or _is_ours(name, value)}
    table = {
        name: _plain(name, value)
        for name, value in left.items()
        if not _is_unset(name, value) and _is_value(name, value, faults)
    }
    given = frozenset(table)
    section = read_section("", table, _RULES, faults)
    if "delivery.timeout.ms" not in given:
        # As Kafka's producer: an explicit value that is too small is a fault, a default gives way.
        floor = section["linger.ms"] + section["request.timeout.ms"]
        section["delivery.timeout.ms"] = max(section["delivery.timeout.ms"], floor)
    producer = producer_of(section, given)
    check_producer(producer, given, faults)
    if producer.partitioner_class not in CHOICES:
        cure = "Import it, and give the class or an object of it (docs/library.md)"
        faults.add("partitioner.class", producer.partitioner_class, "a name, where the class is at hand", cure)
    faults.found = [fault._replace(key=fault.key.removeprefix("producer.")) for fault in faults.found]
    faults.raise_if_any()
    return LibrarySettings(producer, objects, faults.notes)


def _is_ours(name: str, value: object) -> bool:
    """A partitioner by name is a setting like any other."""
    return name == "partitioner.class" and isinstance(value, str)


def _is_unset(name: str, value: object) -> bool:
    """None is Kafka's null: nothing is set, where nothing is the default."""
    if value is not None:
        return False
    setting = _RULES.settings.get(name)
    return name in _RULES.ignored if setting is None else name in NOT_KAFKAS or setting.default in _NOTHING


def _is_value(name: str, value: object, faults: Faults) -> bool:
    """Whether ``value`` is one at all, and no part of a file: tables and variables are for those of the daemon."""
    if isinstance(value, Mapping):
        # Its content may be a secret.
        faults.add_last(name, ABSENT, "a dict", 'Write whole names, such as "ssl.truststore.location"')
        return False
    if name in _RULES.settings and any(_VARIABLE.search(item) for item in _items(value) if isinstance(item, str)):
        faults.add_last(
            name, value, "a variable, and none are replaced here", "Read it in the program, and give what it holds"
        )
    return True


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _plain(name: str, value: object) -> object:
    """The value as it would stand in a TOML file."""
    setting = _RULES.settings.get(name)
    if setting is not None and isinstance(value, str):
        return setting.kind.from_text(value.strip())
    return list(value) if isinstance(value, tuple) else value
