"""Reads past requests from their topics, without a consumer group, to plan a replay."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from core.errors import PoisonError
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.policy.replay_plan import REPLAY_HEADER, ReplaySource
from streams.records import VideoEncoded, decode
from streams.topics import Topics

Report = Callable[[int, int | None], None]

MAX_POLL_RECORDS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Selects records by Kafka's timestamps; ``until`` is exclusive.

    Attributes:
        partitions: the partitions to read, of both topics; all of them if empty.
        offsets: for each partition of ``video.encoded``, the first offset and the one after the last. If given, nothing else is read.
    """

    since: datetime | None = None
    until: datetime | None = None
    partitions: frozenset[int] = frozenset()
    offsets: dict[int, tuple[int, int]] | None = None


class RequestReader:
    """Reads a window once; the counts are complete when the iteration has ended.

    Attributes:
        read: number of records in the window.
        replayed: number of these that a replay sent. They are left out, because their originals are in the topics as well.
        unusable: number of these that cannot be decoded as requests.
    """

    def __init__(self, kafka: KafkaSettings, topics: Topics, window: Window) -> None:
        self._kafka, self._topics, self._window = kafka, topics, window
        self.read = self.replayed = self.unusable = 0

    async def sources(self, report: Report) -> AsyncIterator[ReplaySource]:
        names = [self._topics.encoded] if self._window.offsets else [self._topics.encoded, self._topics.encoded_low]
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "max_poll_records": MAX_POLL_RECORDS}
        async with AIOKafkaConsumer(*names, **client_options(self._kafka), **options) as consumer:
            partitions = sorted(partition for partition in consumer.assignment() if self._covers(partition.partition))
            if not partitions:
                return
            begins, ends = await self._bounds(consumer, partitions)
            for partition in partitions:
                consumer.seek(partition, begins[partition])
            total = sum(max(0, ends[partition] - begins[partition]) for partition in partitions)
            open_partitions = {partition for partition in partitions if begins[partition] < ends[partition]}
            while open_partitions:
                for partition, records in (await consumer.getmany(*open_partitions, timeout_ms=1000)).items():
                    for record in records:
                        if record.offset < ends[partition]:
                            self.read += 1
                            source = self._source(record)
                            if source is not None:
                                yield source
                report(self.read, total)
                open_partitions = {partition for partition in open_partitions if await consumer.position(partition) < ends[partition]}

    def _covers(self, partition: int) -> bool:
        if self._window.offsets is not None:
            return partition in self._window.offsets
        return not self._window.partitions or partition in self._window.partitions

    async def _bounds(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        window = self._window
        if window.offsets is not None:
            for partition in partitions:
                first, last = window.offsets[partition.partition]
                begins[partition], ends[partition] = max(begins[partition], first), min(ends[partition], last)
            return begins, ends
        if window.since is not None:
            begins = await _offsets_at(consumer, partitions, window.since, ends)
        if window.until is not None:
            ends = await _offsets_at(consumer, partitions, window.until, ends)
        return begins, ends

    def _source(self, record: ConsumerRecord) -> ReplaySource | None:
        if any(name == REPLAY_HEADER for name, _ in record.headers):
            self.replayed += 1
            return None
        try:
            video = decode(VideoEncoded, record.value)
        except PoisonError:
            self.unusable += 1
            return None
        return ReplaySource(
            name=f"{record.topic}/{record.partition}/{record.offset}",
            tenant_id=video.tenant_id,
            video_id=video.video_id,
            cropped_frames_version=video.cropped_frames_version,
            frame_count=video.frame_count,
            order=(record.timestamp, record.offset),
        )


async def _offsets_at(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], moment: datetime, ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    offsets = await consumer.offsets_for_times(dict.fromkeys(partitions, int(1000 * moment.timestamp())))
    return {partition: ends[partition] if offsets.get(partition) is None else offsets[partition].offset for partition in partitions}
