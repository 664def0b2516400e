"""The Faust consumer, changed so that reassigning partitions neither loses a record nor ends the process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from core.logging import get_logger

log = get_logger(__name__)

T = TypeVar("T")

FETCH_SECONDS = 0.25
"""The longest wait of a fetch, and therefore of a seek for a fetch in progress. Faust uses 1 s."""

PAUSE_SECONDS = 1.0
"""Pause before a failed request to the brokers is retried; each request has its own timeout as well."""


class SeekSafeConsumer(driver.Consumer):
    """Fetches and delivers no records from before a seek until the flow is resumed after it.

    Faust 0.15.3 resumes the partitions, seeks one after the other, and then empties all queues when it resumes the flow. Records
    fetched in between are lost until the next rebalance, and so are records of a fetch that began before the rebalance and returns
    after the seek. Records of a changelog would be lost for good, and recovery would wait for them without end. Reported as
    faust-streaming/faust#596.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle = asyncio.Event()  # set while no fetch is in flight and no fetched record is being delivered
        self._idle.set()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's
        while not (self.flow_active or self.should_stop):
            await self.wait(self.can_resume_flow.wait())
        self._idle.clear()
        try:
            async for tp, message in super().getmany(min(timeout, FETCH_SECONDS)):
                yield tp, message
        finally:
            self._idle.set()

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's
        """Fetch as Faust does, but return nothing while the flow is stopped, where Faust would seek on its own."""
        records: tuple[Any, Any] = await super()._wait_next_records(timeout)
        return records if self.flow_active else (None, None)

    async def _stop_fetching(self) -> None:
        self.stop_flow()  # resumed by the caller after the seek
        await self._idle.wait()

    async def perform_seek(self) -> None:
        await self._stop_fetching()
        await super().perform_seek()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek as Faust does. A partition without a committed offset is also sought to its beginning, which aiokafka does not do."""
        committed: Mapping[TP, int] = await _retried(super().seek_to_committed)
        changelogs = self.app.tables.changelog_topics
        uncommitted = [
            TopicPartition(tp.topic, tp.partition) for tp, offset in committed.items() if not offset and tp.topic not in changelogs
        ]
        if uncommitted:
            await _retried(lambda: self._thread.seek_to_beginning(*uncommitted))
        return committed

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        request = super().highwaters
        return await _retried(lambda: request(*partitions))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        request = super().earliest_offsets
        return await _retried(lambda: request(*partitions))

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        await self._stop_fetching()
        seek = super().seek_wait
        await _retried(lambda: seek(partitions))

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing. Faust only logs stalled partitions here, and crashes if a position is not known yet."""


async def _retried(request: Callable[[], Awaitable[T]]) -> T:
    """Retry a request until the brokers answer. In Faust, a timeout here would end the process.

    Raises:
        IllegalStateError: the partitions are no longer assigned.
    """
    while True:
        try:
            return await request()
        except IllegalStateError:
            raise
        except (KafkaError, TimeoutError) as error:
            log.warning("brokers.request_retried", error=repr(error))
            await asyncio.sleep(PAUSE_SECONDS)
