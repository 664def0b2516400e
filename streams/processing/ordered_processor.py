"""Processes many records concurrently and acknowledges them in the order in which they were read, for each partition.

Faust commits past unfinished records when acknowledgements arrive out of order (its issue #606). An agent therefore passes its
records to a processor, which handles each in its own task and acknowledges it once it and all earlier records are done.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, cast

import faust
from faust.types import TP, ChannelT, EventT, Message, StreamT

from core.errors import ExtentsError
from core.logging import get_logger
from core.metrics import IN_FLIGHT, OLDEST_RECORD
from streams.processing.app import ExtentsApp
from streams.processing.failed_records import FailedRecords
from streams.received import ReceivedRecord
from streams.runtime.assignment import Assignment, AssignmentRevoked

log = get_logger(__name__)

Handler = Callable[[ReceivedRecord, Assignment], Awaitable[None]]
"""Called in the order of the records. The returned awaitables run concurrently."""


class _State(Enum):
    WORKING = auto()
    DONE = auto()
    RELEASED = auto()


@dataclass(slots=True, eq=False)
class _Item:
    event: EventT[bytes]
    read_at: float
    state: _State = _State.WORKING
    abandoned: bool = False
    """This record or an earlier one of its partition was released, so it must not be acknowledged. It is redelivered."""


class OrderedProcessor:
    """Holds the records of one stream that are in flight.

    A handler returns once the effects of its record are durable. It raises ``AssignmentRevoked`` to release the record, which is
    then redelivered. An error about the settings or the machine ends the process without committing the offset. Any other
    exception concerns the record alone: ``failed`` retries the record and finally gives it up.
    """

    def __init__(self, app: ExtentsApp, topic: str, handle: Handler, limit: int, failed: FailedRecords) -> None:
        self._app, self._topic, self._handle, self._limit, self._failed = app, topic, handle, limit, failed
        self._partitions: dict[TP, deque[_Item]] = defaultdict(deque)
        self._tasks: set[asyncio.Task[None]] = set()
        self._space_freed = asyncio.Condition()
        self._queue_empty: Callable[[], bool] = lambda: True
        self._entering = False
        IN_FLIGHT.labels(topic).set_function(lambda: self.in_flight)
        OLDEST_RECORD.labels(topic).set_function(self._oldest_seconds)

    @property
    def in_flight(self) -> int:
        return sum(map(len, self._partitions.values()))

    @property
    def drained(self) -> bool:
        """Whether no record is in flight, queued, or between the two."""
        if self.in_flight or self._entering or not self._queue_empty():
            return False
        generation = self._app.consumer_generation_id
        return not any(
            message.topic == self._topic and message.generation_id == generation and not message.acked
            for message in self._app.consumer.unacked
        )

    async def handled_to(self, partition: int) -> int:
        """Return the offset before which all records of a partition have been handled; -1 if it is unknown."""
        tp = TP(self._topic, partition)
        items = self._partitions.get(tp)
        if items:
            return items[0].event.message.offset
        if self._entering or not self._queue_empty():
            return -1
        return await self._app.consumer.position(tp) or 0

    async def wait_drained(self) -> None:
        async with self._space_freed:
            await self._space_freed.wait_for(lambda: self.drained)

    async def consume(self, source: StreamT[bytes]) -> None:
        """Handle the records of a stream until it ends. The body of an agent."""
        stream = cast("faust.Stream[bytes]", cast("faust.Stream[bytes]", source).noack())
        self._queue_empty = cast(ChannelT[bytes], stream.channel).queue.empty
        async for event in stream.events():
            self._entering = True
            try:
                assignment = self._app.assignment_of(event)
                await assignment.until_revoked(self._wait_for_space())
                assignment.check()
            except AssignmentRevoked:
                self._app.consumer.unacked.discard(event.message)
                continue
            finally:
                self._entering = False
            item = _Item(event, time.monotonic())
            self._partitions[event.message.tp].append(item)
            await self._start(stream, item, received_record(event.message), assignment)

    async def _start(self, stream: "faust.Stream[bytes]", item: _Item, record: ReceivedRecord, assignment: Assignment) -> None:
        """Start handling a record.

        The handler's synchronous part runs in the order of the records. If it fails, the next record waits until this one is settled.
        """
        failed = False
        try:
            handled = self._settled(record, assignment, self._handle(record, assignment))
        except Exception as error:
            failed, handled = True, self._failed.settle(record, assignment, error, partial(self._handle, record, assignment))
        task = asyncio.create_task(self._work(stream, item, handled))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if failed:
            await asyncio.wait({task})

    async def _settled(self, record: ReceivedRecord, assignment: Assignment, handled: Awaitable[None]) -> None:
        try:
            await handled
        except AssignmentRevoked:
            raise
        except Exception as error:
            await self._failed.settle(record, assignment, error, partial(self._handle, record, assignment))
        else:
            self._failed.handled(record)

    async def _wait_for_space(self) -> None:
        async with self._space_freed:
            await self._space_freed.wait_for(lambda: self.in_flight < self._limit)

    async def _work(self, stream: "faust.Stream[bytes]", item: _Item, handled: Coroutine[Any, Any, None]) -> None:
        try:
            await handled
            item.state = _State.DONE
        except AssignmentRevoked:
            item.state = _State.RELEASED
        except Exception as error:
            message, trace = item.event.message, None if isinstance(error, ExtentsError) else error
            place = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
            log.critical("record.crashed", **place, error=str(error) or repr(error), exc_info=trace)
            await self._app.crash(error)
            return
        if item.abandoned:
            self._app.consumer.unacked.discard(item.event.message)
            return
        await self._advance(stream, item.event.message.tp)
        async with self._space_freed:
            self._space_freed.notify_all()

    async def _advance(self, stream: "faust.Stream[bytes]", tp: TP) -> None:
        items = self._partitions[tp]
        while items and items[0].state is not _State.WORKING:
            item = items.popleft()
            if item.state is _State.DONE:
                await stream.ack(item.event)
                continue
            # Records after a released record are redelivered with it, done or not, so none of them may be acknowledged.
            # Those still in progress are awaited: they end soon, or finish work worth keeping.
            for later in (item, *items):
                later.abandoned = True
                if later.state is not _State.WORKING:
                    self._app.consumer.unacked.discard(later.event.message)
            items.clear()

    def _oldest_seconds(self) -> float:
        heads = [items[0].read_at for items in self._partitions.values() if items]
        return time.monotonic() - min(heads) if heads else 0.0


def received_record(message: Message) -> ReceivedRecord:
    """Convert a Faust message to plain values. The last value of a repeated header counts; a header without a value is empty."""
    headers = message.headers or {}
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return ReceivedRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round(1000 * (message.timestamp or 0)),
        key=message.key,
        value=message.value,
        headers={name: value or b"" for name, value in pairs},
    )
