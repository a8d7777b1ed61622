"""All brokers of the cluster, the way to any of them, and the loop that keeps metadata fresh."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from ingestd.config.model import Producer
from ingestd.figures import Trouble
from ingestd.kafka import messages
from ingestd.kafka.errors import NONE, REBOOTSTRAP_REQUIRED, ProtocolError, error_of
from ingestd.producer.common import Clock, log
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.cluster import FOREVER_MS, Cluster, Topic
from ingestd.producer.network.connection import Connection, ConnectionLostError, Owner
from ingestd.producer.network.patience import time_limit
from ingestd.producer.network.resolver import canonical_names
from ingestd.producer.network.security import Security

CANONICAL: Final = "resolve_canonical_bootstrap_servers_only"
SILENT_MS: Final = 3000
"""A broker that owes an answer, and has given none for so long, is not asked, and makes others be asked."""
SPARE_MS: Final = 60_000
"""A connection to a bootstrap server is kept for so long where all others were silent: they may be slow for longer."""
PATIENCE_S: Final = 1.0
"""How long one broker is waited for before the next is tried as well."""


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; the configuration has checked it."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _usable(brokers: Iterable[Broker]) -> int:
    # a copy: the library's callers ask from threads of their own
    return sum(broker.is_usable for broker in list(brokers))


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
        self._security = Security(settings, loop, clock, random)
        self._client_id = client_id
        self._software_version = software_version
        self._kick = asyncio.Event()
        self._connected = asyncio.Event()
        self._patience_ms = SILENT_MS
        """For an answer with metadata: doubled with each that does not come in time, where all are slow."""
        self._spare_until_ms = 0
        self._seeds = [split_address(text) for text in settings.bootstrap_servers]
        self._bootstrap = {
            address: self._broker(-1 - index, *address) for index, address in enumerate(dict.fromkeys(self._seeds))
        }

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
            self._security,
            self._client_id,
            self._software_version,
        )

    @property
    def seeds(self) -> list[Broker]:
        """The bootstrap servers."""
        return list(self._bootstrap.values())

    @property
    def connected(self) -> int:
        """Brokers that metadata names and that can be written to now, as far as is known."""
        return _usable(self.by_node.values())

    @property
    def reachable(self) -> int:
        """As `connected`, or else such bootstrap servers: as long as nothing is written, they do."""
        return self.connected or _usable(self._bootstrap.values())

    @property
    def in_flight(self) -> int:
        """Requests of all kinds without an answer."""
        return sum(broker.connection.in_flight for broker in self._all() if broker.connection is not None)

    @property
    def trouble(self) -> str:
        """Why some broker could not be reached, as people read it; empty: nothing is known."""
        found = (broker.trouble for broker in self._all())
        return next((f"{trouble.address}: {trouble.reason}" for trouble in found if trouble is not None), "")

    def troubles(self) -> list[Trouble]:
        """Brokers that we cannot get to, as far as is known. For once a second."""
        if self._is_served:
            self._forgive()
        nodes = self.by_node.values()
        known = {(broker.host, broker.port) for broker in nodes}
        seeds = (seed for address, seed in self._bootstrap.items() if address not in known)
        return [trouble for broker in (*nodes, *seeds) if (trouble := broker.trouble) is not None]

    def _forgive(self) -> None:
        """Some way in was found: those that lead nothing of ours are not tried again before they are needed."""
        for seed in self._bootstrap.values():
            seed.forgive()
        away = [broker for broker in self.by_node.values() if broker.trouble is not None]
        leaders = self.cluster.leaders if away else ()
        for broker in away:
            if broker.node not in leaders and not broker.ready_lanes:
                broker.forgive()

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
        """A ready connection to any broker: the one with the least to do, else the first that can be had."""
        if (found := self._best(SILENT_MS)) is not None:
            return found
        if self._connections():
            self._spare_until_ms = self._clock.tick_ms() + SPARE_MS
        for broker in await self._candidates():
            broker.want()
            await self._attempt(broker)
            if (found := self._best(SILENT_MS)) is not None:
                return found
        if (found := self._best(FOREVER_MS)) is not None:
            return found
        raise ConnectionLostError("no broker can be reached")

    def _best(self, silent_ms: int) -> Connection | None:
        """Among the ready ones that have not been silent for ``silent_ms``: the one whose throttle is over first, then
        with the least in flight."""
        tick_ms = self._clock.tick_ms()
        ready = [one for one in self._connections() if one.silent_ms(tick_ms) < silent_ms]
        return min(ready, key=lambda one: (max(one.throttled_until_ms - tick_ms, 0), one.in_flight), default=None)

    def _connections(self) -> list[Connection]:
        return [broker.connection for broker in self._all() if broker.connection is not None]

    def look_for_silence(self) -> None:
        """Call it once a second. A broker that is silent for long may have lost what it led: others know that long
        before request.timeout.ms, or socket.connection.setup.timeout.ms."""
        tick_ms = self._clock.tick_ms()
        if tick_ms - self.cluster.last_success_ms >= SILENT_MS and any(
            broker.silent_ms(tick_ms) >= SILENT_MS for broker in self._all()
        ):
            self.refresh()

    def look_for_ways(self) -> None:
        """Call it once a second. What stands against a broker ends where it has let us in meanwhile; else it is tried
        again, with reconnect.backoff, although nothing waits for it: nobody would see that it is mended. Where one
        serves us, it is one of the others per call: behind an outage not all are to be logged in to at once."""
        tick_ms = self._clock.tick_ms()
        for connection in self._connections():
            connection.settle(tick_ms)
        if not self.troubles():
            return
        if not self._is_served:
            self.refresh()  # a connection alone would not tell: some let us connect, and do not serve us
            return
        away = [
            (trouble.tried_tick_ms, broker.node)
            for broker in self.by_node.values()
            if broker.is_left_alone and (trouble := broker.trouble) is not None
        ]
        if away:
            _, node = min(away)
            self.by_node[node].want()

    @property
    def _is_served(self) -> bool:
        return any(connection.served for connection in self._connections())

    async def _candidates(self) -> list[Broker]:
        """Whom to try in which order: brokers that metadata names, then the bootstrap servers if they may be asked."""
        known = list(self.by_node.values())
        self._random.shuffle(known)
        if known and not self._may_rebootstrap:
            return known
        if self._settings.client_dns_lookup == CANONICAL:
            await self._look_behind_aliases()
        bootstrap = list(self._bootstrap.values())
        self._random.shuffle(bootstrap)
        return [*known, *bootstrap]

    async def _look_behind_aliases(self) -> None:
        """Takes the hosts behind the names of bootstrap.servers for them; what cannot be resolved stays as it was."""
        found: list[tuple[str, int]] = []
        for host, port in self._seeds:
            try:
                found += [(name, port) for name in await canonical_names(self._loop, host, port)]
            except OSError as error:
                log.warning("no canonical name for %s of bootstrap.servers: %s", host, error)
        if not found:
            return
        for address in self._bootstrap.keys() - set(found):
            self._bootstrap.pop(address).close()
        for index, address in enumerate(found):
            if address not in self._bootstrap:
                self._bootstrap[address] = self._broker(-1 - index, *address)

    async def _attempt(self, broker: Broker) -> None:
        """Until the attempt on ``broker`` has ended, or any other broker has come within reach meanwhile; it goes on by
        itself when it takes long, and the next is tried beside it."""
        self._connected.clear()
        waits = [self._loop.create_task(wait) for wait in (broker.wait_attempt(), self._wait_connected())]
        try:
            await asyncio.wait(waits, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _wait_connected(self) -> None:
        await self._connected.wait()

    def announce(self) -> None:
        """Some broker is connected now: whoever looks for one may take it."""
        self._connected.set()

    def _all(self) -> list[Broker]:
        return [*self.by_node.values(), *self._bootstrap.values()]

    async def run(self) -> None:
        """Keeps metadata fresh until cancelled."""
        while True:
            delay_ms = self.cluster.due_in_ms(self._clock.tick_ms())
            if delay_ms > 0:
                await self._sleep(delay_ms)
                continue
            names = self.cluster.asked(self._clock.tick_ms())
            try:
                info = await self._ask(names)
            except (ConnectionLostError, ProtocolError) as error:
                log.debug("no metadata: %s", error)
                self._failed()
                continue
            if info.code == NONE and info.brokers:
                self._take(info)
                continue
            if info.code == NONE:
                # Said by a broker that has just started, and has heard of nothing yet.
                log.debug("metadata without brokers is not believed")
            else:
                log.warning("metadata refused: %s", error_of(info.code).name)
            if info.code == REBOOTSTRAP_REQUIRED:
                self.rebootstrap("the server asks for it")
            self._failed()

    def _failed(self) -> None:
        """A request for metadata was in vain; after some time of that, whoever is known does not know better."""
        tick_ms = self._clock.tick_ms()
        self.cluster.failed(tick_ms)
        trigger_ms = self._settings.metadata_recovery_rebootstrap_trigger_ms
        if self.by_node and tick_ms - self.cluster.trying_since_ms > trigger_ms:
            self.rebootstrap(f"no metadata for metadata.recovery.rebootstrap.trigger.ms = {trigger_ms}")

    async def _sleep(self, delay_ms: int) -> None:
        self._kick.clear()
        try:
            async with asyncio.timeout(min(delay_ms, FOREVER_MS) / 1000):
                await self._kick.wait()
        except TimeoutError:
            return

    async def _ask(self, names: Sequence[str]) -> messages.ClusterInfo:
        connection = await self.find()

        def encode(version: int, correlation_id: int) -> bytes:
            return messages.metadata_request(version, correlation_id, self._client_id, names, True)

        # With another one to ask instead, a silent broker is not waited for until request.timeout.ms.
        patience_s = self._patience_ms / 1000 if len(self._connections()) > 1 else None
        try:
            async with time_limit(patience_s):
                version, frame, at = await connection.call(messages.METADATA, encode)
        except TimeoutError as error:
            if self._patience_ms < self._settings.request_timeout_ms:
                self._patience_ms *= 2
            raise ConnectionLostError(f"{connection.broker.address} is silent") from error
        self._patience_ms = SILENT_MS
        info = messages.metadata_response(version, frame, at)
        connection.throttle(messages.METADATA, version, info.throttle_ms)
        return info

    def _take(self, info: messages.ClusterInfo) -> None:
        changed = self.cluster.update(info, self._clock.tick_ms())
        for node, broker in list(self.by_node.items()):
            if info.brokers.get(node) != (broker.host, broker.port):
                self.by_node.pop(node).close()
        for node in info.brokers:
            self.get(node)
        self._updated(changed)
        if self.connected and self._clock.tick_ms() >= self._spare_until_ms:
            for broker in self._bootstrap.values():
                if broker.connection is not None and not broker.connection.in_flight:
                    broker.connection.close("a broker of the cluster is connected instead")

    @property
    def _may_rebootstrap(self) -> bool:
        return self._settings.metadata_recovery_strategy == "rebootstrap"

    def rebootstrap(self, why: str) -> None:
        """Back to bootstrap.servers (KIP-899, KIP-1102): known brokers are dropped; topics, epochs, batches are kept.

        With metadata.recovery.strategy = none nothing is done.
        """
        if not self._may_rebootstrap:
            return
        log.warning("asking bootstrap.servers again: %s", why)
        dropped, self.by_node = list(self.by_node.values()), {}
        for broker in dropped:
            broker.close()
        for broker in self._bootstrap.values():
            if broker.connection is not None:
                broker.connection.close("bootstrap begins again")
        self.cluster.forget_brokers(self._clock.tick_ms())
        self._updated(list(self.cluster.topics.values()))
        self._kick.set()

    def used(self, topic: Topic) -> None:
        """``topic`` has a batch, or a caller asks about it: it is in metadata's requests again if it was not."""
        if self.cluster.used(topic, self._clock.tick_ms()):
            self._kick.set()

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
        self._security.close()
