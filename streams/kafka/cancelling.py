"""Cancels runs: appends one record to the log of each."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from aiokafka import AIOKafkaProducer

from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.records import RunCancelled
from streams.topics import Topics


async def cancel_runs(kafka: KafkaSettings, topics: Topics, runs: Iterable[tuple[UUID, int]], reason: str) -> None:
    """Append ``run_cancelled`` to the log of each run, with confirmation. It has no effect on an attempt that has ended."""
    async with AIOKafkaProducer(**client_options(kafka), acks="all") as producer:
        for run_id, attempt in runs:
            record = RunCancelled(run_id=run_id, attempt=attempt, reason=reason, cancelled_at=datetime.now(UTC))
            partition = topics.results_partition(str(run_id))
            await producer.send_and_wait(topics.results, record.to_bytes(), key=str(run_id).encode(), partition=partition)
