"""Backoff by Kafka's formula."""

from random import Random

from ingestd.producer.network.backoff import Backoff


def test_delays_double_within_jitter_up_to_the_cap() -> None:
    backoff = Backoff(100, 1000, Random(1))
    for failures, base in ((1, 100), (2, 200), (3, 400), (4, 800)):
        delays = {backoff.delay_ms(failures) for _ in range(200)}
        assert base * 0.8 <= min(delays) < max(delays) <= min(base * 1.2, 1000)
    assert max(backoff.delay_ms(50) for _ in range(200)) == 1000


def test_a_maximum_below_the_start_is_used_without_jitter() -> None:
    backoff = Backoff(500, 100, Random(1))
    assert {backoff.delay_ms(failures) for failures in range(1, 9)} == {100}
