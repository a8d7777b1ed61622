"""The benchmarks' programs do what the measurements take for granted."""

import json
import socket
import struct
import threading
import time
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer
from kio.serial import entity_reader

from benchmarks import codecs, compressed_worker, library, partitioners, record_path, tuning
from benchmarks.daemon import Settings
from benchmarks.programs import Generator, Relay, Sink, delay_proxy, free_port, program
from benchmarks.report import Figure, table, write_json
from benchmarks.rival_producer import records_of

# Golden frames, as other clients of Kafka send them: client id "c1", correlation id 7, topic "t", partition 0.
REQUESTS = {
    ("api_versions", 0): "0000000c001200000000000700026331",
    ("api_versions", 3): "0000001a0012000300000007000263310008696e676573746404312e3000",
    ("metadata", 4): "000000140003000400000007000263310000000100017401",
    ("metadata", 9): "00000015000300090000000700026331000202740001000000",
    ("metadata", 12): "000000240003000c0000000700026331000200000000000000000000000000000000027400010000",
    ("init_producer_id", 0): "00000012001600000000000700026331ffff7fffffff",
    ("init_producer_id", 4): "0000001d00160004000000070002633100007fffffffffffffffffffffffffff00",
}
BATCH_HELLO = (
    "00000000000000000000003d0000000002e641a44b0000000000000000018bcfe568000000018bcfe56800"
    "ffffffffffffffffffffffffffff0000000116000000010a68656c6c6f00"
)
PRODUCE_3 = "00000070000000030000000700026331ffffffff0000753000000001000174000000010000000000000049"
PRODUCE_9 = "000000690000000900000007000263310000ffff0000753002027402000000004a"
OK, CORRUPT_MESSAGE = 0, 2


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """All programs compile without a warning."""
    for name in ("relay", "generator", "null_sink", "delay_proxy"):
        program(name)


