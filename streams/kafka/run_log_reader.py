"""Reads the logs of some runs, without a consumer group."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from core.errors import PoisonError
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.records import LogRecord, decode_log
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """A record of a run's log and its position."""

    at: datetime
    partition: int
    offset: int
    record: LogRecord


async def read_run_logs(
    kafka: KafkaSettings, topics: Topics, runs: Collection[str], since: datetime | None, until: datetime | None = None
) -> list[LoggedRecord]:
    """Return every record of these runs that the topic still holds, except those that cannot be decoded.

    Args:
        since, until: the period in which the records were appended. It only saves reading: records outside of it may be included.
    """
    if not runs:
        return []
    logged: list[LoggedRecord] = []
    keys = {run.encode() for run in runs}
    options = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer(**client_options(kafka), **options) as consumer:
        partitions = [TopicPartition(topics.results, number) for number in sorted({topics.results_partition(run) for run in runs})]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        if since is not None:
            starts = await _offsets_at(consumer, since, ends)
        if until is not None:
            ends = await _offsets_at(consumer, until, ends)
        for tp in partitions:
            consumer.seek(tp, starts[tp])
        waiting = {tp for tp in partitions if starts[tp] < ends[tp]}
        while waiting:
            for records in (await consumer.getmany(*waiting, timeout_ms=1000)).values():
                for record in records:
                    if record.key in keys:
                        try:
                            log = decode_log(record.value)
                        except PoisonError:
                            continue
                        logged.append(
                            LoggedRecord(datetime.fromtimestamp(record.timestamp / 1000, UTC), record.partition, record.offset, log)
                        )
            waiting = {tp for tp in waiting if await consumer.position(tp) < ends[tp]}
    return logged


async def _offsets_at(consumer: AIOKafkaConsumer, moment: datetime, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Return the first offset of each partition at or after a moment; the partition's end if there is none."""
    places = await consumer.offsets_for_times(dict.fromkeys(ends, int(1000 * moment.timestamp())))
    return {tp: end if places.get(tp) is None else places[tp].offset for tp, end in ends.items()}
