"""A real broker with TLS and SCRAM: 100,000 records through it; who is not let in is told why, without a secret."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest

from ingestd.client.errors import TimeoutException
from ingestd.producer import Producer, ProducerRecord
from tests.certificates import Authority
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import COMMAND, Daemon
from tests.kafka.leaks import commands_with, dumps_forbidden, places_with
from tests.kafka.load import LineSender, make_lines
from tests.kafka.processes import free_ports
from tests.kafka.reader import judge, read_until
from tests.kafka.secure import client_settings, scram_properties, set_password, tls_properties
from tests.kafka.test_end_to_end import line_listener
from tests.kafka.test_metrics import scrape

RECORDS = 100_000
OF_A_PROGRAM = 1000
PASSWORD = "canary-5b1f0e-good"
WRONG = "canary-77ad02-bad"
TOLD_SECONDS_MAX = 60.0
TRIED_MS_MAX = 20_000
"""It tries every second, and a busy host takes long for one try with all its handshakes."""


class Secure(NamedTuple):
    """A cluster with a good listener (CLIENTS), two whose certificates are not, one that wants the client's (MUTUAL),
    and one whose logins live for 2.5 s (BRIEF).
    """

    cluster: Cluster
    authority: Authority
    ca: Path
    other_ca: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    authority, stores = Authority(), folder / "stores"
    listeners = {"EXPIRED": "SSL", "ELSEWHERE": "SSL", "MUTUAL": "SSL", "BRIEF": "SASL_SSL"}
    properties = {
        **tls_properties("CLIENTS", authority.issue(), stores),
        **scram_properties("CLIENTS"),
        **tls_properties("EXPIRED", authority.issue(ended=True), stores),
        **tls_properties("ELSEWHERE", authority.issue(hosts=("kafka.example",)), stores),
        **tls_properties("MUTUAL", authority.issue(), stores, authority),
        **tls_properties("BRIEF", authority.issue(), stores),
        **scram_properties("BRIEF"),
        "listener.name.brief.connections.max.reauth.ms": "2500",
    }
    cluster = Cluster(folder / "kafka", protocol="SASL_SSL", listeners=listeners, properties=properties)
    other_ca = Authority("Other CA").pem(stores / "other-ca.pem")
    with closing(_Ended(cluster)):
        cluster.start()
        set_password(cluster, "ingestd", PASSWORD)
        yield Secure(cluster, authority, authority.pem(stores / "ca.pem"), other_ca)


class _Ended:
    """closing() for a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.close = cluster.stop


