"""The producer id of this process, asked for with backoff: nothing is stamped before there is one."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from ingestd.kafka import messages
from ingestd.kafka.errors import NONE, ProtocolError, error_of
from ingestd.producer.common import log
from ingestd.producer.network.backoff import Backoff
from ingestd.producer.network.connection import Connection, ConnectionLostError

BACKOFF_MAX_MS: Final = 10_000


class Identity:
    """``find``: a ready connection to any broker. ``granted(producer_id, epoch)`` is called with every new id."""

    def __init__(
        self,
        find: Callable[[], Awaitable[Connection]],
        granted: Callable[[int, int], None],
        backoff_ms: int,
        random: Random,
    ) -> None:
        self.producer_id = -1
        self.epoch = -1
        self.refusal = NONE
        """The broker's last word, if that was an error."""
        self._find = find
        self._granted = granted
        self._backoff = Backoff(backoff_ms, BACKOFF_MAX_MS, random)
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Ask for an id that nobody has used; several wishes until it comes are one."""
        self._wanted.set()

    async def run(self) -> None:
        """Serves wishes until cancelled."""
        failures = 0
        while True:
            await self._wanted.wait()
            try:
                answer = await self._ask()
            except (ConnectionLostError, ProtocolError) as error:
                failures += 1
                self.refusal = NONE
                log.debug("no producer id: %s", error)
                await asyncio.sleep(self._backoff.delay_ms(failures) / 1000)
                continue
            self.refusal = answer.code
            if answer.code != NONE:
                failures += 1
                row = error_of(answer.code)
                log.log(20 if row.retriable else 40, "no producer id: %s", row.name)
                await asyncio.sleep(self._backoff.delay_ms(failures) / 1000)
                continue
            failures = 0
            self._wanted.clear()
            self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
            self._granted(self.producer_id, self.epoch)

    async def _ask(self) -> messages.ProducerIdentity:
        connection = await self._find()
        client_id = connection.session.client_id

        def encode(version: int, correlation_id: int) -> bytes:
            return messages.init_producer_id_request(version, correlation_id, client_id)

        version, frame, at = await connection.call(messages.INIT_PRODUCER_ID, encode)
        answer = messages.init_producer_id_response(version, frame, at)
        connection.throttle(messages.INIT_PRODUCER_ID, version, answer.throttle_ms)
        return answer
