"""Writes to the database how long each GPU worker was up on each day, according to its heartbeats: the hours that are paid for.

The coordinator that has the first partition of the results topic does this. If several do, or write the same hours repeatedly, the
database keeps the largest value for each worker and day.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from core.errors import ExtentsError
from core.logging import get_logger
from core.settings import KafkaSettings
from storage.rows import Rows
from streams.kafka.heartbeat_reader import HeartbeatReader
from streams.policy.heartbeats import ReceivedBeat, hours_by_day
from streams.processing.app import ExtentsApp
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.topics import GPU_WORKER, HEARTBEATS_KEPT, Topics

log = get_logger(__name__)

RECORD_EVERY_SECONDS: Final = 60.0
"""A killed worker's hours are not lost: its last heartbeat stays in the topic for a day."""

LOOK_EVERY_SECONDS: Final = 5.0
"""Seconds between checks while another coordinator is the owner."""

ROWS_A_CALL: Final = 500

TEXT_LENGTH: Final = 200


@dataclass(slots=True)
class WorkerHours:
    """Records hours while its process is the owner. An outage of the brokers or the database only causes a delay."""

    app: ExtentsApp
    kafka: KafkaSettings
    topics: Topics
    rows: Rows
    database_breaker: CircuitBreaker
    _reader: HeartbeatReader | None = None
    _recorded: dict[UUID, datetime] = field(default_factory=dict)
    """The time of the last heartbeat of each worker whose hours were written."""
    _opened: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def run(self) -> None:
        """Record hours regularly until cancelled."""
        try:
            while True:
                if 0 not in self.app.partitions_of(self.topics.results):
                    await self._close()
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
                    continue
                try:
                    await self.record()
                except ExtentsError as error:
                    log.info("worker_hours.postponed", error=str(error))
                    await self._close()
                await asyncio.sleep(RECORD_EVERY_SECONDS)
        finally:
            await self._close()

    async def record(self) -> None:
        """Write the hours of heartbeats that arrived since the last call."""
        self.database_breaker.check()
        if self._reader is None:
            self._reader = await self._opened.enter_async_context(HeartbeatReader(self.kafka, self.topics, HEARTBEATS_KEPT))
        beats = await self._reader.beats()
        new = [received for received in beats if self._recorded.get(received.beat.instance) != received.at]
        hours = worker_hours(new)
        for begin in range(0, len(hours), ROWS_A_CALL):
            await self.rows.record_worker_hours(hours[begin : begin + ROWS_A_CALL])
        self._recorded = {received.beat.instance: received.at for received in beats}

    async def _close(self) -> None:
        self._reader = None
        await self._opened.aclose()


def worker_hours(beats: Iterable[ReceivedBeat]) -> list[dict[str, Any]]:
    """Return the rows of GPU workers, by instance and day."""
    return [
        {
            "instance": str(received.beat.instance),
            "day": day.isoformat(),
            "worker": _text(received.beat.worker),
            "device": _text(received.beat.device or "unknown"),
            "up_seconds": seconds,
        }
        for received in beats
        if received.beat.role == GPU_WORKER
        for day, seconds in hours_by_day(received)
    ]


def _text(text: str) -> str:
    """Replace NUL, which PostgreSQL refuses, and cut the text to the length of a name."""
    return text.replace("\0", "\ufffd")[:TEXT_LENGTH]
