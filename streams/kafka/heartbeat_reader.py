"""Reads the last heartbeat of each worker, without a consumer group."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from core.errors import PoisonError, TransientError
from core.logging import get_logger
from core.moments import utc
from core.settings import KafkaSettings
from core.workers import SeenWorker
from streams.kafka.brokers import require_topics
from streams.kafka.connection import client_options
from streams.policy.heartbeats import SHOWN_FOR, Heartbeat, ReceivedBeat, seen_workers
from streams.records import decode
from streams.topics import HEARTBEATS_KEPT, Topics

log = get_logger(__name__)


class HeartbeatReader:
    """An async context manager. Each call reads only the heartbeats that have arrived since the previous call.

    Args:
        since: how far back to start reading.
    """

    def __init__(self, kafka: KafkaSettings, topics: Topics, since: timedelta = SHOWN_FOR) -> None:
        self._kafka, self._topic, self._since = kafka, topics.workers, since
        self._beats: dict[UUID, ReceivedBeat] = {}
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises: ConfigurationError: the topic does not exist. TransientError: the brokers refuse access or do not answer."""
        await require_topics(self._kafka, [self._topic])
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}  # a pending reset must not undo the seek
        async with AsyncExitStack() as opened:
            self._consumer = AIOKafkaConsumer(self._topic, **client_options(self._kafka), **options)
            opened.push_async_callback(self._consumer.stop)
            try:
                await self._consumer.start()
                await self._seek(datetime.now(UTC) - self._since)
            except KafkaError as error:
                raise TransientError(f"{self._topic}: {error}") from error
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._opened.aclose()

    async def workers(self) -> list[SeenWorker]:
        """Return the present workers and those that disappeared recently; see ``seen_workers``."""
        return seen_workers(await self.beats(), datetime.now(UTC))

    async def beats(self) -> list[ReceivedBeat]:
        """Return the last heartbeat of each instance, unless it is older than the topic's retention.

        Raises:
            TransientError: the brokers do not answer.
        """
        consumer = self._consumer
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        self._note(record)
        except KafkaError as error:
            raise TransientError(f"{self._topic}: {error}") from error
        oldest = datetime.now(UTC) - HEARTBEATS_KEPT
        self._beats = {instance: received for instance, received in self._beats.items() if received.at >= oldest}
        return list(self._beats.values())

    async def _seek(self, since: datetime) -> None:
        partitions = list(self._consumer.assignment())
        positions = await self._consumer.offsets_for_times(dict.fromkeys(partitions, int(1000 * since.timestamp())))
        for partition in partitions:
            position = positions.get(partition)
            if position is None:
                await self._consumer.seek_to_end(partition)
            else:
                self._consumer.seek(partition, position.offset)

    def _note(self, record: ConsumerRecord) -> None:
        at = utc(record.timestamp)
        if abs(datetime.now(UTC) - at) > 2 * HEARTBEATS_KEPT:  # a producer's wrong clock: the topic was created with other settings
            return
        try:
            beat = decode(Heartbeat, record.value)
        except PoisonError as error:
            log.debug("heartbeat.undecodable", offset=record.offset, error=str(error))
            return
        self._beats[beat.instance] = ReceivedBeat(beat, at)


async def read_workers(kafka: KafkaSettings, topics: Topics) -> list[SeenWorker]:
    """Read the workers once, for a command.

    Raises:
        ExtentsError: the topic does not exist, or the brokers refuse access or do not answer.
    """
    async with HeartbeatReader(kafka, topics) as reader:
        return await reader.workers()
