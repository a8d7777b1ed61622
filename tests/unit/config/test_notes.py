"""Settings that are legal together and probably not meant so."""

import pytest

from ingestd.config.checks import notes
from ingestd.config.reader import parse

HEAD = '[producer]\nbootstrap.servers = ["k:1"]\n'
LISTENER = '[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "t"\n'


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ("delivery.timeout.ms = 40000", "no time for a second one"),
        ("retry.backoff.ms = 2000", "retry.backoff.ms = 2000 is above retry.backoff.max.ms = 1000"),
        (
            "reconnect.backoff.ms = 2000\nreconnect.backoff.max.ms = 100",
            "reconnect.backoff.ms = 2000 is above reconnect.backoff.max.ms = 100",
        ),
        ("socket.connection.setup.timeout.ms = 40000", "= 30000, which counts"),
        ("enable.idempotence = false", "may come behind a later one"),
        ("[topics.t]\nbatch.size = 100", "topics.t: batch.size = 100"),
        ("[topics.t]\nlinger.ms = 3600000", "topics.t: linger.ms = 3600000"),
        ("[topics.t]\ndelivery.timeout.ms = 40000", "topics.t: delivery.timeout.ms = 40000"),
    ],
)
def test_it_is_told(settings: str, part: str) -> None:
    assert [note for note in notes(parse(f"{HEAD}{settings}\n{LISTENER}")) if part in note]


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "delivery.timeout.ms = 60000",
        "retry.backoff.ms = 1000",
        "reconnect.backoff.ms = 2000",
        "batch.size = 100\n[topics.t]\nbatch.size = 100",
        "[topics.t]\nlinger.ms = 100\ndelivery.timeout.ms = 'never'",
    ],
)
def test_what_is_reasonable_is_not(settings: str) -> None:
    assert notes(parse(f"{HEAD}{settings}\n{LISTENER}")) == []


def test_one_request_at_a_time_keeps_the_order_without_idempotence() -> None:
    text = f"{HEAD}enable.idempotence = false\nmax.in.flight.requests.per.connection = 1\n{LISTENER}"
    assert not [note for note in notes(parse(text)) if "later one" in note]
