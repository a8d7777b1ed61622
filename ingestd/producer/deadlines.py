"""What ends a wait: delivery.timeout.ms, and topic.denied.timeout.ms or sooner where the cluster denies it."""

from ingestd.kafka.errors import LEADER_NOT_AVAILABLE, NETWORK_EXCEPTION, NONE, Action, error_of
from ingestd.producer.in_force import InForce
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.brokers import Brokers
from ingestd.producer.network.identity import Identity
from ingestd.producer.sender import Sender


class Deadlines:
    """``denied_timeout_ms``: topic.denied.timeout.ms. What is given up is carried out by ``sender``.

    ``final``: a refusal that Kafka does not call retriable, of a batch or of ``identity``, has no such patience.
    """

    def __init__(
        self,
        denied_timeout_ms: int,
        in_force: InForce,
        brokers: Brokers,
        sender: Sender,
        identity: Identity,
        *,
        final: bool,
    ) -> None:
        self._denied_timeout_ms = denied_timeout_ms
        self._in_force = in_force
        self._brokers = brokers
        self._cluster = brokers.cluster
        self._sender = sender
        self._identity = identity
        self._final = final

    def give_up(self, lane: Lane, tick_ms: int) -> None:
        """Fails what has waited as long as it may. Not for a lane that is held."""
        timeout_ms = self._in_force.timeout_ms(lane)
        if timeout_ms is not None and lane.overdue(tick_ms, timeout_ms):
            self._sender.carry_out(lane, lane.expire(tick_ms, timeout_ms, self._trouble(lane)))
            self._sender.attend(lane)
        if lane.flying or lane.held or not lane.has_work:
            return
        code = self._denied(lane)
        if code and not any(item.arena.view_count(item.batch.entry) for item in lane.window):
            self._sender.carry_out(lane, lane.deny(code))

    def _trouble(self, lane: Lane) -> tuple[int, str]:
        """(Error code, text) of what keeps ``lane`` from its broker; (0, ""): nothing that is known here."""
        _, code = self._cluster.denied_since(lane.topic, lane.partition)
        broker: Broker | None = lane.route
        if code:
            return code, "metadata says so"
        if broker is None:
            met = self._brokers.trouble
            return (NETWORK_EXCEPTION, met) if met else (LEADER_NOT_AVAILABLE, "no leader is known")
        return (0, "") if broker.is_ready else (NETWORK_EXCEPTION, f"{broker.address}: {broker.last_error}")

    def _denied(self, lane: Lane) -> int:
        """The error for which a reachable cluster has denied this partition for too long; 0: none."""
        if self._final and (code := self._refusal(lane)):
            return code
        limit_ms = self._denied_timeout_ms
        since_ms, code = self._cluster.denied_since(lane.topic, lane.partition)
        if 0 <= since_ms <= self._cluster.last_success_ms - limit_ms:
            return code
        if 0 <= lane.denied_since_ms <= lane.denied_last_ms - limit_ms:
            return lane.denied_code
        return 0

    def _refusal(self, lane: Lane) -> int:
        """The error that the next attempt would meet again; 0: none is known. A batch not tried yet has met none."""
        code = lane.window[0].code if lane.window else self._identity.refusal if lane.own is None else NONE
        row = error_of(code)
        return code if row.action is Action.DENIED and not row.retriable else NONE
