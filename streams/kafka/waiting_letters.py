"""Counts the dead letters that nobody has handled, by reason. Reads each record of their topic once, and then only new ones."""

from types import TracebackType
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from core.errors import TransientError
from core.metrics import REASON
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.kafka.dead_letter_reader import header_of, mark_of
from streams.topics import Topics

BATCH_RECORDS: Final = 200
"""Records read at a time. A letter has up to 4 MiB, of which only the reason is kept."""


class DeadLetterCount:
    """An async context manager. It reads without a group, so that it takes no partition from another reader."""

    def __init__(self, kafka: KafkaSettings, topics: Topics) -> None:
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        self._consumer = AIOKafkaConsumer(**client_options(kafka), **options)
        self._topic = topics.dead_letter
        self._waiting: dict[str, str] = {}  # place of the letter -> its reason

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            partitions = [TopicPartition(self._topic, 0)]  # the topic has one
            self._consumer.assign(partitions)
            await self._consumer.seek_to_beginning(*partitions)
        except KafkaError as error:
            await self._consumer.stop()
            raise TransientError(f"{self._topic}: {error}") from error
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._consumer.stop()

    async def read(self) -> dict[str, int]:
        """Letters not handled, by reason, as of now.

        Raises:
            TransientError: the brokers do not answer.
        """
        partitions = list(self._consumer.assignment())
        try:
            ends = await self._consumer.end_offsets(partitions)
            while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await self._consumer.getmany(timeout_ms=1000, max_records=BATCH_RECORDS)).values():
                    for record in records:
                        self._note(record)
            begins = await self._consumer.beginning_offsets(partitions)
        except KafkaError as error:
            raise TransientError(f"{self._topic}: {error}") from error
        oldest = {partition.partition: offset for partition, offset in begins.items()}
        self._waiting = {place: reason for place, reason in self._waiting.items() if _is_kept(place, oldest)}
        counts = dict.fromkeys(REASON.values, 0)
        for reason in self._waiting.values():
            counts[reason] = counts.get(reason, 0) + 1
        return counts

    def _note(self, record: ConsumerRecord) -> None:
        handled = mark_of(record)
        if handled:
            self._waiting.pop(handled, None)
        else:
            reason = header_of(record, "reason").decode(errors="replace")
            self._waiting[f"{record.partition}/{record.offset}"] = reason if reason in REASON.values else "poison"


def _is_kept(place: str, oldest: dict[int, int]) -> bool:
    partition, _, offset = place.partition("/")
    return int(offset) >= oldest.get(int(partition), 0)
