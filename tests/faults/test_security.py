"""Bad days of certificates, passwords and permissions, under load."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.certificates import Authority
from tests.faults.conftest import BadDay
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import LineSender, make_lines
from tests.kafka.reader import judge, read_until
from tests.kafka.secure import client_settings, scram_properties, set_password, tls_properties, write_acl
from tests.kafka.test_end_to_end import line_listener

pytestmark = pytest.mark.faults
ENDLESS = 1 << 40
RATE = 500.0
PASSWORD = "canary-3c90aa-one"
OTHER = "canary-3c90aa-two"
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}


class Day:
    """A broker with SCRAM over TLS, a daemon that sends to it, and a sender that goes on until the end."""

    def __init__(
        self,
        start_cluster: Callable[..., Cluster],
        make_daemon: Callable[..., Daemon],
        folder: Path,
        topic: str,
        seed: int,
        **properties: str,
    ) -> None:
        self.topic = topic
        self.authority = Authority()
        self.stores = folder / "stores"
        secure = {**tls_properties("CLIENTS", self.authority.issue(), self.stores), **scram_properties("CLIENTS")}
        # What has no login for longer than this is cut off and must log in anew: a password counts at once.
        secure["listener.name.clients.connections.max.reauth.ms"] = "3000"
        self.cluster = start_cluster(1, protocol="SASL_SSL", properties={**secure, **properties})
        set_password(self.cluster, "ingestd", PASSWORD)
        self.cluster.create_topic(topic, 2)
        producer = client_settings(self.authority.pem(self.stores / "ca.pem"), "ingestd", PASSWORD)
        self.daemon = make_daemon(self.cluster.bootstrap, [line_listener(topic)], producer=producer)
        self._seed = seed

    def begin(self) -> None:
        """Records flow."""
        self.daemon.start()
        path = f"{self.daemon.sockets}/lines"
        self._sender = LineSender(path, make_lines("a", ENDLESS, seed=self._seed), rate=RATE)
        self._sender.start()
        self.daemon.wait_for(lambda: self.daemon.ledger()["delivered"] > 0, 15, "records delivered")

    def said(self, text: str, seconds: float = 15.0) -> None:
        """Waits for the log to say that, and no secret."""
        self.daemon.wait_for(lambda: text in self.daemon.log.read_text(), seconds, text)

    def end(self, day: BadDay, told: str) -> None:
        """Everything must be there once and in order."""
        time.sleep(1)
        sent = {"a": self._sender.finish(now=True)}
        total = len(sent["a"])
        books = self.daemon.wait_settled(total)
        verdict = judge(sent, read_until(self.cluster.direct, self.topic, total, 60))
        day.judge(verdict, told)
        assert verdict.clean, verdict
        assert (books["delivered"], books["possible_duplicates"]) == (total, 0)
        log = self.daemon.log.read_text()
        assert PASSWORD not in log
        assert OTHER not in log


@pytest.fixture
def make_day(
    start_cluster: Callable[..., Cluster],
    make_daemon: Callable[..., Daemon],
    tmp_path: Path,
    topic_name: str,
    seed: int,
) -> Callable[..., Day]:
    """``make_day(**properties of the broker)``."""
    return partial(Day, start_cluster, make_daemon, tmp_path, topic_name, seed)


def test_a_password_is_changed(make_day: Callable[..., Day], bad_day: BadDay) -> None:
    """SCRAM password changed at the brokers, and back"""
    day = make_day()
    day.begin()
    set_password(day.cluster, "ingestd", OTHER)
    day.said("login refused: SASL_AUTHENTICATION_FAILED")
    day.said("cannot connect to")
    set_password(day.cluster, "ingestd", PASSWORD)
    day.said("answers again")
    day.end(bad_day, "log: login refused, check sasl.username and sasl.password")


def test_a_certificate_expires_and_is_renewed(make_day: Callable[..., Day], bad_day: BadDay) -> None:
    """broker's certificate expired, and renewed"""
    day = make_day()
    day.begin()
    node = day.cluster.nodes[0]
    store = day.stores / "clients.pem"
    for ended in (True, False):
        day.authority.issue(ended=ended).pem(store)
        node.restart()
        day.said("its certificate has expired" if ended else "answers again", 20)
    day.end(bad_day, "log: its certificate has expired")


def test_permission_is_taken_away_and_given_back(make_day: Callable[..., Day], bad_day: BadDay) -> None:
    """permission to write (ACL) taken away, and given back"""
    day = make_day(**AUTHORIZER)
    admin = day.cluster.admin
    acl = write_acl("ingestd", day.topic)
    admin.create_acls([acl])[acl].result(30)
    day.begin()
    everything = AclBindingFilter(
        ResourceType.TOPIC,
        day.topic,
        ResourcePatternType.LITERAL,
        "User:ingestd",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    admin.delete_acls([everything])[everything].result(30)
    time.sleep(2)
    before = day.daemon.ledger()["delivered"]
    time.sleep(3)
    assert day.daemon.ledger()["delivered"] - before <= RATE
    admin.create_acls([acl])[acl].result(30)
    day.daemon.wait_for(lambda: day.daemon.ledger()["delivered"] > before + 2 * RATE, 30, "records delivered again")
    day.end(bad_day, "retried until topic.denied.timeout.ms, then dead letters")
