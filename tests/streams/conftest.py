"""Real brokers for the streams under test: topics of each test's own, and workers within the test process."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from core.settings import KafkaSettings, TopicSettings
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.processing.app import ExtentsApp
from streams.topics import Topics, TopicSpec
from tests.streams.waiting import until


@pytest.fixture
def kafka(namespace) -> KafkaSettings:
    return KafkaSettings(
        _env_file=None,
        bootstrap_servers=namespace.env["KAFKA_BOOTSTRAP_SERVERS"],
        replication_factor=1,
        min_insync_replicas=1,
        session_timeout_seconds=6,
        heartbeat_interval_seconds=1,
    )


@pytest.fixture
def topics(namespace) -> Topics:
    settings = TopicSettings(
        _env_file=None, topic_prefix=namespace.topic_prefix, request_partitions=2, work_partitions=2, results_partitions=2
    )
    return Topics(settings)


@pytest.fixture
async def source(topics, kafka) -> str:
    """A topic of two partitions, empty."""
    name = topics.name("source")
    await ensure_topics([TopicSpec(name, 2)], kafka)
    return name


@pytest.fixture
async def send(kafka) -> AsyncIterator[Callable]:
    """Sends a record and returns its offset."""
    async with AIOKafkaProducer(**client_options(kafka), acks="all") as producer:

        async def send_record(topic: str, value: bytes, partition: int = 0, key: bytes | None = None) -> int:
            return (await producer.send_and_wait(topic, value, key=key, partition=partition)).offset

        yield send_record


@asynccontextmanager
async def running(app: ExtentsApp) -> AsyncIterator[ExtentsApp]:
    """A worker within this process, from its first assignment until it has stopped properly."""
    try:
        await app.start()
        await until(
            lambda: not app.rebalancing and app.consumer_generation_id and app.consumer.flow_active and app.flow_control.is_active()
        )
        yield app
    finally:
        await app.stop()


@pytest.fixture
async def start() -> AsyncIterator[Callable]:
    """Starts workers; the remaining ones are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def begin(app: ExtentsApp) -> ExtentsApp:
            return await stack.enter_async_context(running(app))

        yield begin
