"""From what a cluster is like to what will become of records: one function per rule, none of them asks anybody."""

from collections.abc import Iterator
from typing import Final

from ingestd.config.model import Config
from ingestd.live.judge_topic import judge_topic
from ingestd.live.view import Finding, View, Weight, number

EXPIRATION_MS_MIN: Final = 86_400_000
"""What recovery rests on: it trusts a broker's memory of a producer for 23 hours (docs/kafka.md 7)."""
FAILS, NOTE = Weight.FAILS, Weight.NOTE


def judge(config: Config, view: View) -> list[Finding]:
    """Everything that is worth saying, what fails first."""
    if not view.reachable:
        return []
    found = [*_reach(view), *_identity(view), *_brokers(config, view)]
    for topic in config.topics:
        found += judge_topic(topic, config, view)
    return sorted(found, key=lambda finding: finding.weight is NOTE)


def _reach(view: View) -> Iterator[Finding]:
    for seed in view.seeds:
        if seed.error:
            cure = "Correct or take it out, or mend the way to it: with the others away the daemon would find no broker"
            yield Finding(NOTE, f"bootstrap.servers {seed.address}", f"no connection: {seed.error}", cure)
    for node, broker in view.nodes.items():
        if broker.error:
            what = f"the cluster names it as {broker.address}, and there is no connection: {broker.error}"
            cure = "Correct the broker's advertised.listeners, or open the way there: its partitions get nothing"
            yield Finding(FAILS, f"broker {node}", what, cure)


def _identity(view: View) -> Iterator[Finding]:
    if view.identity_error:
        what = f"no producer id: {view.identity_error}; nothing will be sent"
        cure = "Grant WRITE on a topic (before Kafka 2.8: IDEMPOTENT_WRITE on the cluster)"
        yield Finding(FAILS, "enable.idempotence", what, cure)


def _brokers(config: Config, view: View) -> Iterator[Finding]:
    if "" in view.refusals:
        what = (
            f"the brokers' settings are not told: {view.refusals['']}; how long they remember a producer is not known"
        )
        yield Finding(NOTE, "brokers", what, "Grant DESCRIBE_CONFIGS on the cluster to have them checked")
    for name, rule in (
        ("producer.id.expiration.ms", _expiration),
        ("socket.request.max.bytes", _request_size),
        ("connections.max.idle.ms", _idle),
        ("replica.lag.time.max.ms", _replica_lag),
    ):
        values = {node: number(settings, name) for node, settings in view.broker_settings.items()}
        # Below 0, where Kafka takes it, is no limit (connections.max.idle.ms = -1).
        told = {node: value for node, value in values.items() if value is not None and value >= 0}
        if told:
            node, lowest = min(told.items(), key=lambda entry: entry[1])
            yield from rule(config, node, lowest)


def _expiration(config: Config, node: int, lowest: int) -> Iterator[Finding]:
    if config.producer.enable_idempotence and lowest < EXPIRATION_MS_MIN:
        what = (
            f"producer.id.expiration.ms = {lowest}: it forgets producers sooner than the 23 hours that ingestd trusts"
            " it for; what is resent after that may be written twice without being counted"
        )
        yield Finding(FAILS, f"broker {node}", what, f"Set it to {EXPIRATION_MS_MIN} (Kafka's default) or more")


def _request_size(config: Config, node: int, lowest: int) -> Iterator[Finding]:
    size = config.producer.max_request_size
    if lowest <= size:
        what = f"socket.request.max.bytes = {lowest}: it ends connections over requests of max.request.size = {size}"
        yield Finding(FAILS, f"broker {node}", what, "Raise the one or lower the other")


def _idle(config: Config, node: int, lowest: int) -> Iterator[Finding]:
    idle_ms = config.producer.connections_max_idle_ms
    if lowest <= idle_ms:
        what = f"connections.max.idle.ms = {lowest}: it closes quiet connections before ingestd does ({idle_ms})"
        yield Finding(NOTE, f"broker {node}", what, f"Set connections.max.idle.ms below {lowest}")


def _replica_lag(config: Config, node: int, lowest: int) -> Iterator[Finding]:
    request_ms = config.producer.request_timeout_ms
    if config.producer.acks == -1 and request_ms < lowest:
        what = (
            f"replica.lag.time.max.ms = {lowest}: a follower that has died holds up answers for so long, longer than"
            f" request.timeout.ms = {request_ms}"
        )
        yield Finding(NOTE, f"broker {node}", what, f"Set request.timeout.ms to {lowest} or more")
