"""Cancelled attempts, read from a real topic."""

import time
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer

from core.errors import ConfigurationError
from streams.gpu_worker.cancellations import KEPT_SECONDS, Cancellations
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.quarantine import QuarantineNotice
from streams.records import Cancelled
from tests.streams.run_logs import RUN, work
from tests.streams.waiting import until


@pytest.fixture
async def topic(topics, kafka) -> str:
    await ensure_topics([spec for spec in topics.specs() if spec.name == topics.cancelled], kafka)
    return topics.cancelled


def cancelled(attempt: int, run_id: UUID = RUN) -> bytes:
    return Cancelled(run_id=run_id, attempt=attempt, reason="failed").to_bytes()


async def test_earlier_cancellations_are_known_at_once(topic, kafka, send):
    """Entering reads the whole topic: attempts up to the cancelled one are covered, later ones and other runs are not."""
    await send(topic, cancelled(2))
    await send(topic, b"no record")
    await send(topic, cancelled(1))
    async with Cancellations(kafka, topic) as cancellations:
        assert [cancellations.covers(work(attempt=attempt)) for attempt in (1, 2, 3)] == [True, True, False]
        assert not cancellations.covers(work(run_id=UUID(int=99)))


async def test_later_cancellations_are_noticed(topic, kafka, send):
    """Later cancellations are read without a consumer group, and unreadable records are skipped."""
    async with Cancellations(kafka, topic) as cancellations:
        assert not cancellations.covers(work())
        await send(topic, b"\xff")
        await send(topic, cancelled(1))
        await until(lambda: cancellations.covers(work()))


async def test_a_missing_topic_is_named(kafka):
    """A worker that starts before the topics exist ends with a line that says how to create them."""
    with pytest.raises(ConfigurationError, match=r"^no topic nowhere\.cancelled on the brokers .* extents topics create"):
        async with Cancellations(kafka, "nowhere.cancelled"):
            pass


async def test_quarantined_spans_are_known_by_run_attempt_and_span(topic, kafka, send):
    """A notice to process a span alone covers that span of that attempt, and does not cancel it."""
    await send(topic, QuarantineNotice(kind="span_suspected", run_id=RUN, attempt=1, span=1).to_bytes())
    async with Cancellations(kafka, topic) as cancellations:
        assert cancellations.is_quarantined(work(span=1))
        assert not cancellations.covers(work(span=1))
        others = [work(span=0), work(span=1, attempt=2), work(span=1, run_id=UUID(int=99))]
        assert not any(cancellations.is_quarantined(other) for other in others)


async def test_what_the_topic_no_longer_keeps_is_forgotten(topic, kafka):
    """A worker that runs for years keeps a week's notices."""
    week_ago_ms = int(1000 * (time.time() - KEPT_SECONDS - 60))
    quarantined = QuarantineNotice(kind="span_suspected", run_id=RUN, attempt=1, span=1).to_bytes()
    async with AIOKafkaProducer(**client_options(kafka)) as producer:
        for value in (cancelled(1), quarantined):
            await producer.send_and_wait(topic, value, timestamp_ms=week_ago_ms)
        await producer.send_and_wait(topic, cancelled(1, UUID(int=99)))
    async with Cancellations(kafka, topic) as cancellations:
        assert not cancellations.covers(work())
        assert not cancellations.is_quarantined(work(span=1))
        assert cancellations.covers(work(run_id=UUID(int=99)))
        assert (len(cancellations._attempts), len(cancellations._quarantined)) == (1, 0)
