"""Every setting as data, by section: name, kind, default, unit, when to change it. The tables are in ``settings_*``.

A default of REQUIRED must be given; one of UNSET is derived (from another setting, the format, the host).
"""

from collections.abc import Mapping
from typing import Final

from ingestd.config import (
    settings_compression,
    settings_daemon,
    settings_failures,
    settings_listener,
    settings_network,
    settings_partitioner,
    settings_producer,
    settings_security,
)
from ingestd.config import values as v
from ingestd.config.values import UNSET, Setting

_PRODUCER: Final = (
    *settings_producer.SETTINGS,
    *settings_compression.SETTINGS,
    *settings_partitioner.SETTINGS,
    *settings_network.SETTINGS,
    *settings_security.SETTINGS,
)

_TOPIC: Final = (
    Setting(
        "partitions",
        v.integer(1, 1_000_000),
        UNSET,
        "partitions",
        "Lets a first start without Kafka accept records at once.",
    ),
    *(
        setting._replace(default=UNSET)
        for setting in _PRODUCER
        if setting.name in ("linger.ms", "batch.size", "delivery.timeout.ms")
    ),
    *(setting._replace(default=UNSET) for setting in settings_compression.SETTINGS),
    *(setting._replace(default=UNSET) for setting in settings_partitioner.SETTINGS),
)


def _by_name(settings: tuple[Setting, ...]) -> Mapping[str, Setting]:
    return {setting.name: setting for setting in settings}


DAEMON: Final = _by_name((*settings_daemon.SETTINGS, *settings_failures.SETTINGS))
PRODUCER: Final = _by_name(_PRODUCER)
TOPIC: Final = _by_name(_TOPIC)
LISTENER: Final = _by_name(settings_listener.SETTINGS)

NO_FIELD: Final = frozenset({"properties.file"})
"""Settings that say where others stand and are not in the model themselves."""

OWN_DEFAULTS: Final[Mapping[str, object]] = {
    "delivery.timeout.ms": 120_000,
    "batch.size": 16_384,
    "buffer.memory": 33_554_432,
    "send.buffer.bytes": 131_072,
    "client.id": "producer-N",
    "ssl.truststore.type": "JKS",
    "ssl.keystore.type": "JKS",
    "sasl.login.connect.timeout.ms": None,
    "sasl.login.read.timeout.ms": None,
}
"""Settings whose default is not Kafka's, with Kafka's: an outage must not become a loss unless it was asked for."""
