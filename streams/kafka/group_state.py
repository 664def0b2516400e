"""Reads the state of consumer groups from the brokers: their members and their lag."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.protocol.api import Response

from core.errors import TransientError
from core.settings import KafkaSettings
from streams.kafka.brokers import brokers
from streams.kafka.connection import client_options

COORDINATOR_ATTEMPTS: Final = 20

MARKERS_AT_MOST: Final = 16
"""A lag of up to this many offsets may consist of transaction markers only, so its records are fetched to check."""

LOOK_SECONDS: Final = 1.0
LOOK_BYTES: Final = 4096
"""Fetch limit for each such partition. The first record is returned whole even if it is larger."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One worker process."""

    client_id: str
    host: str


@dataclass(frozen=True, slots=True)
class GroupState:
    """One consumer group.

    Attributes:
        state: Kafka's name for it: Stable, PreparingRebalance, CompletingRebalance, Empty, Dead.
        lag: number of uncommitted offsets, by topic. A short lag of a partition that consists of transaction markers only is left out.
    """

    group: str
    state: str
    members: tuple[GroupMember, ...]
    lag: dict[str, int]


async def look_at_groups(kafka: KafkaSettings, topics_by_group: dict[str, Sequence[str]]) -> list[GroupState]:
    """Read the state and the lag of each group from the brokers.

    Raises:
        TransientError: the brokers cannot be reached.
    """
    async with brokers(kafka) as admin:
        await _wait_for_coordinator(admin, next(iter(topics_by_group)))
        described = {name: await _describe(admin, name) for name in topics_by_group}
        committed = {name: await admin.list_consumer_group_offsets(name) for name in topics_by_group}
    every = sorted({topic for topics in topics_by_group.values() for topic in topics})
    begins, ends = await topic_bounds(kafka, every)
    states = []
    for name, topics in topics_by_group.items():
        places = {}
        for partition in (partition for partition in ends if partition.topic in topics):
            place = committed[name].get(partition)
            places[partition] = max(begins[partition], 0 if place is None else place.offset)
        behind = {partition: ends[partition] - place for partition, place in places.items() if ends[partition] > place}
        short = {partition: places[partition] for partition, count in behind.items() if count <= MARKERS_AT_MOST}
        for partition in await _only_markers(kafka, short):
            del behind[partition]
        lag = {topic: sum(count for partition, count in behind.items() if partition.topic == topic) for topic in topics}
        states.append(GroupState(name, *described[name], lag))
    return states


async def has_members(kafka: KafkaSettings, group: str) -> bool:
    """Whether the group has any member."""
    async with brokers(kafka) as admin:
        await _wait_for_coordinator(admin, group)
        _, members = await _describe(admin, group)
    return bool(members)


async def topic_bounds(kafka: KafkaSettings, topics: Sequence[str]) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return the first offset of each partition, and the offset that its next record will get."""
    consumer = AIOKafkaConsumer(*topics, **client_options(kafka), enable_auto_commit=False)
    try:
        await consumer.start()
        partitions = [TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic) or ()]
        return await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    except KafkaError as error:
        raise TransientError(f"brokers at {kafka.bootstrap_servers}: {error}") from error
    finally:
        await consumer.stop()


async def _only_markers(kafka: KafkaSettings, places: dict[TopicPartition, int]) -> set[TopicPartition]:
    """Return the partitions that have only transaction markers from the given offset on. Consumers do not receive markers."""
    if not places:
        return set()
    options = {"enable_auto_commit": False, "isolation_level": "read_committed", "max_partition_fetch_bytes": LOOK_BYTES}
    consumer = AIOKafkaConsumer(**client_options(kafka), **options)
    try:
        await consumer.start()
        consumer.assign(list(places))
        for partition, place in places.items():
            consumer.seek(partition, place)
        ends = await consumer.end_offsets(list(places))
        unknown, empty = set(places), set[TopicPartition]()
        stop = time.monotonic() + LOOK_SECONDS
        while unknown and time.monotonic() < stop:
            unknown -= (await consumer.getmany(*unknown, timeout_ms=100)).keys()
            empty |= {partition for partition in unknown if await consumer.position(partition) >= ends[partition]}
            unknown -= empty
        return empty
    except KafkaError as error:
        raise TransientError(f"brokers at {kafka.bootstrap_servers}: {error}") from error
    finally:
        await consumer.stop()


async def _wait_for_coordinator(admin: AIOKafkaAdminClient, group: str) -> None:
    """Wait until the group has a coordinator. New brokers create the offsets topic at the first request, which takes some seconds."""
    for attempt in range(COORDINATOR_ATTEMPTS):
        try:
            await admin.find_coordinator(group)
            return
        except GroupCoordinatorNotAvailableError:
            if attempt + 1 == COORDINATOR_ATTEMPTS:
                raise
            await asyncio.sleep(0.5)


async def _describe(admin: AIOKafkaAdminClient, group: str) -> tuple[str, tuple[GroupMember, ...]]:
    (answer,) = await admin.describe_consumer_groups([group])
    (described,) = _as_object(answer)["groups"]
    members = (GroupMember(member["client_id"], member["client_host"].lstrip("/")) for member in described["members"])
    return described["state"], tuple(sorted(members, key=lambda member: (member.client_id, member.host)))


def _as_object(answer: Response) -> dict[str, Any]:
    fields: dict[str, Any] = answer.to_object()
    return fields
