"""Reads the outcome events that their topics still hold, without a consumer group."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from core.errors import PoisonError
from core.moments import parse_moment, utc
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.records import InferenceCompleted, InferenceFailed, InferenceRejected, decode
from streams.topics import Topics

Report = Callable[[int, int | None], None]

OutcomeRecord = InferenceCompleted | InferenceFailed | InferenceRejected

MAX_POLL_RECORDS: Final = 2000


@dataclass(frozen=True, slots=True)
class LoggedOutcome:
    """An outcome event and its time: its ``ce_time``, or the record's timestamp if it has none."""

    at: datetime
    event: OutcomeRecord


class OutcomeLog:
    """Reads the three topics once, from their beginnings to their present ends.

    Attributes:
        read: number of records read so far.
        unusable: number of these that cannot be decoded as outcome events.
    """

    def __init__(self, kafka: KafkaSettings, topics: Topics) -> None:
        self._kafka = kafka
        self._kinds: dict[str, type[OutcomeRecord]] = {
            topics.completed: InferenceCompleted,
            topics.failed: InferenceFailed,
            topics.rejected: InferenceRejected,
        }
        self.read = self.unusable = 0

    async def outcomes(self, report: Report) -> AsyncIterator[LoggedOutcome]:
        """Yield the events, in order within each partition."""
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "max_poll_records": MAX_POLL_RECORDS}
        async with AIOKafkaConsumer(*self._kinds, **client_options(self._kafka), **options) as consumer:
            partitions = list(consumer.assignment())
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            for partition in partitions:
                consumer.seek(partition, begins[partition])
            total = sum(ends[partition] - begins[partition] for partition in partitions)
            waiting = {partition for partition in partitions if begins[partition] < ends[partition]}
            while waiting:
                for partition, records in (await consumer.getmany(*waiting, timeout_ms=1000)).items():
                    for record in records:
                        if record.offset < ends[partition]:
                            self.read += 1
                            logged = self._decoded(record)
                            if logged is not None:
                                yield logged
                report(self.read, total)
                waiting = {partition for partition in waiting if await consumer.position(partition) < ends[partition]}

    def _decoded(self, record: ConsumerRecord) -> LoggedOutcome | None:
        time = next((value for name, value in record.headers if name == "ce_time"), None)
        try:
            at = parse_moment(time.decode()) if time else utc(record.timestamp)
            return LoggedOutcome(at, decode(self._kinds[record.topic], record.value))
        except (PoisonError, ValueError):
            self.unusable += 1
            return None
