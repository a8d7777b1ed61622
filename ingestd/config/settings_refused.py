"""Settings of Kafka's producer that are refused, each with what to do instead."""

from collections.abc import Mapping
from typing import Final

PRODUCER_NOT_YET: Final[Mapping[str, str]] = {}
"""Kafka's settings that a later version reads; until then they are refused rather than ignored."""

PRODUCER_FOREIGN: Final[Mapping[str, str]] = {
    "config.providers": "write ${NAME} or ${file:PATH} (config.providers counts in a properties file)",
}
"""Kafka's settings that mean nothing in this daemon, and why."""
