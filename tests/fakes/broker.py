"""A scripted Kafka broker: real TCP, real bytes, Kafka's decision table (docs/kafka.md 1) as its append logic.

Requests are parsed and answers are built with kio, so that the code under test is judged by another's codec. Like a
real broker it serves the requests of a connection one after the other. One-shot controls change single answers:

    broker.control(PRODUCE, lambda request: CLOSE)                           # neither taken nor answered
    broker.control(PRODUCE, lambda request: (request.handle(), CLOSE)[1])    # taken, the answer is lost
    broker.control(PRODUCE, error(19))                                       # every partition meets that code
"""

import asyncio
import datetime
import io
import ssl
import struct
import uuid
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer

from ingestd.hotpath.crc32c import crc32c
from tests.fakes.partition_log import PartitionLog
from tests.fakes.sasl import Login, SaslServer

PRODUCE: Final = 0
METADATA: Final = 3
API_VERSIONS: Final = 18
INIT_PRODUCER_ID: Final = 22
SASL_HANDSHAKE: Final = 17
SASL_AUTHENTICATE: Final = 36
_APIS: Final = {
    PRODUCE: "produce",
    METADATA: "metadata",
    API_VERSIONS: "api_versions",
    INIT_PRODUCER_ID: "init_producer_id",
    SASL_HANDSHAKE: "sasl_handshake",
    SASL_AUTHENTICATE: "sasl_authenticate",
}
_CLASSES: Final = {
    PRODUCE: "Produce",
    METADATA: "Metadata",
    API_VERSIONS: "ApiVersions",
    INIT_PRODUCER_ID: "InitProducerId",
    SASL_HANDSHAKE: "SaslHandshake",
    SASL_AUTHENTICATE: "SaslAuthenticate",
}
RANGES: Final = {PRODUCE: (0, 13), METADATA: (0, 13), API_VERSIONS: (0, 4), INIT_PRODUCER_ID: (0, 5)}
_BATCH: Final = struct.Struct(">qiibIhiqqqhii")


class Close:
    """Answer of a control: the connection is closed instead of answering."""


class Silence:
    """Answer of a control: nothing is answered, and nothing is read any more from this connection."""


class Nothing:
    """Answer of a control: this request is never answered, later ones are."""


@dataclass
class CutAnswer:
    """Answer of a control: of the answer with this body, size and all, ``kept`` bytes are sent; then comes the end of
    the connection, or a reset."""

    body: bytes
    kept: int
    reset: bool


CLOSE: Final = Close()
NOTHING: Final = Nothing()
SILENCE: Final = Silence()
Answer = bytes | Close | Silence | Nothing | CutAnswer | None


@dataclass
class Partition:
    leader: int
    leader_epoch: int = 0
    log: PartitionLog = field(default_factory=PartitionLog)
    batch_bytes_max: int = 1 << 30
    """Larger ones meet ``too_large``: max.message.bytes, or segment.bytes."""
    too_large: int = 10


@dataclass
class Topic:
    topic_id: uuid.UUID
    partitions: list[Partition]


@dataclass
class Appended:
    """A batch as it arrived: ``records`` is what follows its header."""

    producer_id: int
    epoch: int
    sequence: int
    count: int
    codec: int
    max_timestamp_ms: int
    records: bytes


def parse_batch(raw: bytes) -> tuple[int, Appended | None]:
    """(error code, batch): what a broker checks of the bytes (docs/kafka.md 10)."""
    if len(raw) < _BATCH.size:
        return 87, None
    (_, length, _, magic, crc, attributes, last, _, latest, producer_id, epoch, sequence, count) = _BATCH.unpack_from(
        raw
    )
    if magic != 2 or length != len(raw) - 12 or last + 1 != count or count <= 0:
        return 87, None
    if crc != crc32c(raw[21:]):
        return 2, None
    return 0, Appended(producer_id, epoch, sequence, count, attributes & 7, latest, raw[61:])