def ask(port: int, request: bytes) -> bytes:
    """One request on a connection of its own; the answer without its size."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        stream = connection.makefile("rb")
        return stream.read(int.from_bytes(stream.read(4), "big"))


def parse(api: str, version: int, answer: bytes, header_bytes: int) -> Any:
    """The answer as kio reads it, to its last byte."""
    name = "".join(part.capitalize() for part in api.split("_")) + "Response"
    entity = getattr(import_module(f"kio.schema.{api}.v{version}.response"), name)
    parsed, size = entity_reader(entity)(answer, header_bytes)
    assert header_bytes + size == len(answer)
    return parsed


@pytest.mark.parametrize(("api", "version"), REQUESTS)
def test_sink_answers_in_every_version_that_a_producer_asks(tmp_path: Path, api: str, version: int) -> None:
    with Sink.run(tmp_path, ["t:2"]) as sink:
        answer = ask(sink.port, bytes.fromhex(REQUESTS[api, version]))
    flexible = version >= {"api_versions": 99, "metadata": 9, "init_producer_id": 2}[api]
    assert answer[: 4 + flexible] == b"\0\0\0\x07" + b"\0" * flexible
    parsed = parse(api, version, answer, 4 + flexible)
    if api == "metadata":
        assert parsed.brokers[0].port == sink.port
        assert [topic.name for topic in parsed.topics] == ["t"]
        assert [partition.leader_id for partition in parsed.topics[0].partitions] == [1, 1]
    elif api == "api_versions":
        assert {0: 13, 3: 12, 18: 4, 22: 4}.items() <= {key.api_key: key.max_version for key in parsed.api_keys}.items()
    else:
        assert parsed.producer_id > 0


def produce_frame(version: int, batch: bytes) -> bytes:
    """A golden produce request with ``batch`` in it."""
    return bytes.fromhex(PRODUCE_3) + batch if version == 3 else bytes.fromhex(PRODUCE_9) + batch + b"\0\0\0"


@pytest.mark.parametrize("version", [3, 9])
def test_sink_numbers_batches_and_refuses_a_damaged_one(tmp_path: Path, version: int) -> None:
    good = bytes.fromhex(BATCH_HELLO)
    damaged = good[:70] + bytes([good[70] ^ 1]) + good[71:]
    with Sink.run(tmp_path, ["t:1"], verify=True) as sink:
        outcomes = []
        for batch in (good, good, damaged):
            answer = ask(sink.port, produce_frame(version, batch))
            partition = parse("produce", version, answer, 5 if version >= 9 else 4).responses[0].partition_responses[0]
            outcomes.append((int(partition.error_code), partition.base_offset))
        seen = sink.counters()
    assert outcomes == [(OK, 0), (OK, 1), (CORRUPT_MESSAGE, -1)]
    assert (seen["records"], seen["batches"], seen["faults"]) == (2, 2, 1)


def test_sink_serves_confluent_kafka(tmp_path: Path) -> None:
    offsets: dict[int, list[int]] = {}

    def delivered(error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        assert error is None and partition is not None and offset is not None
        offsets.setdefault(partition, []).append(offset)

    with Sink.run(tmp_path, ["bench:3"], verify=True) as sink:
        producer = Producer({"bootstrap.servers": f"127.0.0.1:{sink.port}", "enable.idempotence": True})
        for index in range(3000):
            producer.produce("bench", b"value %d" % index, b"key %d" % (index % 50), on_delivery=delivered)
        assert producer.flush(20) == 0
        totals = sink.stop()
    assert sorted(offsets) == [0, 1, 2]
    assert all(found == list(range(len(found))) for found in offsets.values())
    assert (totals["records"], totals["faults"], totals["sequence_faults"]) == (3000, 0, 0)


def test_generator_writes_frames_of_the_native_protocol(tmp_path: Path) -> None:
    file = tmp_path / "frames"
    Generator("frames", "-", records=1003, per_frame=100, keys=20, topic="orders", write=str(file)).wait()
    frames = file.read_bytes()
    assert frames[:17] == struct.pack("<IBBHHH", 14, 3, 0, 0, 0, 6) + b"order"
    at, counts = 18, []
    while at < len(frames):
        length, kind, _flags, _reserved, topic_id, _reserved, count = struct.unpack_from("<IBBHHHI", frames, at)
        assert (kind, topic_id) == (2, 0)
        counts.append(count)
        at += 4 + length
    assert counts == [100] * 10 + [3]
    records = list(records_of(frames))
    assert {len(key or b"") + len(value) for key, value in records} == {133}
    assert {key for key, _ in records} == {b"key-%08d" % index for index in range(20)}


def test_relay_carries_every_byte(tmp_path: Path) -> None:
    with Sink.run(tmp_path, discard=True) as sink:
        relay = Relay(tmp_path / "relay", sink.port)
        sent = Generator("lines", str(tmp_path / "relay"), records=20_000, record_bytes=50).wait()
        report = relay.wait()
        sink.wait_for("bytes_read", 1_000_000, 10)
    assert sent["bytes"] == report["bytes"] == 1_000_000


@pytest.mark.parametrize("kind", ["datagram", "udp"])
def test_generator_paces_one_record_datagrams(tmp_path: Path, kind: str) -> None:
    unix = kind == "datagram"
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(30)
        if not unix:
            # All of them, should nobody read for long: 212,992 is granted everywhere, and counts twice.
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992)
        receiver.bind(str(tmp_path / "socket") if unix else ("127.0.0.1", 0))
        reader = threading.Thread(target=lambda: received.extend(receiver.recv(1000) for _ in range(300)))
        reader.start()
        address = str(tmp_path / "socket") if unix else f"127.0.0.1:{receiver.getsockname()[1]}"
        report = Generator(kind, address, records=300, rate=3000, record_bytes=60).wait()
        reader.join(60)
    assert [len(datagram) for datagram in received] == [60] * 300
    assert len(set(received)) == 300
    assert report["elapsed_s"] > 0.09


def test_record_path_alone_is_measured_in_stages() -> None:
    figures, samples = record_path.measure(records=4000, repetitions=1, partitions=3)
    total = figures[0]
    assert (total.unit, total.limit) == ("ns per record", record_path.TOTAL_NS_MAX)
    assert total.value > 0
    assert samples["refused"][0] < samples["keyed"][0]  # a record that is refused is not encoded


def test_library_and_both_ways_into_its_arena_are_measured(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared.frames"
    Generator("frames", "-", records=100, topic=library.TOPIC, write=str(prepared)).wait()
    with Sink.run(tmp_path, [f"{library.TOPIC}:3"]) as sink:
        assert library.cpu_s("library_producer", "callback", f"127.0.0.1:{sink.port}", prepared, 1000) > 0
        assert sink.counters()["records"] == 1000
    queue_ns, lock_ns = (library.taking_ns(way, 2000, 3) for way in (library.by_queue, library.by_lock))
    assert 0 < queue_ns < lock_ns


def test_every_partitioner_has_its_price() -> None:
    figures, samples = partitioners.measure(records=4000, repetitions=1, partitions=3)
    assert len(figures) == len(samples) == 5
    assert all(figure.value > 0 for figure in figures)
    assert samples[partitioners.PYTHON][0] > samples["murmur2_random"][0]


def test_report_tells_what_was_missed(tmp_path: Path) -> None:
    figures = [
        Figure("kept", 1.0, "us", 1.5),
        Figure("missed", 2.0, "us", 1.5),
        Figure("reached", 6.0, "x", 5.0, at_least=True),
        Figure("not reached", 4.0, "x", 5.0, at_least=True),
        Figure("without a target", 3.0, "s"),
    ]
    assert [figure.verdict for figure in figures] == ["pass", "miss", "pass", "miss", ""]
    assert table(figures).count("miss  ") == 2
    write_json(tmp_path / "result.json", {"cores": 2}, {}, figures, {})
    found = json.loads((tmp_path / "result.json").read_text())
    assert [figure["verdict"] for figure in found["figures"]] == ["pass", "miss", "pass", "miss", ""]


def test_log_lines_shrink_as_logs_do() -> None:
    areas, count = codecs.record_areas(65_536, 2000)
    assert count <= 2000
    assert all(len(area) <= 65_536 for area in areas)
    assert sum(map(len, areas)) > 130 * count > 100_000
    for area in areas:
        assert 0.1 < len(zlib.compress(area)) / len(area) < 0.4


def test_a_delayed_line_holds_bytes_for_a_round_trip_and_no_more_than_its_window() -> None:
    port, delay_s, window_bytes = free_port(), 0.1, 20_000
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(10)
        with delay_proxy(port, broker.getsockname()[1], int(delay_s * 1000), window_bytes):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                far, _ = broker.accept()
                far.settimeout(10)
                since_s = time.monotonic()
                client.sendall(bytes(range(250)) * 200)
                came = b""
                while len(came) < 50_000:
                    came += far.recv(1 << 16)
                took_s = time.monotonic() - since_s
                far.sendall(b"answer")
                assert client.recv(100) == b"answer"
            assert far.recv(1) == b"", "the end passes too"
            far.close()
    assert came == bytes(range(250)) * 200
    assert took_s > 3 * delay_s, "50,000 bytes are three windows"


def test_every_codec_is_measured_in_a_worker(tmp_path: Path) -> None:
    figures, samples = compressed_worker.measure(tmp_path, tmp_path, free_port(), 20_000, 1, Settings(bootstrap=""))
    assert not [figure for figure in figures if figure.name.startswith("VOID")]
    ratios = {figure.name.split()[3].rstrip(","): figure.value for figure in figures if figure.unit == "ratio"}
    assert ratios.keys() == {"gzip", "snappy", "lz4", "zstd"}
    assert all(0.1 < ratio < 0.5 for ratio in ratios.values())
    assert samples["none"]["bytes"][0] > 133e6


@pytest.mark.soak
def test_the_sweep_measures_each_place_and_draws_it(tmp_path: Path) -> None:
    (tmp_path / "arena").mkdir()
    plan = tuning.Plan(0.2, 5000, (10,), (131_072,), (16_384,), (5,))
    found = tuning.sweep(tmp_path, tmp_path / "arena", free_port(), plan)
    (one,) = found
    assert one.place == tuning.Place(10, 131_072, 16_384, 5)
    assert 10 <= one.latency_mean_ms < 1000
    assert one.full_records_per_s < 4 * 131_072 / 133 / 0.01, "the window bounds it"
    assert "131072" in tuning.table(found)
    file = tuning.write(tmp_path / "results", {}, plan, found)
    assert json.loads(file.read_text())["found"][0]["delay_ms"] == 10
    assert file.with_suffix(".png").stat().st_size > 10_000
