"""Asks a cluster, over the producer's own connections: what it is told is what the daemon would be told."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from ingestd import __version__
from ingestd.config.model import Config
from ingestd.kafka import describe, messages, produce
from ingestd.kafka.errors import NONE, ProtocolError, error_of
from ingestd.live.view import Reached, View
from ingestd.producer.common import SystemClock, log
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.brokers import Brokers
from ingestd.producer.network.cluster import Cluster
from ingestd.producer.network.connection import Connection, ConnectionLostError

ANSWER_SECONDS_MAX: Final = 15.0
IDENTITY_ATTEMPTS: Final = 10
IDENTITY_PAUSE_SECONDS: Final = 0.2
"""A broker that has just started has no producer ids for a moment (docs/kafka.md 7)."""
Answer = TypeVar("Answer")


def ask(config: Config) -> View:
    """Everything that :mod:`ingestd.live.judge` wants to know; it takes as long as the slowest broker."""
    # Whatever goes wrong with a connection becomes a finding; the log would say it twice.
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_ask(config))
    finally:
        log.setLevel(level)


class _Listener:
    """Nobody waits for what connections tell their owner."""

    def connected(self, broker: Broker) -> None: ...

    def unreachable(self, broker: Broker) -> None: ...

    def authenticated(self, *, again: bool) -> None: ...

    def refused(self, error: Exception, *, again: bool) -> None: ...

    def writable(self, broker: Broker) -> None: ...

    def misdirected(self, broker: Broker) -> None: ...

    def produced(self, connection: Connection, request: Any, frame: bytes, at: int) -> None: ...

    def lost(self, connection: Connection, contexts: list[Any]) -> None: ...


async def _ask(config: Config) -> View:
    settings = config.producer
    chance = random.Random()  # noqa: S311 (jitter)
    cluster = Cluster([], settings.metadata_max_age_ms, settings.metadata_max_idle_ms, 100, 100, chance)
    brokers = Brokers(
        cluster,
        settings,
        _Listener(),
        lambda _: None,
        asyncio.get_running_loop(),
        SystemClock(),
        chance,
        f"{settings.client_id or 'ingestd'}-check",
        __version__,
    )
    try:
        return await _view(config, cluster, brokers)
    finally:
        brokers.close()


async def _view(config: Config, cluster: Cluster, brokers: Brokers) -> View:
    view = View(await _reach_all(brokers.seeds))
    answer = await _first_answer(view, brokers.seeds, [topic.name for topic in config.topics])
    if answer is None:
        return view
    connection, described = answer
    view.cluster_id, view.topics, cluster.brokers = described.cluster_id, described.topics, described.brokers
    nodes = {node: broker for node in described.brokers if (broker := brokers.get(node)) is not None}
    view.nodes = dict(zip(nodes, await _reach_all(nodes.values()), strict=True))
    present = [name for name, topic in described.topics.items() if topic.code == NONE]
    await _describe(view, connection, [(describe.TOPIC, name) for name in present])
    for node, broker in nodes.items():
        if broker.connection is not None:
            await _describe(view, broker.connection, [(describe.BROKER, str(node))])
    if config.producer.enable_idempotence:
        view.identity_error = await _identity_error(connection)
    return view


async def _first_answer(
    view: View, seeds: list[Broker], names: list[str]
) -> tuple[Connection, describe.ClusterDescription] | None:
    """Who tells of the cluster, and what; a bootstrap server that does not is no better than one that is away."""
    for index, seed in enumerate(seeds):
        connection = seed.connection
        if connection is None:
            continue
        encode = partial(_topics_request, _client_id(connection), names)
        try:
            return connection, await _call(connection, messages.METADATA, encode, describe.topics_response)
        except (ConnectionLostError, ProtocolError, TimeoutError) as error:
            # Of a connection that has ended the broker knows why, and what to do.
            why = str(error) if seed.connection is connection else seed.last_error
            view.seeds[index] = view.seeds[index]._replace(error=f"no metadata: {why or 'no answer'}")
    return None


def _topics_request(client_id: str, names: list[str], version: int, correlation_id: int) -> bytes:
    return describe.topics_request(version, correlation_id, client_id, names)


async def _reach_all(brokers: Iterable[Broker]) -> list[Reached]:
    """Connects to all at once; each attempt ends by socket.connection.setup.timeout.ms."""
    return list(await asyncio.gather(*(_reach(broker) for broker in brokers)))


async def _reach(broker: Broker) -> Reached:
    broker.want()
    await broker.wait_attempt()
    if broker.connection is None:
        return Reached(broker.address, broker.last_error or "closed at once")
    return Reached(broker.address, "", broker.connection.session.versions[produce.API_KEY])


def _client_id(connection: Connection) -> str:
    return connection.session.client_id


async def _call(
    connection: Connection,
    api_key: int,
    encode: Callable[[int, int], bytes],
    decode: Callable[[int, bytes, int], Answer],
) -> Answer:
    version, frame, at = await asyncio.wait_for(connection.call(api_key, encode), ANSWER_SECONDS_MAX)
    return decode(version, frame, at)


async def _describe(view: View, connection: Connection, resources: list[tuple[int, str]]) -> None:
    """Settings of topics, or of the broker behind ``connection``; what is refused is noted as such."""
    try:
        rows = await _call(
            connection,
            messages.DESCRIBE_CONFIGS,
            lambda version, correlation_id: describe.settings_request(
                version, correlation_id, _client_id(connection), resources
            ),
            describe.settings_response,
        )
    except (ConnectionLostError, ProtocolError, TimeoutError) as error:
        for kind, name in resources:
            view.refusals[name if kind == describe.TOPIC else ""] = str(error) or "no answer"
        return
    for row in rows:
        if row.code != NONE:
            view.refusals[row.name if row.kind == describe.TOPIC else ""] = error_of(row.code).name
        elif row.kind == describe.TOPIC:
            view.topic_settings[row.name] = row.values
        else:
            view.broker_settings[int(row.name)] = row.values


async def _identity_error(connection: Connection) -> str:
    """How the cluster refuses a producer id; "" if it does not."""
    name = ""
    for _ in range(IDENTITY_ATTEMPTS):
        try:
            identity = await _call(
                connection,
                messages.INIT_PRODUCER_ID,
                lambda version, correlation_id: messages.init_producer_id_request(
                    version, correlation_id, _client_id(connection)
                ),
                messages.init_producer_id_response,
            )
        except (ConnectionLostError, ProtocolError, TimeoutError) as error:
            return str(error) or "no answer"
        if identity.code == NONE:
            return ""
        refusal = error_of(identity.code)
        name = refusal.name
        if not refusal.retriable:
            break
        await asyncio.sleep(IDENTITY_PAUSE_SECONDS)
    return name
