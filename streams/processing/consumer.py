"""The Faust consumer, changed so that reassigning partitions neither loses a record nor ends the process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from core.logging import get_logger
from streams.policy.record_failures import PartitionFailures
from streams.processing.changelog import Changes, fold_changes
from streams.processing.confirmed_table import ConfirmedTable

log = get_logger(__name__)

T = TypeVar("T")

FETCH_SECONDS = 0.25
"""Maximum wait of a fetch, and therefore the maximum wait of a seek for the fetch in progress. Faust uses 1 s."""

RECOVERED_RECORDS = 5_000
"""Maximum number of changelog records in one poll. The usual limit protects Faust's queues, which these records bypass."""

PAUSE_SECONDS = 1.0
"""Pause before a failed request to the brokers is retried; each request has its own timeout as well."""


class NotingThread(driver.AIOKafkaConsumerThread):
    """The consumer's own thread. It reads only committed records, and adds a note to each offset that it commits, as its metadata.

    It folds the records of a changelog, so that the event loop takes one step of a recovery for each poll and not for each record.
    """

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109 - Faust's
        """Fetch as Faust does, but return the records of a changelog as ``Changes``."""
        consumer, changelogs = self._ensure_consumer(), cast(SeekSafeConsumer, self.consumer).changelogs
        recovers = active_partitions is not None and all(tp.topic in changelogs for tp in active_partitions)
        max_records = RECOVERED_RECORDS if recovers else consumer._max_poll_records
        fetched = await self.call_thread(self._fetch_folded, consumer, active_partitions, timeout, max_records, changelogs)
        return cast(Mapping[TP, Any], fetched)

    async def _fetch_folded(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's
        max_records: int,
        changelogs: Mapping[str, ConfirmedTable],
    ) -> Mapping[TP, Any]:
        fetched = await self._fetch_records(consumer, cast(set[TP], active_partitions), timeout=timeout, max_records=max_records)
        return {
            tp: fold_changes(records, changelogs[tp.topic].kind_of) if tp.topic in changelogs else records
            for tp, records in fetched.items()
        }

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # Faust has no setting for it; the consumer reads it when it starts
        commit = consumer.commit

        async def commit_with_notes(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
            await commit({tp: OffsetAndMetadata(about.offset, self._note(tp, about.offset)) for tp, about in offsets.items()})
            cast(SeekSafeConsumer, self.consumer).confirmed.update(offsets)

        consumer.commit = commit_with_notes
        return cast(AIOKafkaConsumer, consumer)

    def _note(self, tp: TopicPartition, offset: int) -> str:
        failures = cast(SeekSafeConsumer, self.consumer).failures
        return failures.get(TP(tp.topic, tp.partition), PartitionFailures()).note(offset)

    async def commit_offset(self, tp: TP, offset: int) -> None:
        """Commit one offset with its note now.

        Raises:
            KafkaError: the brokers did not confirm it.
        """
        offsets = {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")}
        await self.call_thread(self._ensure_consumer().commit, offsets)

    async def read_notes(self, partitions: Iterable[TP]) -> Mapping[TP, str]:
        """Return the notes of the committed offsets of these partitions."""
        coordinator = self._ensure_consumer()._coordinator
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        committed = await self.call_thread(coordinator.fetch_committed_offsets, wanted)
        return {TP(tp.topic, tp.partition): about.metadata or "" for tp, about in committed.items()}


class SeekSafeConsumer(driver.Consumer):
    """Stops fetching and delivering records before a seek, until the flow is resumed after it.

    Faust 0.15.3 resumes the partitions, seeks them one after the other, and then empties all queues when it resumes the flow.
    Records fetched in between are lost until the next rebalance, and so are records of a fetch that began before the rebalance and
    returns after the seek. Records of a changelog would be lost for good, and the recovery would wait for them forever. Reported
    as faust-streaming/faust#596.

    Attributes:
        failures: the failing records of each partition, which are noted with its offset.
        confirmed: partitions for which the brokers have confirmed a commit of the group. Faust's own record of commits also
            contains those that failed because of a rebalance.
    """

    _thread: NotingThread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.failures: dict[TP, PartitionFailures] = {}
        self.confirmed: set[TopicPartition] = set()
        self._idle = asyncio.Event()  # set while no fetch is in flight and no fetched record is being delivered
        self._idle.set()

    def _new_consumer_thread(self) -> NotingThread:
        return NotingThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's
        while not (self.flow_active or self.should_stop):
            await self.wait(self.can_resume_flow.wait())
        self._idle.clear()
        try:
            async for tp, message in super().getmany(min(timeout, FETCH_SECONDS)):
                if self._read_offset[tp] == 0 and message.offset > 1 and self.app.topics.acks_enabled_for(message.topic):
                    await self._add_gap(tp, 1, message.offset - 1)  # Faust commits past known gaps, but overlooks one after offset 0
                yield tp, message
        finally:
            self._idle.set()

    @property
    def changelogs(self) -> Mapping[str, ConfirmedTable]:
        """The tables, by the name of their changelog."""
        return cast(Mapping[str, ConfirmedTable], cast(Any, self.app.tables)._changelogs)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109 - Faust's
        """Fetch as Faust does. The tables absorb the records of their changelogs, of which only the last record is passed on.

        Faust may still drop that record because of a rebalance. The changes are then read again, or their keys are dropped.
        """
        generation = self.app.consumer_generation_id
        fetched = await super()._getmany(active_partitions, timeout)
        if not self.flow_active or self.app.consumer_generation_id != generation:
            return {}
        records: dict[TP, Any] = {}
        for tp, batch in fetched.items():
            if isinstance(batch, Changes):
                self.changelogs[tp.topic].absorb(batch)
                batch = [batch.last]
            records[tp] = batch
        return records

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's
        """Fetch as Faust does, but return nothing while the flow is stopped. Faust would otherwise seek on its own."""
        records: tuple[Any, Any] = await super()._wait_next_records(timeout)
        return records if self.flow_active else (None, None)

    async def _stop_fetching(self) -> None:
        self.stop_flow()  # resumed by the caller after the seek
        await self._idle.wait()

    async def perform_seek(self) -> None:
        await self._stop_fetching()
        await super().perform_seek()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek as Faust does, and read the notes.

        A partition without a committed offset is also sought to its beginning, which aiokafka does not do.
        """
        committed: Mapping[TP, int] = await _retried(super().seek_to_committed)
        changelogs = self.app.tables.changelog_topics
        ours = [tp for tp in committed if tp.topic not in changelogs]
        notes = await _retried(lambda: self._thread.read_notes(ours))
        self.failures = {tp: PartitionFailures.from_note(note) for tp, note in notes.items() if note}
        self.confirmed.update(TopicPartition(tp.topic, tp.partition) for tp in ours if committed[tp])
        uncommitted = [TopicPartition(tp.topic, tp.partition) for tp in ours if not committed[tp]]
        if uncommitted:
            await _retried(lambda: self._thread.seek_to_beginning(*uncommitted))
        return committed

    async def commit_note(self, tp: TP, offset: int) -> None:
        """Commit a partition's note with the offset of the first record in flight. ``offset`` belongs to one of these records.

        Raises:
            IllegalStateError: the partition is no longer assigned.
        """
        first = min((message.offset for message in list(self.unacked) if message.tp == tp and not message.acked), default=offset)
        await _retried(lambda: self._thread.commit_offset(tp, first))

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
    """Retry a request until the brokers answer. Without this, a timeout would end the process.

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
