"""Sending with confirmation: a send is over when the brokers have the record, however long they are away."""

import asyncio
import random
from collections.abc import Mapping

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import TopicT

from core.errors import PoisonError
from core.logging import get_logger
from core.metrics import RETRIES
from streams.processing.app import ExtentsApp
from streams.runtime.assignment import Assignment, AssignmentRevoked

log = get_logger(__name__)

MAX_PAUSE_SECONDS = 15.0


class Producer:
    """Confirmed sends through the app's own producer."""

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
        """Send a record and wait until the brokers have it. Passing errors are tried again without limit.

        Args:
            grace_seconds: how long it may still take once the assignment has ended; for what would be lost work otherwise.

        Raises:
            AssignmentRevoked: a rebalance or a stop began before it was confirmed; it may have been sent.
            PoisonError: no broker will ever take it, since it is too large.
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
        pause = 0.1
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
                log.warning("send.retried", topic=topic, error=repr(error), pause_seconds=round(pause, 1))
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
