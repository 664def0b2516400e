"""Sends records with confirmation, and retries for as long as the brokers are unreachable."""

import asyncio
from collections.abc import Mapping

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import TopicT

from core.errors import PoisonError
from core.logging import get_logger
from core.metrics import RETRIES
from streams.processing.app import ExtentsApp
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.backoff import Backoff

log = get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 15.0


class Producer:
    """Sends through the app's own producer and waits for confirmation."""

    def __init__(self, app: ExtentsApp) -> None:
        self._app = app
        self._topics: dict[str, TopicT] = {}

    def _topic(self, name: str) -> TopicT:
        if name not in self._topics:
            self._topics[name] = self._app.raw_topic(name)
        return self._topics[name]

    async def send(
        self,
        assignment: Assignment,
        topic: str,
        key: bytes | None,
        value: bytes,
        *,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
        grace_seconds: float = 0.0,
    ) -> None:
        """Send a record and wait until the brokers have confirmed it. Transient errors are retried without limit.

        Args:
            grace_seconds: how much longer the send may take once the assignment is revoked, to save finished work.

        Raises:
            AssignmentRevoked: a rebalance or a shutdown began before the record was confirmed; it may have been sent.
            PoisonError: the record is too large for its topic.
        """
        sending = asyncio.create_task(self._send(topic, key, value, partition, headers))
        try:
            await assignment.until_revoked(asyncio.shield(sending))
        except AssignmentRevoked:
            done, _ = await asyncio.wait({sending}, timeout=grace_seconds)
            if not done:
                raise
            sending.result()
        finally:
            sending.cancel()

    async def _send(self, topic: str, key: bytes | None, value: bytes, partition: int | None, headers: Mapping[str, bytes] | None) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        while True:
            try:
                delivery = await self._topic(topic).send(key=key, value=value, partition=partition, headers=dict(headers or {}), force=True)
                await asyncio.shield(delivery)  # cancelling the wait must not cancel Faust's own future
                return
            except (KafkaError, ProducerSendError) as raised:
                error = raised.__cause__ if isinstance(raised, ProducerSendError) else raised
                if isinstance(error, MessageSizeTooLargeError):
                    raise PoisonError(f"a record of {len(value)} bytes is too large for topic {topic}: {error}") from error
                if not isinstance(error, KafkaError):
                    raise
                RETRIES.labels("kafka").inc()
                pause = backoff.next_pause()
                log.warning("send.retried", topic=topic, error=repr(error), pause_seconds=round(pause, 1))
                await asyncio.sleep(pause)
