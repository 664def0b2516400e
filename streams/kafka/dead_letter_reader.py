"""Reads the dead letters of an installation and marks those that have been handled.

A record cannot be removed from a topic, so handling a dead letter appends a mark to the same topic: a record that names the
letter's id.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from core.moments import utc
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.policy.stored_letters import Selection, StoredLetter
from streams.topics import Topics

REDRIVEN: Final = "redriven"
DISCARDED: Final = "discarded"
PURGED: Final = "purged"
MARK_HEADER: Final = "handled"
"""Header of a mark: the id (``partition/offset``) of its letter."""


class DeadLetterReader:
    """Reads the topic without a consumer group, from its beginning or from a point in time."""

    def __init__(self, kafka: KafkaSettings, topics: Topics) -> None:
        self._kafka, self._topics = kafka, topics

    async def read(self, selection: Selection) -> list[StoredLetter]:
        """Return the selected letters, oldest first, each with the actions taken on it so far."""
        return [letter for letter in await self._letters(selection.since, _any) if selection.covers(letter, self._topics)]

    async def about(self, video_id: UUID, runs: Collection[str]) -> list[StoredLetter]:
        """Return every letter, handled or not, whose value contains the video's id or whose ``run_id`` header names one of the runs.

        Other letters are not kept in memory.
        """
        name, run_names = str(video_id).encode(), {run.encode() for run in runs}
        return await self._letters(None, lambda record: header_of(record, "run_id") in run_names or name in (record.value or b""))

    async def _letters(self, since: datetime | None, wanted: Callable[[ConsumerRecord], bool]) -> list[StoredLetter]:
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}  # a pending reset must not undo the seek
        async with AIOKafkaConsumer(self._topics.dead_letter, **client_options(self._kafka), **options) as consumer:
            partitions = list(consumer.assignment())
            await self._seek(consumer, partitions, since)
            records = await _read_to_end(consumer, partitions, wanted)
        marks: dict[str, list[str]] = {}
        for record in records:
            if mark := mark_of(record):
                marks.setdefault(mark, []).append(header_of(record, "action").decode())
        return [_letter(record, marks) for record in records if not mark_of(record)]

    async def acknowledge(self, letters: list[StoredLetter], action: str, note: str = "") -> None:
        """Record the action taken on these letters, with confirmation. A mark has no key, since a key may contain ids of a purged video."""
        async with AIOKafkaProducer(**client_options(self._kafka), acks="all") as producer:
            for letter in letters:
                headers = [(MARK_HEADER, letter.id.encode()), ("action", action.encode()), ("note", note.encode())]
                partition = int(letter.id.partition("/")[0])
                await producer.send_and_wait(self._topics.dead_letter, b"", partition=partition, headers=headers)

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since: datetime | None) -> None:
        if since is None:
            await consumer.seek_to_beginning(*partitions)
            return
        positions = await consumer.offsets_for_times(dict.fromkeys(partitions, int(1000 * since.timestamp())))
        for partition in partitions:
            position = positions.get(partition)
            if position is None:
                await consumer.seek_to_end(partition)
            else:
                consumer.seek(partition, position.offset)


def _any(_: ConsumerRecord) -> bool:
    return True


async def _read_to_end(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], wanted: Callable[[ConsumerRecord], bool]
) -> list[ConsumerRecord]:
    """Read the wanted letters and every mark up to the present end, oldest first."""
    ends = await consumer.end_offsets(partitions)
    records: list[ConsumerRecord] = []
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            records += [record for record in batch if mark_of(record) or wanted(record)]
    return sorted(records, key=lambda record: (record.timestamp, record.partition, record.offset))


def _letter(record: ConsumerRecord, marks: Mapping[str, list[str]]) -> StoredLetter:
    letter_id = f"{record.partition}/{record.offset}"
    dead_lettered_at = utc(record.timestamp)
    actions = marks.get(letter_id, [])
    handled = actions[-1] if actions else None
    return StoredLetter(
        letter_id, dead_lettered_at, record.key, record.value or b"", dict(record.headers), handled, actions.count(REDRIVEN)
    )


def mark_of(record: ConsumerRecord) -> str:
    """Return the id of the letter that a mark names.

    Empty for a letter itself, whose original record may have had a header of the same name.
    """
    return "" if header_of(record, "origin") else header_of(record, MARK_HEADER).decode(errors="replace")


def header_of(record: ConsumerRecord, name: str) -> bytes:
    return next((value for key, value in record.headers if key == name), b"")
