"""Detects that a topic was deleted, and perhaps recreated, while the worker was running.

aiokafka keeps its old positions in such a topic: it reads nothing, or skips the first records of the new topic, while the worker
looks healthy. The brokers delete a group's offsets together with a topic, so a missing committed offset reveals the deletion. The
worker then ends. The next one waits until the topic exists, and reads it from its beginning.
"""

import asyncio
from typing import Final, cast

from aiokafka.errors import KafkaError

from core.errors import ConfigurationError, TransientError
from core.logging import get_logger
from core.settings import KafkaSettings
from streams.kafka.brokers import brokers
from streams.processing.app import ExtentsApp
from streams.processing.consumer import SeekSafeConsumer

log = get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 15.0
CONFIRM_SECONDS: Final = 2.0
"""Pause between the check that misses an offset and the check that confirms the deletion."""


class TopicWatch:
    """Looks for partitions whose committed offset is missing, including those that a rebalance has since assigned to other workers."""

    def __init__(self, app: ExtentsApp, kafka: KafkaSettings) -> None:
        self._app, self._kafka = app, kafka

    async def watch(self, look_every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        """Check regularly. Runs until cancelled.

        Raises:
            ConfigurationError: a topic was deleted; the message names it.
        """
        while True:
            await asyncio.sleep(look_every_seconds)
            try:
                gone = await self.deleted_topics()
                if gone:
                    await asyncio.sleep(CONFIRM_SECONDS)
                    gone &= await self.deleted_topics()
            except (KafkaError, TransientError) as error:
                log.info("topics.unknown", error=repr(error))
                continue
            if gone:
                raise ConfigurationError(
                    f"topic {', '.join(sorted(gone))} was deleted while this worker was running, and perhaps recreated: the worker ends,"
                    " so that the next one reads the topic from its beginning"
                )

    async def deleted_topics(self) -> set[str]:
        """Return the topics for which the group has committed an offset that the brokers no longer have."""
        confirmed = list(cast(SeekSafeConsumer, self._app.consumer).confirmed)
        if not confirmed:
            return set()
        async with brokers(self._kafka) as admin:
            stored = await admin.list_consumer_group_offsets(self._app.conf.id, partitions=confirmed)
        return {tp.topic for tp in confirmed if tp not in stored or stored[tp].offset < 0}
