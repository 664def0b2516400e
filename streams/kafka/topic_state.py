"""Compares the topics on the brokers with what Extents needs, for ``extents topics check`` and the doctor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import topic_config
from streams.topics import TopicSpec


@dataclass(frozen=True, slots=True)
class TopicState:
    """The state of one topic.

    Attributes:
        partitions, replication: None if the topic is missing; ``replication`` is the lowest of its partitions.
        faults: the differences from what Extents needs, each with the actual and the expected value.
    """

    spec: TopicSpec
    partitions: int | None
    replication: int | None
    faults: Sequence[str]


async def read_topic_states(specs: Iterable[TopicSpec], kafka: KafkaSettings) -> list[TopicState]:
    """Read the state of each topic from the brokers, in the order of ``specs``."""
    specs = list(specs)
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        present = [spec for spec in specs if spec.name in existing]
        described = {topic["topic"]: topic for topic in await admin.describe_topics([spec.name for spec in present])} if present else {}
        configs = {spec.name: await topic_config(admin, spec.name) for spec in present}
    finally:
        await admin.close()
    return [
        _state(spec, described[spec.name]["partitions"], configs[spec.name], kafka)
        if spec.name in described
        else TopicState(spec, None, None, ["is missing; create it: extents topics create"])
        for spec in specs
    ]


def _state(spec: TopicSpec, partitions: Sequence[Mapping[str, Any]], config: Mapping[str, str], kafka: KafkaSettings) -> TopicState:
    replication = min(len(partition["replicas"]) for partition in partitions)
    faults = []
    if len(partitions) != spec.partitions:
        faults.append(f"has {len(partitions)} partitions, expected {spec.partitions}")
    if replication < kafka.replication_factor:
        faults.append(f"has {replication} replicas of a partition, expected {kafka.replication_factor} (KAFKA_REPLICATION_FACTOR)")
    expected = {**spec.config, "min.insync.replicas": str(min(kafka.min_insync_replicas, kafka.replication_factor))}
    faults += [f"has {name}={config.get(name)}, expected {value}" for name, value in expected.items() if config.get(name) != value]
    return TopicState(spec, len(partitions), replication, faults)
