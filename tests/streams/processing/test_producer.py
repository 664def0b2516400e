"""Confirmed sends through a real worker's producer."""

import asyncio

import pytest

from core.errors import PoisonError
from streams.kafka.topic_admin import ensure_topics
from streams.processing.app import make_app
from streams.processing.ordered_processor import received_record
from streams.processing.producer import Producer
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.topics import MAX_RECORD_BYTES
from tests.streams.waiting import until


@pytest.fixture
async def worker(topics, kafka, source, start):
    """A producer, and what the same worker has read from the topic to which it sends."""
    app = make_app("producer-test", kafka, topics, partitions=2)
    read = []

    @app.agent(app.raw_topic(source), name="read")
    async def follow(stream) -> None:
        async for event in stream.events():
            read.append((event.message.partition, event.key, event.value, received_record(event.message).headers))

    await start(app)
    return Producer(app), read


async def test_a_send_returns_when_the_record_is_stored(worker, source):
    """Key, bytes, partition and headers arrive unchanged; a record may have no key and no bytes."""
    producer, read = worker
    assignment = Assignment(1)
    await producer.send(assignment, source, b"key", b"value", partition=1, headers={"a": b"1"})
    await producer.send(assignment, source, None, b"", partition=0)
    await until(lambda: len(read) == 2)
    assert sorted(read, key=lambda record: record[0]) == [(0, None, b"", {}), (1, b"key", b"value", {"a": b"1"})]


@pytest.mark.parametrize("size", [2_000_000, MAX_RECORD_BYTES + 1000])
async def test_a_record_that_is_too_large_is_refused_at_once(worker, source, size):
    """Whether the broker or our own client refuses it, the error is about the record and is not retried."""
    producer, _ = worker
    with pytest.raises(PoisonError, match=f"a record of {size} bytes is too large for topic {source}"):
        await asyncio.wait_for(producer.send(Assignment(1), source, b"k", bytes(size)), 30)


async def test_a_dead_letter_may_be_as_large_as_any_record(worker, topics, kafka):
    """Whatever fits into another topic fits into the dead-letter topic with additional headers."""
    producer, _ = worker
    await ensure_topics([spec for spec in topics.specs() if spec.name == topics.dead_letter], kafka)
    headers = {"error": bytes(1024), "traceparent": bytes(55)}
    await asyncio.wait_for(producer.send(Assignment(1), topics.dead_letter, bytes(48_588), bytes(1_000_000), headers=headers), 30)


async def test_a_send_waits_for_the_broker_but_not_past_its_assignment(worker, source, stack):
    """While the broker does not respond, a send waits; a rebalance ends it, unless its grace period suffices."""
    producer, read = worker
    plain, graced = Assignment(1), Assignment(2)
    loop, broker = asyncio.get_running_loop(), stack.broker(1)
    await asyncio.to_thread(broker.freeze)
    try:
        waiting = asyncio.create_task(producer.send(plain, source, None, b"plain"))
        saved = asyncio.create_task(producer.send(graced, source, None, b"graced", grace_seconds=60.0))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        plain.revoke(loop)
        graced.revoke(loop)
        with pytest.raises(AssignmentRevoked):
            await asyncio.wait_for(waiting, 10)
        assert not saved.done()
    finally:
        await asyncio.to_thread(broker.thaw)
    await asyncio.wait_for(saved, 60)
    await until(lambda: b"graced" in [value for _, _, value, _ in read])
