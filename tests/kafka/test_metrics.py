"""/metrics of a daemon that delivers to a real broker: it says what is in Kafka, and goes on after a death."""

from collections.abc import Callable
from urllib.request import urlopen

from ingestd.client import Producer, ProducerRecord
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.processes import free_ports
from tests.kafka.reader import read_topic
from tests.unit.admin.test_collector import values

RECORDS = 2000


def scrape(address: str) -> dict[str, float]:
    """/metrics at ``admin.listen``, by ``name{labels}``."""
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return values(answer.read().decode())


def test_metrics_say_what_is_in_kafka(kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str) -> None:
    kafka.create_topic(topic_name, 3)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    daemon = make_daemon(
        kafka.bootstrap,
        [{"name": "app", "listen": "unix-stream:{sockets}/app", "format": "frames", "topics": [topic_name]}],
        workers=1,
        settings={"admin.listen": address},
        producer={"linger.ms": 5},
    )
    daemon.start()

    def send(first: int) -> None:
        with Producer(daemon.address("unix-stream:{sockets}/app")) as producer:
            futures = [
                producer.send(ProducerRecord(topic_name, b"value %d" % number, key=b"%d" % (number % 7)))
                for number in range(first, first + RECORDS)
            ]
            assert all(future.result(30).offset >= 0 for future in futures)

    delivered = f'ingestd_topic_delivered_records_total{{topic="{topic_name}"}}'
    send(0)
    daemon.wait_for(lambda: scrape(address)[delivered] == RECORDS, 10, "the figures of all records")
    found = scrape(address)
    assert found['ingestd_delivered_records_total{worker="0"}'] == RECORDS
    assert found[f'ingestd_producer_record_send_total{{topic="{topic_name}"}}'] == RECORDS
    for histogram in ("accept_to_seal", "seal_to_send", "send_to_ack", "accept_to_delivered"):
        assert found[f"ingestd_{histogram}_seconds_count"] == RECORDS
    requests = found['ingestd_producer_request_total{worker="0"}']
    assert found["ingestd_producer_request_latency_seconds_count"] == requests >= 1
    assert 0 < found["ingestd_producer_request_latency_seconds_sum"] < 10 * requests
    assert found['ingestd_producer_connection_count{worker="0"}'] == 1
    assert 0 <= found['ingestd_producer_metadata_age_seconds{worker="0"}'] < 60
    assert found[f'ingestd_topic_oldest_undelivered_age_seconds{{topic="{topic_name}"}}'] == 0
    daemon.kill_worker(0)
    send(RECORDS)
    daemon.wait_for(lambda: scrape(address)[delivered] == 2 * RECORDS, 10, "figures that go on")
    assert scrape(address)['ingestd_worker_restarts_total{worker="0"}'] == 1
    assert len(list(read_topic(kafka.direct, topic_name))) == 2 * RECORDS
