"""The consumer of a Faust app, so mended that no record is lost, and no process ended, when partitions are taken over."""

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
"""The longest that a call for records waits for some, and so what a seek may have to wait for it; in Faust 1 s."""

PAUSE_SECONDS = 1.0
"""Between two times of asking brokers that do not answer; each of them takes a request's limit already."""


class SeekSafeConsumer(driver.Consumer):
    """Fetches and delivers nothing from before a seek until the resumption that follows it.

    Faust 0.15.3 resumes the partitions, seeks one after the other, and then empties all queues as it resumes the flow.
    What was fetched in the meantime is thrown away, and would be read again only after the next rebalance; so is what a call
    that began before the rebalance brings after the seek. Of a changelog it would never be read again: its recovery would
    wait for it for good. Reported as faust-streaming/faust#596.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle = asyncio.Event()  # no call for records is in flight, and none of what one brought is being delivered
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
        """As Faust's; but what comes while the flow is stopped is nothing, where Faust would seek at a moment of its own."""
        records: tuple[Any, Any] = await super()._wait_next_records(timeout)
        return records if self.flow_active else (None, None)

    async def _stop_fetching(self) -> None:
        self.stop_flow()  # whoever seeks resumes it afterwards
        await self._idle.wait()

    async def perform_seek(self) -> None:
        await self._stop_fetching()
        await super().perform_seek()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """As Faust's; a partition without a committed offset is sought to its beginning, where aiokafka leaves it as it stands."""
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
        """Nothing: Faust looks for stalled partitions only to log them, and crashes where the brokers have yet to tell a position."""


async def _retried(request: Callable[[], Awaitable[T]]) -> T:
    """Ask the brokers until they answer; in Faust an answer that does not come in time would end the process.

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
