"""Creates the topics and reads their configuration. Workers never create topics themselves."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError

from core.errors import ConfigurationError
from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.topics import TopicSpec


async def ensure_topics(specs: Iterable[TopicSpec], kafka: KafkaSettings) -> list[str]:
    """Create missing topics and return their names.

    Raises:
        ConfigurationError: a topic could not be created, or exists with another number of partitions, which must not change while
            it is in use.
    """
    specs = list(specs)
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in existing]
        config = {"min.insync.replicas": str(min(kafka.min_insync_replicas, kafka.replication_factor))}
        if missing:
            response = await admin.create_topics(
                [
                    NewTopic(spec.name, spec.partitions, kafka.replication_factor, topic_configs={**config, **spec.config})
                    for spec in missing
                ]
            )
            for name, code, *reason in response.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise ConfigurationError(f"topic {name} could not be created: {reason[0] if reason else code}")
        faults = [
            f"topic {name} has {actual} partitions, expected {expected}"
            for name, actual, expected in await _partition_faults(admin, [spec for spec in specs if spec.name in existing])
        ]
        if faults:
            raise ConfigurationError(
                "; ".join(faults)
                + ". Set EXTENTS_*_PARTITIONS to the values with which the topics were created, or choose another EXTENTS_TOPIC_PREFIX."
            )
        return [spec.name for spec in missing]
    finally:
        await admin.close()


async def _partition_faults(admin: AIOKafkaAdminClient, specs: list[TopicSpec]) -> list[tuple[str, int, int]]:
    if not specs:
        return []
    described = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics([spec.name for spec in specs])}
    return [(spec.name, described[spec.name], spec.partitions) for spec in specs if described[spec.name] != spec.partitions]


async def topic_config(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    """Return the configuration of one topic."""
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return {entry[0]: entry[1] for response in responses for resource in response.resources for entry in resource[4]}
