"""The consumer groups that commands show, read from a real broker."""

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from core.settings import KafkaSettings, TopicSettings
from streams.kafka.connection import client_options
from streams.kafka.group_state import has_members, look_at_groups
from streams.kafka.topic_admin import ensure_topics
from streams.topics import Topics


@pytest.fixture
async def installation(namespace) -> tuple[KafkaSettings, Topics]:
    kafka = KafkaSettings(bootstrap_servers=namespace.env["KAFKA_BOOTSTRAP_SERVERS"], replication_factor=1, min_insync_replicas=1)
    topics = Topics(TopicSettings(topic_prefix=namespace.topic_prefix, request_partitions=1, work_partitions=1, results_partitions=1))
    await ensure_topics(topics.specs(), kafka)
    return kafka, topics


async def test_lag_counts_what_a_group_has_not_acknowledged(installation) -> None:
    """A group that nobody has joined is behind by everything; one with a member, by what lies after its offset."""
    kafka, topics = installation
    group = topics.group("coordinator")
    async with AIOKafkaProducer(**client_options(kafka)) as producer:
        for _ in range(3):
            await producer.send_and_wait(topics.encoded, b"{}")
    (before,) = await look_at_groups(kafka, {group: [topics.encoded, topics.encoded_low]})
    assert (before.members, before.lag) == ((), {topics.encoded: 3, topics.encoded_low: 0})
    assert not await has_members(kafka, group)

    options = {"group_id": group, "client_id": "reader", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(topics.encoded, **client_options(kafka), **options)
    async with consumer:
        await consumer.getone()
        await consumer.commit({TopicPartition(topics.encoded, 0): 1})
        (state,) = await look_at_groups(kafka, {group: [topics.encoded]})
        assert await has_members(kafka, group)
    assert (state.state, [member.client_id for member in state.members], state.lag) == ("Stable", ["reader"], {topics.encoded: 2})


async def test_the_end_of_a_transaction_is_no_lag(installation) -> None:
    """A group that has acknowledged the last record is not behind, although a transaction marker follows it."""
    kafka, topics = installation
    group, partition = topics.group("coordinator"), TopicPartition(topics.encoded, 0)
    async with AIOKafkaProducer(**client_options(kafka), transactional_id=group) as producer:
        for _ in range(2):
            async with producer.transaction():
                await producer.send_and_wait(topics.encoded, b"{}")
    async with AIOKafkaConsumer(**client_options(kafka), group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign([partition])
        await consumer.commit({partition: 1})
        (behind,) = await look_at_groups(kafka, {group: [topics.encoded]})
        await consumer.commit({partition: 3})
        (level,) = await look_at_groups(kafka, {group: [topics.encoded]})
    assert behind.lag == {topics.encoded: 3}  # a marker, a record and its marker
    assert level.lag == {topics.encoded: 0}