def test_a_hundred_thousand_records_go_through_tls_and_scram(
    secure: Secure, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    cluster = secure.cluster
    cluster.create_topic(topic_name, 4)
    password = secure.ca.with_name("password")
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    producer = client_settings(secure.ca, "ingestd", f"${{file:{password}}}")
    daemon = make_daemon(cluster.bootstrap, [line_listener(topic_name)], producer=producer)
    daemon.start(log_level="debug")
    senders = {
        name: LineSender(f"{daemon.sockets}/lines", make_lines(name, RECORDS // 4, seed=seed)) for name in "abcd"
    }
    for sender in senders.values():
        sender.start()
    sent = {name: sender.finish() for name, sender in senders.items()}
    books = daemon.wait_settled(RECORDS)
    assert (books["delivered"], books["possible_duplicates"]) == (RECORDS, 0)
    verdict = judge(sent, read_until(cluster.direct, topic_name, RECORDS, 60))
    assert verdict.clean, verdict
    assert places_with(PASSWORD, daemon) + commands_with(PASSWORD, daemon) == []
    assert dumps_forbidden(daemon)
    assert daemon.stop() == 0


def test_a_program_logs_in_as_the_daemon_does(secure: Secure, topic_name: str) -> None:
    """The library: a CA in PEM whose type nobody names; then a password that the cluster does not know."""
    cluster = secure.cluster
    cluster.create_topic(topic_name, 2)
    good: dict[str, object] = {
        "bootstrap.servers": cluster.bootstrap,
        **client_settings(secure.ca, "ingestd", PASSWORD),
    }
    with Producer(good) as producer:
        futures = [producer.send(ProducerRecord(topic_name, f"{number}")) for number in range(OF_A_PROGRAM)]
        assert all(future.result(30).offset >= 0 for future in futures)
    found = read_until(cluster.direct, topic_name, OF_A_PROGRAM)
    assert sorted(int(record.value or b"-1") for record in found) == list(range(OF_A_PROGRAM))
    wrong = {**good, "sasl.password": WRONG, "max.block.ms": 3000}
    with Producer(wrong) as producer, pytest.raises(TimeoutException) as raised:
        producer.send(ProducerRecord(topic_name, "unseen"))
    assert "SASL_AUTHENTICATION_FAILED" in str(raised.value)
    assert WRONG not in str(raised.value)


APPLICATION = """\
bootstrap.servers={bootstrap}
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
    username="ingestd" password="{password}";
ssl.truststore.type=PEM
ssl.truststore.location={ca}
ssl.endpoint.identification.algorithm=https
sasl.login.class=
ssl.provider=SunJSSE
"""


def test_the_login_of_a_java_application_is_taken_and_checked_live(
    secure: Secure, topic_name: str, tmp_path: Path
) -> None:
    secure.cluster.create_topic(topic_name, 1)
    file, toml = tmp_path / "producer.properties", tmp_path / "ingestd.toml"
    listener = f'[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "{topic_name}"\n'
    toml.write_text(f'[producer]\nproperties.file = "producer.properties"\n{listener}')
    expected = {
        PASSWORD: (0, f"  topic {topic_name}: 1 partition, 1 replica; granted: write, describe, read"),
        WRONG: (75, "login refused: SASL_AUTHENTICATION_FAILED"),
    }
    for password, (status, part) in expected.items():
        values = {"bootstrap": secure.cluster.bootstrap, "password": password, "ca": secure.ca}
        file.write_text(APPLICATION.format(**values))
        done = subprocess.run(
            [*COMMAND, "check", "--live", "-c", str(toml)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr, part in done.stdout) == (status, "", True), done.stdout + done.stderr
        shown = subprocess.run(
            [*COMMAND, "check", "--print", "-c", str(toml)], capture_output=True, text=True, check=True
        )
        assert f'sasl.jaas.config = "***"  # {file}:4' in shown.stdout.splitlines()
        both = subprocess.run(
            [*COMMAND, "check", "--live", "--print", "-c", str(toml)], capture_output=True, text=True, check=False
        )
        assert (both.returncode, both.stderr) == (status, "")
        assert both.stdout.startswith(shown.stdout), "what is in force first, then what the cluster says"
        assert part in both.stdout.removeprefix(shown.stdout)
        assert password not in done.stdout + shown.stdout + both.stdout


def test_a_client_certificate_in_pkcs12_lets_in(
    secure: Secure, make_daemon: Callable[..., Daemon], topic_name: str, tmp_path: Path
) -> None:
    secure.cluster.create_topic(topic_name, 1)
    producer = {
        "security.protocol": "SSL",
        "ssl.truststore.location": str(secure.authority.pkcs12(tmp_path / "trust.p12", PASSWORD)),
        "ssl.truststore.password": PASSWORD,
        "ssl.keystore.location": str(secure.authority.issue("client").pkcs12(tmp_path / "client.p12", PASSWORD)),
        "ssl.keystore.password": PASSWORD,
    }
    bootstrap = f"127.0.0.1:{secure.cluster.port_of('MUTUAL')}"
    daemon = make_daemon(bootstrap, [line_listener(topic_name)], producer=producer, workers=1)
    daemon.start(log_level="debug")
    LineSender.send_all(f"{daemon.sockets}/lines", b"k\tv\n")
    assert daemon.wait_settled(1)["delivered"] == 1
    assert places_with(PASSWORD, daemon) == []


CASES: dict[str, tuple[str, dict[str, str], str]] = {
    "wrong password": ("CLIENTS", {"sasl.password": WRONG}, "login refused: SASL_AUTHENTICATION_FAILED"),
    "wrong CA": ("CLIENTS", {"ssl.truststore.location": "other"}, "its certificate is not trusted"),
    "wrong host name": ("ELSEWHERE", {"security.protocol": "SSL"}, "its certificate is for another host"),
    "expired certificate": ("EXPIRED", {"security.protocol": "SSL"}, "its certificate has expired"),
    "no client certificate": ("MUTUAL", {"security.protocol": "SSL"}, "it wants a client certificate"),
    "our certificate has ended": (
        "MUTUAL",
        {"security.protocol": "SSL", "ssl.keystore.location": "ended"},
        "it refuses our certificate",
    ),
    "a login that nobody wants": (
        "MUTUAL",
        {"ssl.keystore.location": "own"},
        "the broker's listener wants no login. Set security.protocol to SSL",
    ),
}


def test_who_is_not_let_in_hears_why_and_the_record_waits(
    secure: Secure, make_daemon: Callable[..., Daemon], topic_name: str, tmp_path: Path
) -> None:
    cluster = secure.cluster
    cluster.create_topic(topic_name, 1)
    files = {
        "other": secure.other_ca,
        "own": secure.authority.issue("client").pem(tmp_path / "own.pem"),
        "ended": secure.authority.issue("client", ended=True).pem(tmp_path / "ended.pem"),
    }
    topics = {topic_name: {"partitions": 1}}
    daemons: dict[str, Daemon] = {}
    began: dict[str, float] = {}
    for name, (listener, changes, _) in CASES.items():
        changes = {key: str(files.get(value, value)) for key, value in changes.items()}
        producer: dict[str, Any] = {**client_settings(secure.ca, "mallory", PASSWORD), **changes}
        bootstrap = f"127.0.0.1:{cluster.port_of(listener)}"
        daemon = make_daemon(bootstrap, [line_listener(topic_name)], producer=producer, topics=topics, workers=1)
        began[name] = time.monotonic()
        daemon.start(ready=False, log_level="debug")
        daemons[name] = daemon
    for daemon in daemons.values():
        daemon.wait_ready(60)
        LineSender.send_all(f"{daemon.sockets}/lines", b"k\tv\n")
    for name, daemon in daemons.items():
        part = CASES[name][2]
        daemon.wait_for(lambda daemon=daemon, part=part: part in daemon.log.read_text(), TOLD_SECONDS_MAX, part)  # type: ignore[misc]
    time.sleep(1.0)
    for name, daemon in daemons.items():
        found = only_trouble(daemon)
        assert CASES[name][2] in found["reason"], name
        assert found["broker"] == f"127.0.0.1:{cluster.port_of(CASES[name][0])}", name
        assert 1000 <= found["age_ms"] < (time.monotonic() - began[name]) * 1000, name
        assert found["tried_age_ms"] < TRIED_MS_MAX, name
        lines = [line for line in daemon.log.read_text().splitlines() if "cannot connect" in line]
        told = [re.sub(r"\d+", "", line.partition("cannot connect")[2]) for line in lines]
        assert told, name
        assert len(set(told)) == len(told), (name, lines)
        assert daemon.ledger()["buffered"] == 1, name
        assert places_with(PASSWORD, daemon) == [], name
        assert places_with(WRONG, daemon) == [], name
    assert commands_with(WRONG, daemons["wrong password"]) == []
    # the cause is mended at the broker: no restart
    set_password(cluster, "mallory", WRONG)
    books = daemons["wrong password"].wait_settled(1, 10)
    assert books["delivered"] == 1
    assert "answers again" in daemons["wrong password"].log.read_text()
    daemons["wrong password"].wait_for(lambda: shown(daemons["wrong password"]) == [], 5, "a status without troubles")


def shown(daemon: Daemon) -> list[dict[str, Any]]:
    """The troubles that ``ingestd status`` has of the only worker."""
    worker = daemon.status()["workers"][0]
    assert worker["brokers_unreachable"] == len(worker["troubles"])
    found: list[dict[str, Any]] = worker["troubles"]
    return found


def only_trouble(daemon: Daemon) -> dict[str, Any]:
    """As soon as the worker, which stores it once a second, has done so."""
    daemon.wait_for(lambda: bool(shown(daemon)), STATUS_SECONDS_MAX, "a status with a trouble")
    (one,) = shown(daemon)
    return one


STATUS_SECONDS_MAX = 60.0


def test_status_says_why_nobody_is_let_in_and_nothing_once_it_is_mended(
    secure: Secure, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    """For people, on the page and in /metrics, although nobody has sent anything yet."""
    cluster = secure.cluster
    cluster.create_topic(topic_name, 1)
    set_password(cluster, "late", PASSWORD)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    producer = client_settings(secure.ca, "late", WRONG)
    settings = {"admin.listen": address}
    daemon = make_daemon(cluster.bootstrap, [line_listener(topic_name)], producer=producer, settings=settings)
    daemon.start()

    def status() -> tuple[int, str]:
        command = [*COMMAND, "status", "-c", str(daemon.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    reason = f"no way to {cluster.bootstrap} for "
    daemon.wait_for(lambda: "(workers 0, 1): login refused: " in status()[1], STATUS_SECONDS_MAX, reason)
    code, text = status()
    assert code == 1
    (line,) = [line for line in text.splitlines() if "no way to" in line]
    assert line.startswith(reason)
    assert line.endswith(
        "Check sasl.username and sasl.password, and that the user exists for sasl.mechanism = SCRAM-SHA-512"
    )
    assert text.splitlines()[-2:] == [f"degraded: worker {index} has no connection to Kafka" for index in (0, 1)]
    with urlopen(f"http://{address}/", timeout=10) as answer:
        page = answer.read().decode()
    assert reason in page
    assert scrape(address)['ingestd_producer_unreachable_brokers{worker="1"}'] == 1
    assert WRONG not in text + page
    set_password(cluster, "late", WRONG)
    daemon.wait_for(lambda: status()[0] == 0, STATUS_SECONDS_MAX, "a well daemon")
    assert "no way to" not in status()[1]
    assert scrape(address)['ingestd_producer_unreachable_brokers{worker="1"}'] == 0
    assert places_with(WRONG, daemon) == []


LOGINS = {
    "in": "successful_authentication",
    "refused": "failed_authentication",
    "handshakes": "failed_handshake",
    "renewed": "successful_reauthentication",
    "not renewed": "failed_reauthentication",
}


def logins(address: str) -> dict[str, int]:
    """What /metrics of the daemon's only worker has on logins."""
    found = scrape(address)
    return {name: int(found[f'ingestd_producer_{metric}_total{{worker="0"}}']) for name, metric in LOGINS.items()}


@pytest.mark.soak
def test_logins_and_their_renewals_are_counted(
    secure: Secure, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    cluster = secure.cluster
    cluster.create_topic(topic_name, 1)
    set_password(cluster, "counted", PASSWORD)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    daemon = make_daemon(
        f"127.0.0.1:{cluster.port_of('BRIEF')}",
        [line_listener(topic_name)],
        producer=client_settings(secure.ca, "counted", PASSWORD),
        settings={"admin.listen": address},
        workers=1,
    )
    daemon.start()
    LineSender.send_all(f"{daemon.sockets}/lines", b"k\tv\n")
    daemon.wait_settled(1)
    daemon.wait_for(lambda: logins(address)["renewed"] >= 2, 15, "renewed logins")
    found = logins(address)
    made = scrape(address)['ingestd_producer_connection_creation_total{worker="0"}']
    assert found == {**dict.fromkeys(LOGINS, 0), "in": made, "renewed": found["renewed"]}
    set_password(cluster, "counted", WRONG)
    daemon.wait_for(lambda: logins(address)["not renewed"] >= 1, 15, "a renewal refused")
    LineSender.send_all(f"{daemon.sockets}/lines", b"k\tw\n")
    daemon.wait_for(lambda: logins(address)["refused"] >= 1, 15, "refused logins")
    refused = logins(address)
    assert refused == {**found, **{name: refused[name] for name in ("refused", "renewed", "not renewed")}}
    set_password(cluster, "counted", PASSWORD)
    daemon.wait_settled(2)
    daemon.wait_for(lambda: logins(address)["in"] > found["in"], 5, "another login")


def test_failed_handshakes_are_counted_and_plain_connections_are_no_logins(
    secure: Secure, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    cluster = secure.cluster
    cluster.create_topic(topic_name, 1)
    tls = {"security.protocol": "SSL", "ssl.truststore.location": str(secure.ca)}
    daemons: dict[str, tuple[Daemon, str]] = {}
    for listener in ("EXPIRED", "MUTUAL", "DIRECT"):
        address = f"127.0.0.1:{free_ports(1)[0]}"
        daemon = make_daemon(
            cluster.direct if listener == "DIRECT" else f"127.0.0.1:{cluster.port_of(listener)}",
            [line_listener(topic_name)],
            topics={topic_name: {"partitions": 1}},
            producer={} if listener == "DIRECT" else tls,
            settings={"admin.listen": address},
            workers=1,
        )
        daemon.start()
        LineSender.send_all(f"{daemon.sockets}/lines", b"k\tv\n")
        daemons[listener] = daemon, address
    daemon, plain = daemons.pop("DIRECT")
    daemon.wait_settled(1)
    made = 'ingestd_producer_connection_creation_total{worker="0"}'
    daemon.wait_for(lambda: scrape(plain)[made] >= 1, 5, "a connection counted")
    assert set(logins(plain).values()) == {0}
    for name, (daemon, address) in daemons.items():
        daemon.wait_for(lambda address=address: logins(address)["handshakes"] >= 2, 15, f"{name}: failed handshakes")  # type: ignore[misc]
        found = logins(address)
        failed = found["handshakes"]
        assert found == {**dict.fromkeys(LOGINS, 0), "refused": failed, "handshakes": failed}, name
