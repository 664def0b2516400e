"""The Faust app as Extents runs it: tested settings, explicit assignments, and no acknowledgement of a record that no agent has seen."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import faust
from aiokafka.errors import IllegalStateError
from faust.types import TP, EventT, TopicT, TransportT
from mode.supervisors import CrashingSupervisor

from core.metrics import REBALANCES
from core.settings import KafkaSettings
from streams.kafka import unpacking
from streams.policy.record_failures import PartitionFailures
from streams.processing.consumer import SeekSafeConsumer
from streams.processing.credentials import faust_credentials
from streams.processing.transport import ExtentsTransport
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.topics import MAX_RECORD_BYTES, Topics

POLL_RECORDS = 8
METADATA_MAX_AGE_MS = 30_000
"""Interval at which clients refresh their metadata. With aiokafka's default of five minutes they would notice a recreated topic late."""
TEN_YEARS = 10 * 365 * 86_400.0
"""Maximum poll interval. Faust stops polling while its queues are full, and a client that exceeded the interval would leave its group
for good. Our own watchdog detects hangs."""


class AcknowledgedEvent(faust.Event):
    """An event that only its agent acknowledges.

    Without its compiled streams, Faust 0.15.3 skips *and acknowledges* a record that is taken off a queue during a rebalance, so
    its offset may be committed although no agent has seen it. Such a record was never tracked, so it is not acknowledged here.
    Introduced by faust-streaming/faust#223.
    """

    def ack(self) -> bool:
        return self.message.tracked and super().ack()


class ExtentsApp(faust.App):
    """A Faust app with explicit assignments. ``assignment`` is the current one.

    Attributes:
        begun: whether its resources are open. Before that, no record has been read.
        is_computing: returns whether a step is running whose end a shutdown awaits beyond its usual limit.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.begun = False
        self.is_computing: Callable[[], bool] = lambda: False
        self._current_assignment: Assignment | None = None
        self._ended_generation: int | None = None
        self._background_tasks: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._resources: list[AbstractAsyncContextManager[Any]] = []

    def manage_resource(self, *resources: AbstractAsyncContextManager[Any]) -> None:
        """Open these when the app starts, before any record is read, and close them after it has stopped."""
        self._resources.extend(resources)

    def run_in_background(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run this alongside the agents, from the first recovery until the app stops. If it raises, the process ends."""
        self._background_tasks.append(main)

    async def on_started_init_extra_tasks(self) -> None:
        await super().on_started_init_extra_tasks()
        for main in self._background_tasks:
            self.add_future(main())

    async def on_start(self) -> None:
        for resource in self._resources:
            await self.async_exit_stack.enter_async_context(resource)
        self.begun = True
        await super().on_start()

    def _new_transport(self) -> TransportT:
        return ExtentsTransport(self.conf.broker_consumer, self)

    @property
    def assignment(self) -> Assignment:
        generation = self.consumer_generation_id
        if self._current_assignment is None or self._current_assignment.generation != generation:
            if self._current_assignment is not None:
                self._current_assignment.revoke(self.loop)
            self._current_assignment = Assignment(generation)
            if self.should_stop or generation == self._ended_generation:
                self._current_assignment.revoke(self.loop)
        return self._current_assignment

    def partitions_of(self, topic: str) -> frozenset[int]:
        """The partitions of a topic that are assigned to this worker."""
        return frozenset(tp.partition for tp in self.consumer.assignment() if tp.topic == topic)

    async def end_offset(self, topic: str, partition: int) -> int:
        """The offset that the next record of an assigned partition will get."""
        tp = TP(topic, partition)
        return int((await self.consumer.highwaters(tp))[tp])

    @property
    def failures(self) -> dict[TP, PartitionFailures]:
        """The failures of each assigned partition, as noted with its committed offset."""
        return cast(SeekSafeConsumer, self.consumer).failures

    async def commit_failures(self, tp: TP, offset: int) -> None:
        """Commit the failures of a partition, with confirmation. ``offset`` is the offset of one of its records in flight.

        Raises:
            AssignmentRevoked: the partition is no longer assigned.
        """
        try:
            await cast(SeekSafeConsumer, self.consumer).commit_note(tp, offset)
        except IllegalStateError:
            raise AssignmentRevoked from None

    def assignment_of(self, event: EventT[bytes]) -> Assignment:
        """The assignment under which a record was read.

        Raises:
            AssignmentRevoked: that assignment has ended.
        """
        assignment = self.assignment
        if event.message.generation_id != assignment.generation:
            raise AssignmentRevoked
        assignment.check()
        return assignment

    def on_rebalance_start(self) -> None:
        REBALANCES.inc()
        self._ended_generation = self.consumer_generation_id  # an assignment that is first requested after this is revoked, too
        if self._current_assignment is not None:
            self._current_assignment.revoke(self.loop)
        super().on_rebalance_start()

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._ended_generation = None  # a recreated group numbers its generations from 1 again
        if self._current_assignment is not None and self._current_assignment.revoked:
            self._current_assignment = None
        await super()._on_partitions_assigned(assigned, generation_id)

    async def _stop_consumer(self) -> None:
        # Faust waits here for records in flight, so those that only wait are released first.
        if self._current_assignment is not None:
            self._current_assignment.revoke(self.loop)
        await super()._stop_consumer()

    def _on_rebalance_when_stopped(self) -> None:
        """Do nothing. Faust would close the client here, although it is still needed to commit the offsets of the last finished records."""

    def _create_directories(self) -> None:
        """Create none: tables are kept in memory, and Faust stores nothing else on disk."""

    def raw_topic(self, name: str) -> TopicT:
        """A topic of raw bytes. Typed topics drop and acknowledge records that they cannot decode."""
        return self.topic(name, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw", allow_empty=True)


def make_app(role: str, kafka: KafkaSettings, topics: Topics, *, partitions: int, **options: Any) -> ExtentsApp:
    """Build the app of one role.

    Args:
        partitions: the maximum number of partitions assigned to one worker. A full queue blocks every topic, so the queues must
            hold everything that the fetcher may have read for these partitions.
    """
    unpacking.install()
    return ExtentsApp(
        topics.group(role),
        broker=[f"kafka://{server}" for server in kafka.servers],
        broker_credentials=faust_credentials(kafka),
        processing_guarantee="at_least_once",
        broker_max_poll_records=POLL_RECORDS,
        stream_buffer_maxsize=max(4096, 5 * partitions * POLL_RECORDS),
        broker_max_poll_interval=TEN_YEARS,
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_heartbeat_interval=kafka.heartbeat_interval_seconds,
        broker_rebalance_timeout=kafka.rebalance_timeout_seconds,
        broker_request_timeout=kafka.request_timeout_seconds,
        broker_commit_interval=1.0,
        producer_acks=-1,
        producer_request_timeout=min(60.0, kafka.request_timeout_seconds),
        producer_max_request_size=MAX_RECORD_BYTES,
        producer_partitioner=None,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        store="memory://",
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=topics.settings.results_partitions,
        stream_wait_empty=True,
        agent_supervisor=CrashingSupervisor,
        Event=AcknowledgedEvent,
        Table="streams.processing.confirmed_table:ConfirmedTable",
        TableManager="streams.processing.recovery:UnboundedTableManager",
        web_enabled=False,
        loghandlers=[],
        logging_config=None,
        **options,
    )
