"""Follows ``inference.cancelled`` without a consumer group: which attempts are cancelled, and which spans are quarantined."""

import asyncio
import time
from collections import OrderedDict
from contextlib import AsyncExitStack
from typing import Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from core.errors import PoisonError
from core.logging import get_logger
from core.settings import KafkaSettings
from streams.kafka.brokers import require_topics
from streams.kafka.connection import client_options
from streams.policy.quarantine import QuarantineNotice, decode_notice
from streams.records import Work

log = get_logger(__name__)

KEPT_SECONDS = 7 * 86_400.0
"""The retention of the topic."""


class Cancellations:
    """The cancelled attempts and quarantined spans. Entering reads the whole topic; new records are then followed until exit."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._attempts: OrderedDict[UUID, tuple[int, float]] = OrderedDict()
        self._quarantined: OrderedDict[tuple[UUID, int, int], float] = OrderedDict()
        """Both hold the time of the last notice, oldest first. Entries are dropped when the topic no longer keeps their records."""
        self._following: asyncio.Task[None] | None = None
        self._opened = AsyncExitStack()

    async def until_failed(self) -> None:
        """Wait until following fails, and raise its error. A worker that no longer learns of cancellations must not continue."""
        assert self._following is not None
        await asyncio.shield(self._following)

    def covers(self, work: Work) -> bool:
        """Whether this span's attempt, or a later one of its run, has been cancelled."""
        attempt, _ = self._attempts.get(work.run_id, (0, 0.0))
        return attempt >= work.attempt

    def is_quarantined(self, work: Work) -> bool:
        """Whether this span may have killed earlier workers."""
        return (work.run_id, work.attempt, work.span) in self._quarantined

    async def __aenter__(self) -> Self:
        options = {**client_options(self._kafka), "auto_offset_reset": "earliest", "enable_auto_commit": False}
        async with AsyncExitStack() as opened:
            await require_topics(self._kafka, [self._topic])
            consumer = await opened.enter_async_context(AIOKafkaConsumer(self._topic, **options))
            ends = await consumer.end_offsets(consumer.assignment())
            for tp, end in ends.items():
                while await consumer.position(tp) < end:
                    for records in (await consumer.getmany(tp, timeout_ms=1000)).values():
                        self._note(records)
            log.info("cancellations.read", runs=len(self._attempts))
            self._following = following = asyncio.create_task(self._follow(consumer))
            opened.push_async_callback(lambda: asyncio.gather(following, return_exceptions=True))
            opened.callback(following.cancel)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._opened.aclose()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:  # aiokafka itself waits for unreachable brokers
            for records in (await consumer.getmany(timeout_ms=60_000)).values():
                self._note(records)

    def _note(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            try:
                notice = decode_notice(record.value)
            except PoisonError as error:
                log.warning("cancellation.undecodable", offset=record.offset, error=str(error))
                continue
            noticed = min(record.timestamp / 1000, time.time())
            if isinstance(notice, QuarantineNotice):
                name = (notice.run_id, notice.attempt, notice.span)
                self._quarantined[name] = noticed
                self._quarantined.move_to_end(name)
            else:
                attempt, _ = self._attempts.get(notice.run_id, (0, 0.0))
                self._attempts[notice.run_id] = (max(notice.attempt, attempt), noticed)
                self._attempts.move_to_end(notice.run_id)
        self._forget(time.time() - KEPT_SECONDS)

    def _forget(self, before: float) -> None:
        while self._quarantined and next(iter(self._quarantined.values())) < before:
            self._quarantined.popitem(last=False)
        while self._attempts and next(iter(self._attempts.values()))[1] < before:
            self._attempts.popitem(last=False)
