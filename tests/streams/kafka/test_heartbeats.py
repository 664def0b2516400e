"""Heartbeats over a real broker: sent, read, ended; and a topic that is missing or refuses them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from core.errors import ConfigurationError
from core.workers import WorkerState
from streams.kafka.connection import client_options
from streams.kafka.heartbeat_reader import HeartbeatReader, read_workers
from streams.kafka.heartbeat_sender import HeartbeatSender
from streams.kafka.topic_admin import ensure_topics
from streams.policy.heartbeats import Heartbeat
from tests.patience import Deadline
from tests.streams.heartbeats import heartbeat
from tests.streams.waiting import until

EVERY_SECONDS = 0.2


@pytest.fixture
async def created(topics, kafka) -> None:
    await ensure_topics([spec for spec in topics.specs() if spec.name == topics.workers], kafka)


@pytest.fixture
def sender(kafka, topics) -> Callable[..., HeartbeatSender]:
    """Makes senders of a heartbeat that does not change."""

    def make(*, crashed: bool = False, every_seconds: float = EVERY_SECONDS) -> HeartbeatSender:
        beat = heartbeat(beat_seconds=every_seconds)
        return HeartbeatSender(kafka, topics.workers, every_seconds, lambda: beat, lambda: crashed)

    return make


async def states(reader: HeartbeatReader) -> list[WorkerState]:
    return [worker.state(datetime.now(UTC)) for worker in await reader.workers()]


async def until_states(reader: HeartbeatReader, expected: list[WorkerState]) -> None:
    deadline = Deadline(60)
    while (seen := await states(reader)) != expected:
        assert not deadline.passed, f"the workers are {seen}; expected {expected}"
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("created")
async def test_a_worker_is_there_until_it_ends(kafka, topics, sender):
    """A new reader and an existing one see the worker; after a clean end neither does, without delay."""
    async with HeartbeatReader(kafka, topics) as reader:
        assert await reader.workers() == []
        async with sender():
            await until_states(reader, [WorkerState.READY])
            (worker,) = await read_workers(kafka, topics)
            assert (worker.worker, worker.role, worker.device) == ("gpu-1:17", "gpu-worker", "a device")
        assert await reader.workers() == []
    assert await read_workers(kafka, topics) == []


@pytest.mark.usefixtures("created")
async def test_a_crashed_or_killed_worker_is_gone_after_three_heartbeats(kafka, topics, sender):
    """A crashed or killed worker does not announce its end, so it seems to be present until three heartbeats are missing."""
    async with HeartbeatReader(kafka, topics) as reader:
        async with sender(crashed=True):
            await until_states(reader, [WorkerState.READY])
        await until_states(reader, [WorkerState.GONE])


@pytest.mark.usefixtures("created")
async def test_a_change_is_sent_at_once(kafka, topics):
    """A change is sent long before the next heartbeat is due; a reason whose text only counts seconds is no change."""
    waits: list[str] = []
    plain = heartbeat(beat_seconds=600.0)
    sent = []

    def beat() -> Heartbeat:
        sent.append(list(waits))
        return plain.model_copy(update={"waits": list(waits)})

    async with HeartbeatReader(kafka, topics) as reader, HeartbeatSender(kafka, topics.workers, 600.0, beat, lambda: False):
        await until_states(reader, [WorkerState.READY])
        waits[:] = ["object_store: unreachable, probed again in 3 s"]
        await until_states(reader, [WorkerState.WAITING])
        (received,) = await reader.beats()
        waits[:] = ["object_store: unreachable, probed again in 2 s"]
        looked = len(sent)
        await until(lambda: len(sent) > looked + 2)
        assert await reader.beats() == [received]
        waits.clear()
        await until_states(reader, [WorkerState.READY])


async def test_a_missing_topic_is_waited_for(kafka, topics, sender):
    """Without the topic nothing fails, and one line is logged; heartbeats are sent once it exists. A reader says what to do."""
    with pytest.raises(ConfigurationError, match="extents topics create"):
        await read_workers(kafka, topics)
    with structlog.testing.capture_logs() as logs:
        async with sender():
            await until(lambda: any(entry["event"] == "heartbeat.not_sent" for entry in logs))
            await ensure_topics([spec for spec in topics.specs() if spec.name == topics.workers], kafka)
            async with HeartbeatReader(kafka, topics) as reader:
                await until_states(reader, [WorkerState.READY])
    assert [entry["event"] for entry in logs if entry["event"].startswith("heartbeat.")][-1] == "heartbeat.recovered"


@pytest.mark.usefixtures("created")
async def test_a_topic_that_refuses_records_stops_nothing(kafka, topics, sender):
    """If the brokers refuse each heartbeat, the sender continues, and ends as quickly as usual."""
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.workers, {"max.message.bytes": "10"})])
    await admin.close()
    with structlog.testing.capture_logs() as logs:
        async with sender():
            await until(lambda: any(entry["event"] == "heartbeat.not_sent" for entry in logs))
        assert await read_workers(kafka, topics) == []


@pytest.mark.usefixtures("created")
async def test_records_that_are_not_heartbeats_are_skipped(kafka, topics, send):
    """Arbitrary bytes, missing values, and heartbeats of another version hide no worker."""
    for value in (b"", b"\xff", b"[]", b'{"schema_version": 2}', heartbeat(beat_seconds=600.0).to_bytes()):
        await send(topics.workers, value, key=b"anything")
    assert len(await read_workers(kafka, topics)) == 1


@pytest.mark.usefixtures("created")
async def test_a_reader_begins_at_the_given_age(kafka, topics, send):
    """A reader can begin at a given age instead of reading the whole topic."""
    await send(topics.workers, heartbeat().to_bytes(), key=b"one")
    await asyncio.sleep(0.05)
    async with HeartbeatReader(kafka, topics, since=timedelta(milliseconds=10)) as reader:
        assert await reader.beats() == []
        await send(topics.workers, heartbeat().to_bytes(), key=b"other")
        assert len(await reader.beats()) == 1


@pytest.mark.usefixtures("created")
async def test_a_stop_in_the_middle_of_a_heartbeat_ends_it(kafka, topics, sender):
    """The stop ends the heartbeat however closely it coincides with the confirmation."""
    for attempt in range(40):
        sending = sender(every_seconds=0.001)
        async with sending:
            await until(lambda: sending._producer is not None)  # noqa: B023 - it is awaited here
            await asyncio.sleep(0.0005 * attempt)
        assert sending._sending.done()
    assert await read_workers(kafka, topics) == []
