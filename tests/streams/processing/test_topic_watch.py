"""A topic that is deleted and created again under a worker is noticed, and the next worker reads all of it."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, TopicAlreadyExistsError

from core.errors import ConfigurationError
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.record_failures import FailurePolicy
from streams.processing import topic_watch
from streams.processing.app import ExtentsApp, make_app
from streams.processing.failed_records import FailedRecords
from streams.processing.ordered_processor import OrderedProcessor
from streams.processing.topic_watch import TopicWatch
from streams.topics import TopicSpec
from tests.streams.conftest import running
from tests.streams.waiting import until


def reader(kafka, topics, source: str, seen: list[bytes]) -> ExtentsApp:
    """A worker that records what it reads."""
    app = make_app("coordinator", kafka, topics, partitions=2)

    async def note(record, _) -> None:
        seen.append(record.value)

    async def never(record, assignment, error, tries) -> None:
        raise error

    processor = OrderedProcessor(app, source, note, 8, FailedRecords(app, FailurePolicy(1, 1, 1000), never))

    @app.agent(app.raw_topic(source), name="note")
    async def note_all(stream) -> None:
        await processor.consume(stream)

    return app


async def recreate(kafka, source: str) -> None:
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        await admin.delete_topics([source])
        for _ in range(100):  # until the brokers have deleted it
            await asyncio.sleep(0.1)
            try:
                if await ensure_topics([TopicSpec(source, 2)], kafka):
                    return
            except (ConfigurationError, TopicAlreadyExistsError, IndexError, KeyError):
                continue
    finally:
        await admin.close()
    raise AssertionError(f"{source} could not be created again")


async def test_a_failed_commit_is_no_deletion(topics, kafka, source, send, monkeypatch):
    """If a rebalance fails a worker's first commits, the brokers have no offset of the group yet: that is not taken for a deletion."""

    async def fail(consumer, offsets) -> None:
        raise CommitFailedError("the group has already rebalanced")

    monkeypatch.setattr(AIOKafkaConsumer, "commit", fail)
    seen: list[bytes] = []
    async with running(reader(kafka, topics, source, seen)) as app:
        await send(source, b"record")
        await until(lambda: len(seen) == 1 and any(app.consumer._committed_offset.values()))
        assert await TopicWatch(app, kafka).deleted_topics() == set()


async def test_a_topic_made_again_is_noticed_and_read_from_its_beginning(topics, kafka, source, send, monkeypatch):
    """There are more new records than the worker had read of the old ones: none is skipped, and the error names the topic."""
    monkeypatch.setattr(topic_watch, "CONFIRM_SECONDS", 0.1)
    before: list[bytes] = []
    async with running(reader(kafka, topics, source, before)) as app:
        for number in range(2):
            await send(source, b"old %d" % number)
        await until(lambda: len(before) == 2 and app.consumer.confirmed)
        watch = TopicWatch(app, kafka)
        assert await watch.deleted_topics() == set()
        watching = asyncio.create_task(watch.watch(0.2))
        await asyncio.sleep(1.0)
        assert not watching.done()
        await recreate(kafka, source)
        with pytest.raises(ConfigurationError, match=f"topic {source} was deleted while this worker was running"):
            await asyncio.wait_for(watching, 30)
    for number in range(5):
        await send(source, b"new %d" % number)
    after: list[bytes] = []
    async with running(reader(kafka, topics, source, after)):
        await until(lambda: len(after) == 5)
    assert after == [b"new %d" % number for number in range(5)]
