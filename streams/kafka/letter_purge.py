"""Purges dead letters: marks them all, and deletes those at the beginning of the topic.

Kafka cannot delete a single record. It deletes the beginning of a partition (``DeleteRecords``), or what is older than the
topic's retention. So a purged letter is marked as handled, and deleted at once if all letters before it are purged as well.
Other purged letters stay until the retention is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from core.settings import KafkaSettings
from streams.kafka.brokers import brokers
from streams.kafka.connection import client_options
from streams.kafka.dead_letter_reader import PURGED, DeadLetterReader
from streams.kafka.topic_admin import topic_config
from streams.policy.stored_letters import Selection, StoredLetter, Subject
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class PurgedLetters:
    """The result of a purge of letters.

    Attributes:
        marked: number of letters that are now marked as purged.
        kept: number of these that are still in the topic.
        kept_until: when Kafka will have deleted the last of them; None if there is none, or if the topic keeps its records forever.
        refused: why Kafka refused to delete the letters at the beginning of the topic; None if it did not refuse.
    """

    marked: int
    kept: int
    kept_until: datetime | None
    refused: str | None = None


async def find_letters(kafka: KafkaSettings, topics: Topics, subject: Subject) -> list[StoredLetter]:
    """Return the letters about a video or a tenant that are in the topic, including handled ones."""
    every = await DeadLetterReader(kafka, topics).read(Selection(handled=True))
    return [letter for letter in every if subject.covers(letter)]


async def purge_letters(kafka: KafkaSettings, topics: Topics, subject: Subject, note: str) -> PurgedLetters:
    """Mark the letters about a video or a tenant, and delete what can be deleted. A repeated call marks no letter twice."""
    reader = DeadLetterReader(kafka, topics)
    letters = await find_letters(kafka, topics, subject)
    await reader.acknowledge([letter for letter in letters if letter.handled != PURGED], PURGED, note)
    ends = await _ends(kafka, topics.dead_letter)
    every = await reader.read(Selection(handled=True))
    refused = None
    async with brokers(kafka) as admin:
        try:
            await _delete_before(admin, {partition: _first_needed(every, partition.partition, end) for partition, end in ends.items()})
        except KafkaError as error:
            refused = f"{type(error).__name__}: {error}"
        config = await topic_config(admin, topics.dead_letter)
    kept = [letter for letter in await reader.read(Selection(handled=True)) if subject.covers(letter)]
    return PurgedLetters(len(letters), len(kept), _kept_until(kept, config), refused)


def _first_needed(letters: Sequence[StoredLetter], partition: int, end: int) -> int:
    """Return the offset before which there are only purged letters and their marks, since a mark comes after its letter."""
    places = [(int(number), int(offset), letter) for letter in letters for number, _, offset in [letter.id.partition("/")]]
    return min((offset for number, offset, letter in places if number == partition and letter.handled != PURGED), default=end)


async def _ends(kafka: KafkaSettings, topic: str) -> dict[TopicPartition, int]:
    """Return where the topic ends now. Letters that arrive later are not deleted."""
    async with AIOKafkaConsumer(topic, **client_options(kafka), enable_auto_commit=False) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(consumer.assignment()))
        return ends


async def _delete_before(admin: AIOKafkaAdminClient, offsets: dict[TopicPartition, int]) -> None:
    wanted = {partition: RecordsToDelete(before_offset=offset) for partition, offset in offsets.items() if offset > 0}
    if wanted:
        await admin.delete_records(wanted)


def _kept_until(letters: Sequence[StoredLetter], config: dict[str, str]) -> datetime | None:
    """Return when Kafka will have deleted the last of the letters.

    It deletes whole segments, once their last record is older than the retention. A segment is written to for up to ``segment.ms``.
    """
    retention_ms = int(config["retention.ms"])
    if not letters or retention_ms < 0:
        return None
    last = max(letter.dead_lettered_at for letter in letters)
    return last + timedelta(milliseconds=retention_ms + int(config["segment.ms"]))
