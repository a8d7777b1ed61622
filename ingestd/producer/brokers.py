"""All brokers of the cluster, the way to any of them, and the loop that keeps metadata fresh."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from ingestd.config.model import Producer
from ingestd.kafka import messages
from ingestd.kafka.errors import NONE, REBOOTSTRAP_REQUIRED, ProtocolError, error_of
from ingestd.producer.broker import Broker
from ingestd.producer.cluster import FOREVER_MS, Cluster, Topic
from ingestd.producer.common import Clock, log
from ingestd.producer.connection import Connection, ConnectionLostError, Owner

REBOOTSTRAP_AFTER_MS: Final = 300_000
"""metadata.recovery.rebootstrap.trigger.ms"""


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; the configuration has checked it."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _ready(brokers: Iterable[Broker]) -> int:
    return sum(broker.is_ready for broker in brokers)


class Brokers:
    """``updated(changed topics)`` is called after each metadata answer, once ``by_node`` fits it."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Producer,
        owner: Owner,
        updated: Callable[[Sequence[Topic]], None],
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        random: Random,
        client_id: str,
        software_version: str,
    ) -> None:
        self.cluster = cluster
        self.by_node: dict[int, Broker] = {}
        self._settings = settings
        self._owner = owner
        self._updated = updated
        self._loop = loop
        self._clock = clock
        self._random = random
        self._client_id = client_id
        self._software_version = software_version
        self._kick = asyncio.Event()
        self._connected = asyncio.Event()
        self._bootstrap = [
            self._broker(-1 - index, *split_address(text)) for index, text in enumerate(settings.bootstrap_servers)
        ]

    def _broker(self, node: int, host: str, port: int) -> Broker:
        return Broker(
            node,
            host,
            port,
            self._settings,
            self._owner,
            self._loop,
            self._clock,
            self._random,
            self._client_id,
            self._software_version,
        )

    @property
    def connected(self) -> int:
        """Brokers that metadata names and that can be written to now."""
        return _ready(self.by_node.values())

    @property
    def reachable(self) -> int:
        """As `connected`, or else the bootstrap servers with a connection: as long as nothing is written, they do."""
        return self.connected or _ready(self._bootstrap)

    def get(self, node: int) -> Broker | None:
        """The broker of a node that metadata names; None: no such node (or no leader)."""
        address = self.cluster.brokers.get(node)
        if address is None:
            return None
        broker = self.by_node.get(node)
        if broker is None or (broker.host, broker.port) != address:
            if broker is not None:
                # Other partitions are led there too: the next metadata finds them their broker.
                broker.close()
                self.refresh()
            broker = self.by_node[node] = self._broker(node, *address)
        return broker

    def refresh(self) -> None:
        """Metadata does not fit what brokers say: ask again as soon as its backoff allows."""
        self.cluster.want()
        self._kick.set()

    async def find(self) -> Connection:
        """A ready connection to any broker: the one with the least in flight, else the first that can be had."""
        ready = [broker.connection for broker in self._all() if broker.connection is not None]
        if ready:
            return min(ready, key=lambda connection: connection.in_flight)
        known = list(self.by_node.values())
        if self._clock.tick_ms() - self.cluster.last_success_ms >= REBOOTSTRAP_AFTER_MS:
            known = []
        self._random.shuffle(known)
        bootstrap = list(self._bootstrap)
        self._random.shuffle(bootstrap)
        for broker in (*known, *bootstrap):
            broker.want()
            await self._attempt(broker)
            ready = [other.connection for other in self._all() if other.connection is not None]
            if ready:
                return ready[0]
        raise ConnectionLostError("no broker can be reached")

    async def _attempt(self, broker: Broker) -> None:
        """Until the attempt on ``broker`` has ended, or any other broker has come within reach meanwhile."""
        self._connected.clear()
        waits = [self._loop.create_task(wait) for wait in (broker.wait_attempt(), self._wait_connected())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _wait_connected(self) -> None:
        await self._connected.wait()

    def announce(self) -> None:
        """Some broker is connected now: whoever looks for one may take it."""
        self._connected.set()

    def _all(self) -> list[Broker]:
        return [*self.by_node.values(), *self._bootstrap]

    async def run(self) -> None:
        """Keeps metadata fresh until cancelled."""
        while True:
            delay_ms = self.cluster.due_in_ms(self._clock.tick_ms())
            if delay_ms > 0:
                await self._sleep(delay_ms)
                continue
            self.cluster.asked()
            try:
                info = await self._ask()
            except (ConnectionLostError, ProtocolError) as error:
                log.debug("no metadata: %s", error)
                self.cluster.failed(self._clock.tick_ms())
                continue
            if info.code == REBOOTSTRAP_REQUIRED:
                self._rebootstrap()
            elif info.code != NONE:
                log.warning("metadata refused: %s", error_of(info.code).name)
                self.cluster.failed(self._clock.tick_ms())
            else:
                self._take(info)

    async def _sleep(self, delay_ms: int) -> None:
        self._kick.clear()
        try:
            async with asyncio.timeout(min(delay_ms, FOREVER_MS) / 1000):
                await self._kick.wait()
        except TimeoutError:
            return

    async def _ask(self) -> messages.ClusterInfo:
        connection = await self.find()
        names = list(self.cluster.topics)

        def encode(version: int, correlation_id: int) -> bytes:
            return messages.metadata_request(version, correlation_id, self._client_id, names, True)

        version, frame, at = await connection.call(messages.METADATA, encode)
        info = messages.metadata_response(version, frame, at)
        connection.throttle(info.throttle_ms)
        return info

    def _take(self, info: messages.ClusterInfo) -> None:
        changed = self.cluster.update(info, self._clock.tick_ms())
        for node, broker in list(self.by_node.items()):
            if info.brokers.get(node) != (broker.host, broker.port):
                self.by_node.pop(node).close()
        for node in info.brokers:
            self.get(node)
        self._updated(changed)
        if self.connected:
            for broker in self._bootstrap:
                if broker.connection is not None and not broker.connection.in_flight:
                    broker.connection.close("a broker of the cluster is connected instead")

    def _rebootstrap(self) -> None:
        """The server asks for it (KIP-1102): known brokers are dropped; topics, epochs and batches are kept."""
        for broker in self.by_node.values():
            broker.close()
        self.by_node.clear()
        self.cluster.brokers = {}
        self.cluster.failed(self._clock.tick_ms())
        self._updated(list(self.cluster.topics.values()))

    @property
    def drained(self) -> bool:
        """The kernel has taken all that was written to any broker."""
        return all(broker.connection is None or broker.connection.drained for broker in self._all())

    @property
    def disconnected(self) -> bool:
        return all(broker.connection is None for broker in self._all())

    def close(self) -> None:
        for broker in self._all():
            broker.close()