class Request:
    """One request as a control sees it. ``handle()`` does the broker's normal work and returns the answer's body."""

    def __init__(self, broker: "FakeBroker", api_key: int, version: int, entity: Any) -> None:
        self.broker = broker
        self.api_key = api_key
        self.api = _APIS[api_key]
        self.version = version
        self.entity = entity
        self.login: Login | None = None
        self._handled: bytes | None = None

    def handle(self) -> bytes:
        if self._handled is None:
            self._handled = self.broker.respond(self)
        return self._handled


def error(
    code: int, *, record_errors: tuple[tuple[int, str], ...] = (), append: bool = False
) -> Callable[[Request], bytes]:
    """A control: every partition of a produce request meets ``code``; ``append``: after it was taken."""

    def control(request: Request) -> bytes:
        return request.broker.produce(request, code, record_errors, append)

    return control


def identity_refused(request: Request) -> bytes:
    """InitProducerId of a principal that may not write."""
    module = import_module(f"kio.schema.init_producer_id.v{request.version}.response")
    throttle = datetime.timedelta(0)
    code = ErrorCode.cluster_authorization_failed
    return body_of(
        module.InitProducerIdResponse(throttle_time=throttle, error_code=code, producer_id=-1, producer_epoch=-1)
    )


def rebootstrap_required(request: Request) -> bytes:
    """REBOOTSTRAP_REQUIRED, in metadata 13 or ApiVersions."""
    module = import_module(f"kio.schema.{request.api}.v{request.version}.response")
    throttle = datetime.timedelta(0)
    if request.api_key == METADATA:
        answer = module.MetadataResponse(throttle_time=throttle, brokers=(), topics=(), error_code=ErrorCode(129))
    else:
        answer = module.ApiVersionsResponse(error_code=ErrorCode(129), api_keys=(), throttle_time=throttle)
    return body_of(answer)


