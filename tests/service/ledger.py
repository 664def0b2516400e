"""The content of one installation's topics, read by the tests' own consumer."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from core.settings import KafkaSettings
from streams.kafka.client import Published, ReceivedOutcome
from streams.kafka.connection import client_options
from streams.records import LogRecord, SpanDone, SpanTaken, decode_log
from streams.topics import Topics
from tests.patience import Deadline
from tests.service.processes import WAIT_SECONDS

T = TypeVar("T")

OUTCOMES: Final = ("inference.completed", "inference.rejected", "inference.failed")


class Ledger:
    """Every record of every topic, from the beginning. Belongs to one event loop; its calls do not overlap."""

    def __init__(self, kafka: KafkaSettings, topics: Topics) -> None:
        self.topics = topics
        self._kafka = kafka
        self._bases = {spec.name: spec.name.removeprefix(topics.settings.topic_prefix) for spec in topics.specs()}
        options = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "isolation_level": "read_committed"}
        self._consumer = AIOKafkaConsumer(*self._bases, **client_options(kafka), **options)
        self._admin = AIOKafkaAdminClient(**client_options(kafka))
        self.records: dict[str, list[ConsumerRecord]] = defaultdict(list)
        """By the topic's name without its prefix, each partition in order."""

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._admin.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def until(self, awaited: str, condition: Callable[[], T]) -> T:
        """Read until ``found`` returns something true, and return that.

        Raises:
            AssertionError: it does not come to pass; names ``what``.
        """
        deadline = Deadline(WAIT_SECONDS)
        while not (result := condition()):
            assert not deadline.passed, f"waited without success for {awaited}; in the topics there are {self.counts()}"
            await self._read(timeout_ms=200)
        return result

    async def read_all(self) -> None:
        """Read to the present ends of the topics."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while any([await self._consumer.position(tp) < end for tp, end in ends.items()]):
            await self._read(timeout_ms=500)

    async def read_on(self, seconds: float) -> None:
        """Read for this long, whatever arrives."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            await self._read(timeout_ms=max(1, int(1000 * remaining)))

    async def members(self, role: str) -> int:
        """The number of members in a role's group; 0 during a rebalance."""
        try:
            (answer,) = await self._admin.describe_consumer_groups([self.topics.group(role)])
        except GroupCoordinatorNotAvailableError:  # the brokers' first group: they are making the topic that keeps it
            return 0
        ((_, _, state, _, _, members, *_),) = answer.groups
        return len(members) if state == "Stable" else 0

    async def until_members(self, role: str, count: int) -> None:
        """Wait until the group of a role is stable, with this many members."""
        deadline = Deadline(WAIT_SECONDS)
        while (count_now := await self.members(role)) != count:
            assert not deadline.passed, f"group {role} has {count_now} members; expected {count}"
            await self._read(timeout_ms=200)

    async def until_committed(self, role: str) -> None:
        """Wait until a group has acknowledged everything in its topics."""
        deadline = Deadline(WAIT_SECONDS)
        while behind := await self._behind(role):
            assert not deadline.passed, f"group {role} has not committed {behind}"
            await self._read(timeout_ms=200)

    async def committed(self, role: str) -> dict[TopicPartition, int]:
        """The offsets that a group has committed."""
        try:
            offsets = await self._admin.list_consumer_group_offsets(self.topics.group(role))
        except GroupCoordinatorNotAvailableError:  # the brokers' first group, as above
            return {}
        return {tp: entry.offset for tp, entry in offsets.items() if entry.offset >= 0}

    async def _behind(self, role: str) -> dict[TopicPartition, str]:
        committed = await self.committed(role)
        consumed = {self.topics.group("coordinator"): ("video.encoded", "video.encoded.low", "inference.results")}
        bases = consumed.get(self.topics.group(role), ("inference.work.high", "inference.work.low"))
        partitions = [tp for tp in self._consumer.assignment() if self._bases[tp.topic] in bases]
        ends = await self._consumer.end_offsets(partitions)
        return {tp: f"{committed.get(tp, 0)} of {end}" for tp, end in ends.items() if committed.get(tp, 0) < end}

    async def _read(self, timeout_ms: int) -> None:
        for tp, records in (await self._consumer.getmany(timeout_ms=timeout_ms)).items():
            self.records[self._bases[tp.topic]] += records

    @property
    def outcomes(self) -> list[ReceivedOutcome]:
        return [as_outcome(name, record) for name in OUTCOMES for record in self.records[name]]

    def log(self, run_id: UUID | str) -> list[LogRecord]:
        """The log of a run, in order."""
        key = str(run_id).encode()
        return [decode_log(record.value) for record in self.records["inference.results"] if record.key == key]

    def spans(self, run_id: UUID | str) -> tuple[list[SpanTaken], list[SpanDone]]:
        """How often each span of a run was taken, and how often it was done."""
        log = self.log(run_id)
        return [record for record in log if isinstance(record, SpanTaken)], [record for record in log if isinstance(record, SpanDone)]

    async def outcome(self, published: Published) -> ReceivedOutcome:
        """The first outcome of a decided request, or of a record that could not be decided."""

        def first_outcome() -> ReceivedOutcome | None:
            return next((outcome for outcome in self.outcomes if _answers(outcome, published)), None)

        result = await self.until(f"an outcome of {published}", first_outcome)
        assert result is not None
        return result

    async def finished(self, run_id: UUID | str) -> None:
        """Wait until the last step of a run is in its log."""
        await self.until(f"the end of run {run_id}", lambda: any(record.kind == "run_finished" for record in self.log(run_id)))

    def counts(self) -> dict[str, int]:
        return {name: len(records) for name, records in self.records.items() if records}


def as_outcome(name: str, record: ConsumerRecord) -> ReceivedOutcome:
    body: dict[str, Any] = orjson.loads(record.value)
    return ReceivedOutcome(name, body, {name: value.decode() for name, value in record.headers})


def record_position(topic: str, partition: int, offset: int) -> str:
    return f"{topic}/{partition}/{offset}"


def _answers(outcome: ReceivedOutcome, published: Published) -> bool:
    """The answers by the request's id, or by the record's position if the record has no ids."""
    here = record_position(published.topic, published.partition, published.offset)
    sources = outcome.body.get("requests", [outcome.body])
    return outcome.answers(published.request_id) or here in [
        record_position(source["source_topic"], source["source_partition"], source["source_offset"]) for source in sources
    ]
