"""Exponential backoff with jitter, by Kafka's formula (KIP-580, ExponentialBackoff)."""

from math import log2
from random import Random
from typing import Final

JITTER: Final = 0.2


class Backoff:
    """``initial_ms`` doubles per failure up to ``max_ms``; a random factor within ±20 % spreads the callers.

    The cap is applied after the jitter; with ``initial_ms`` >= ``max_ms`` the value is ``max_ms`` without jitter.
    """

    __slots__ = ("_exponent_max", "_initial_ms", "_max_ms", "_random")

    def __init__(self, initial_ms: int, max_ms: int, random: Random) -> None:
        self._initial_ms = initial_ms
        self._max_ms = max_ms
        self._random = random
        self._exponent_max = log2(max(max_ms, 1) / max(initial_ms, 1)) if max_ms > initial_ms else 0.0

    def delay_ms(self, failures: int) -> int:
        """Delay before the next try; ``failures`` counts those in a row, 1 for the first."""
        if self._initial_ms >= self._max_ms:
            return self._max_ms
        base = self._initial_ms * 2.0 ** min(failures - 1, self._exponent_max)
        return int(min(self._max_ms, base * self._random.uniform(1 - JITTER, 1 + JITTER)))