class FakeCluster:
    """Brokers, topics and logs. Change leaders and logs at will between or during requests."""

    def __init__(self, nodes: int = 1, topics: dict[str, int] | None = None) -> None:
        self.cluster_id: str | None = "fake"
        self.topics = {
            name: Topic(uuid.uuid4(), [Partition(1 + index % nodes) for index in range(count)])
            for name, count in (topics or {}).items()
        }
        self.brokers = {node: FakeBroker(self, node) for node in range(1, nodes + 1)}
        self.next_producer_id = 0

    async def start(self) -> None:
        for broker in self.brokers.values():
            await broker.start()

    async def stop(self) -> None:
        for broker in self.brokers.values():
            await broker.stop()

    async def __aenter__(self) -> "FakeCluster":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def bootstrap(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{broker.port}" for broker in self.brokers.values())

    def log(self, topic: str, partition: int = 0) -> PartitionLog:
        return self.topics[topic].partitions[partition].log

    def payloads(self, topic: str, partition: int = 0) -> list[bytes]:
        """The record areas of the log's batches, in order."""
        return [batch.payload for batch in self.log(topic, partition).batches]

    def move(self, topic: str, partition: int, leader: int) -> None:
        row = self.topics[topic].partitions[partition]
        row.leader = leader
        row.leader_epoch += 1


class FakeBroker:
    """One node. ``requests`` counts what came in, per api."""

    def __init__(self, cluster: FakeCluster, node: int) -> None:
        self.cluster = cluster
        self.node = node
        self.port = 0
        self.ranges = dict(RANGES)
        self.requests: dict[int, int] = defaultdict(int)
        self.connections = 0
        self.denied: dict[str, int] = {}
        """Topics answered with that code instead of being served."""
        self.log_start_offset = 0
        """What every answer says of every partition."""
        self.throttle_ms = 0
        """In every produce answer; ``throttle_ms_of`` says it for other apis."""
        self.throttle_ms_of: dict[int, int] = {}
        self.arrivals: list[tuple[float, int]] = []
        """(loop time, api) of every request."""
        self.asked: list[tuple[str, ...]] = []
        """The topics of every metadata request."""
        self.delay_s = 0.0
        """Pause before every answer; ``delay_s_of`` says it for single apis."""
        self.delay_s_of: dict[int, float] = {}
        self.answering = asyncio.Event()
        """While it is not set, answers wait for it."""
        self.answering.set()
        self.hints = True
        """NOT_LEADER answers name the new leader."""
        self.cut_requests: list[tuple[int, int, bool]] = []
        """(api, kept, reset): of the next request of that api so many bytes are read, then the connection ends."""
        self.tls: ssl.SSLContext | None = None
        """Set before the start: the listener speaks TLS."""
        self.sasl: SaslServer | None = None
        """Set before the start: the listener wants a login."""
        self._controls: dict[int, deque[Callable[[Request], Answer]]] = defaultdict(deque)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def control(self, api_key: int, answer: Callable[[Request], Answer], times: int = 1) -> None:
        """The next ``times`` requests of that api are answered by ``answer(request)``; None: as usual."""
        self._controls[api_key].extend([answer] * times)

    def clear_controls(self) -> None:
        """From now on everything is answered as usual."""
        self._controls.clear()

    async def start(self) -> None:
        """Listens, on the same port as before after a ``stop``."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 22, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        """Resets every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def hang_up(self) -> None:
        """Ends every connection in order, in TLS's way where it speaks that."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        login = None
        if self.sasl is not None:
            login = self.sasl.login()
            self.ranges.update({SASL_HANDSHAKE: (0, 1), SASL_AUTHENTICATE: (0, 2)})
        try:
            while True:
                head = await reader.readexactly(6)
                if self.cut_requests and self.cut_requests[0][0] == int.from_bytes(head[4:]):
                    _, kept, reset = self.cut_requests.pop(0)
                    await reader.readexactly(max(kept - len(head), 0))
                    await self._end(writer, b"", reset)
                    break
                answer = self._answer(head[4:] + await reader.readexactly(int.from_bytes(head[:4]) - 2), login)
                if isinstance(answer, Close):
                    break
                if isinstance(answer, CutAnswer):
                    await self._end(writer, answer.body[: answer.kept], answer.reset)
                    break
                if isinstance(answer, Silence):
                    await asyncio.sleep(3600)
                    continue
                if delay_s := self.delay_s_of.get(int.from_bytes(head[4:]), self.delay_s):
                    await asyncio.sleep(delay_s)
                await self.answering.wait()
                if answer:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    @staticmethod
    async def _end(writer: asyncio.StreamWriter, last: bytes, reset: bool) -> None:
        writer.write(last)
        await writer.drain()
        if not reset:
            writer.close()
            await writer.wait_closed()
        elif last:
            await asyncio.sleep(0.002)  # a reset would overtake the bytes

    def _answer(self, frame: bytes, login: Login | None) -> bytes | Close | Silence | CutAnswer:
        api_key, version, correlation_id = struct.unpack_from(">hhi", frame)
        self.requests[api_key] += 1
        self.arrivals.append((asyncio.get_running_loop().time(), api_key))
        low, high = self.ranges[api_key]
        if not low <= version <= high:
            assert api_key == API_VERSIONS, f"version {version} of api {api_key} was not offered"
            entity = self._entity(API_VERSIONS, 0)(error_code=ErrorCode(35), api_keys=self._api_keys(0))
            return self._framed(correlation_id, False, body_of(entity))
        module = import_module(f"kio.schema.{_APIS[api_key]}.v{version}.request")
        cls = getattr(module, f"{_CLASSES[api_key]}Request")
        _, at = entity_reader(cls.__header_schema__)(frame, 0)
        entity, size = entity_reader(cls)(frame, at)
        assert at + size == len(frame)
        request = Request(self, api_key, version, entity)
        request.login = login
        free = api_key in (API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE)
        if login is not None and not free and not login.admits(api_key):
            return CLOSE
        controls = self._controls[api_key]
        answer: Answer = controls.popleft()(request) if controls else None
        if answer is None:
            answer = request.handle()
        if isinstance(answer, (Close, Silence)):
            return answer
        if isinstance(answer, Nothing):
            return b""
        if api_key == PRODUCE and entity.acks == 0:
            return b""
        tagged = self._entity(api_key, version).__header_schema__.__version__ >= 1
        if isinstance(answer, CutAnswer):
            answer.body = self._framed(correlation_id, tagged, answer.body)
            return answer
        return self._framed(correlation_id, tagged, answer)

    @staticmethod
    def _framed(correlation_id: int, tagged: bool, body: bytes) -> bytes:
        body = correlation_id.to_bytes(4) + (b"\0" if tagged else b"") + body
        return len(body).to_bytes(4) + body

    def _module(self, api_key: int, version: int) -> Any:
        return import_module(f"kio.schema.{_APIS[api_key]}.v{version}.response")

    def _entity(self, api_key: int, version: int) -> Any:
        return getattr(self._module(api_key, version), f"{_CLASSES[api_key]}Response")

    def _api_keys(self, version: int) -> tuple[Any, ...]:
        module = self._module(API_VERSIONS, version)
        return tuple(
            module.ApiVersion(api_key=key, min_version=low, max_version=high)
            for key, (low, high) in self.ranges.items()
        )

    def respond(self, request: Request) -> bytes:
        """The normal answer's body."""
        if request.api_key == PRODUCE:
            return self.produce(request)
        if request.api_key == METADATA:
            return self._metadata(request)
        if request.login is not None and request.api_key in (SASL_HANDSHAKE, SASL_AUTHENTICATE):
            return self._sasl(request, request.login)
        cls = self._entity(request.api_key, request.version)
        if request.api_key == API_VERSIONS:
            extra = {"throttle_time": self._throttle(API_VERSIONS)} if request.version >= 1 else {}
            return body_of(cls(error_code=ErrorCode.none, api_keys=self._api_keys(request.version), **extra))
        producer_id = self.cluster.next_producer_id
        self.cluster.next_producer_id += 1
        return body_of(
            cls(
                throttle_time=self._throttle(INIT_PRODUCER_ID),
                error_code=ErrorCode.none,
                producer_id=producer_id,
                producer_epoch=0,
            )
        )

    def _throttle(self, api_key: int) -> datetime.timedelta:
        return datetime.timedelta(milliseconds=self.throttle_ms_of.get(api_key, 0))

    def _sasl(self, request: Request, login: Login) -> bytes:
        cls = self._entity(request.api_key, request.version)
        if request.api_key == SASL_HANDSHAKE:
            code, mechanisms = login.handshake(request.entity.mechanism)
            return body_of(cls(error_code=ErrorCode(code), mechanisms=mechanisms))
        said = login.authenticate(request.entity.auth_bytes)
        extra = {}
        if request.version >= 1:
            extra["session_lifetime"] = datetime.timedelta(milliseconds=said.lifetime_ms)
        text = said.text or None
        return body_of(cls(error_code=ErrorCode(said.code), error_message=text, auth_bytes=said.auth_bytes, **extra))

    def _metadata(self, request: Request) -> bytes:
        module = self._module(METADATA, request.version)
        self.asked.append(tuple(asked.name for asked in request.entity.topics))
        cluster = self.cluster
        topics = []
        for asked in request.entity.topics:
            topic = cluster.topics.get(asked.name)
            code = self.denied.get(asked.name, 0 if topic else 3)
            by_id = {}
            if request.version >= 10:
                by_id["topic_id"] = topic.topic_id if topic and not code else None
            partitions = tuple(
                module.MetadataResponsePartition(
                    error_code=ErrorCode(0 if row.leader >= 0 else 5),
                    partition_index=index,
                    leader_id=row.leader,
                    **({"leader_epoch": row.leader_epoch} if request.version >= 7 else {}),
                )
                for index, row in enumerate(topic.partitions if topic and not code else [])
            )
            topics.append(
                module.MetadataResponseTopic(
                    error_code=ErrorCode(code), name=asked.name, partitions=partitions, **by_id
                )
            )
        extra = {"error_code": ErrorCode.none} if request.version >= 13 else {}
        return body_of(
            module.MetadataResponse(
                throttle_time=self._throttle(METADATA),
                brokers=tuple(
                    module.MetadataResponseBroker(node_id=node, host="127.0.0.1", port=broker.port)
                    for node, broker in cluster.brokers.items()
                ),
                cluster_id=cluster.cluster_id,
                topics=tuple(topics),
                **extra,
            )
        )

    # -- produce

    def produce(
        self,
        request: Request,
        code: int | None = None,
        record_errors: tuple[tuple[int, str], ...] = (),
        append: bool = True,
        hint: tuple[int, int] | None = None,
        endpoints_of: tuple[int, ...] = (),
    ) -> bytes:
        """``code``: what every partition meets, after appending or instead of it; ``hint``: with this (leader, epoch);
        ``endpoints_of``: the answer has the addresses of these nodes."""
        module = self._module(PRODUCE, request.version)
        responses = []
        endpoints: dict[int, FakeBroker] = {node: self.cluster.brokers[node] for node in endpoints_of}
        for asked in request.entity.topic_data:
            rows = []
            for partition in asked.partition_data:
                outcome = self._append(request, asked, partition, endpoints) if append else (code or 0, -1, -1, None)
                if code is not None:
                    outcome = (code, -1, -1, hint)
                rows.append(self._row(module, request.version, partition.index, outcome, record_errors))
            address = {"topic_id": asked.topic_id} if request.version >= 13 else {"name": asked.name}
            responses.append(module.TopicProduceResponse(**address, partition_responses=tuple(rows)))
        extra: dict[str, Any] = {}
        if request.version >= 10 and endpoints:
            extra["node_endpoints"] = tuple(
                module.NodeEndpoint(node_id=node, host="127.0.0.1", port=broker.port)
                for node, broker in endpoints.items()
            )
        throttle = datetime.timedelta(milliseconds=self.throttle_ms)
        return body_of(module.ProduceResponse(responses=tuple(responses), throttle_time=throttle, **extra))

    def _append(
        self, request: Request, asked: Any, partition: Any, endpoints: dict[int, "FakeBroker"]
    ) -> tuple[int, int, int, tuple[int, int] | None]:
        cluster = self.cluster
        if request.version >= 13:
            found = [name for name, topic in cluster.topics.items() if topic.topic_id == asked.topic_id]
        else:
            found = [asked.name] if asked.name in cluster.topics else []
        if not found:
            return 100 if request.version >= 13 else 3, -1, -1, None
        name = found[0]
        topic = cluster.topics[name]
        if name in self.denied:
            return self.denied[name], -1, -1, None
        if partition.index >= len(topic.partitions):
            return 3, -1, -1, None
        row = topic.partitions[partition.index]
        if row.leader != self.node:
            if row.leader in cluster.brokers and self.hints:
                endpoints[row.leader] = cluster.brokers[row.leader]
                return 6, -1, -1, (row.leader, row.leader_epoch)
            return 6, -1, -1, None
        code, batch = parse_batch(bytes(partition.records))
        if batch is None:
            return code, -1, -1, None
        if len(partition.records) > row.batch_bytes_max:
            return row.too_large, -1, -1, None
        outcome = row.log.append(
            batch.producer_id, batch.epoch, batch.sequence, batch.count, batch.max_timestamp_ms, batch.records
        )
        return (*outcome, None)

    def _row(
        self,
        module: Any,
        version: int,
        index: int,
        outcome: tuple[int, int, int, tuple[int, int] | None],
        record_errors: tuple[tuple[int, str], ...],
    ) -> Any:
        code, base_offset, append_ms, leader = outcome
        fields: dict[str, Any] = {}
        if version >= 5:
            fields["log_start_offset"] = self.log_start_offset
        if version >= 8:
            fields["record_errors"] = tuple(
                module.BatchIndexAndErrorMessage(batch_index=at, batch_index_error_message=text)
                for at, text in record_errors
            )
            fields["error_message"] = None
        if version >= 10 and leader:
            fields["current_leader"] = module.LeaderIdAndEpoch(leader_id=leader[0], leader_epoch=leader[1])
        when = datetime.datetime.fromtimestamp(append_ms / 1000, datetime.UTC) if append_ms >= 0 else None
        return module.PartitionProduceResponse(
            index=index, error_code=ErrorCode(code), base_offset=base_offset, log_append_time=when, **fields
        )


def body_of(entity: Any) -> bytes:
    """An answer made with kio, as a control may return it."""
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()
