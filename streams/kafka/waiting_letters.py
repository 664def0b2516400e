"""Tracks the dead letters that nobody has handled yet. It reads each record of their topic only once."""

from types import TracebackType
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from core.errors import TransientError
from core.metrics import REASON
from core.moments import utc
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.kafka.dead_letter_reader import header_of, mark_of
from streams.policy.stored_letters import StoredLetter
from streams.topics import Topics

BATCH_RECORDS: Final = 200
"""Maximum number of records read at a time. A letter may have up to 4 MiB, of which only the ``KEPT_HEADERS`` are kept."""

KEPT_HEADERS: Final = ("origin", "reason", "error", "run_id")
"""The headers of a letter that are kept."""


class WaitingLetters:
    """An async context manager. It reads without a consumer group, so that it takes no partition from another reader."""

    def __init__(self, kafka: KafkaSettings, topics: Topics) -> None:
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        self._consumer = AIOKafkaConsumer(**client_options(kafka), **options)
        self._topic = topics.dead_letter
        self._waiting: dict[str, StoredLetter] = {}  # by id

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            partitions = [TopicPartition(self._topic, 0)]  # the topic has only this one
            self._consumer.assign(partitions)
            await self._consumer.seek_to_beginning(*partitions)
        except KafkaError as error:
            await self._consumer.stop()
            raise TransientError(f"{self._topic}: {error}") from error
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._consumer.stop()

    async def counts(self) -> dict[str, int]:
        """Return the number of waiting letters by reason; see ``letters``. An unknown reason counts as ``poison``."""
        counts = dict.fromkeys(REASON.values, 0)
        for letter in await self.letters():
            counts[letter.reason if letter.reason in REASON.values else "poison"] += 1
        return counts

    async def letters(self) -> list[StoredLetter]:
        """Return the waiting letters, oldest first, without keys and values, and with only their ``KEPT_HEADERS``.

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
        self._waiting = {place: letter for place, letter in self._waiting.items() if _is_kept(place, oldest)}
        return list(self._waiting.values())

    def _note(self, record: ConsumerRecord) -> None:
        handled = mark_of(record)
        if handled:
            self._waiting.pop(handled, None)
        else:
            place = f"{record.partition}/{record.offset}"
            headers = {name: header_of(record, name) for name in KEPT_HEADERS}
            self._waiting[place] = StoredLetter(place, utc(record.timestamp), None, b"", headers)


def _is_kept(place: str, oldest: dict[int, int]) -> bool:
    partition, _, offset = place.partition("/")
    return int(offset) >= oldest.get(int(partition), 0)
