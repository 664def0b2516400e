"""The hours of GPU workers, from their heartbeats to the database."""

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.settings import SupabaseSettings
from storage.connect import open_listings, open_rows
from streams.coordinator.worker_hours import TEXT_LENGTH, WorkerHours, worker_hours
from streams.kafka.topic_admin import ensure_topics
from streams.runtime.circuit_breaker import CircuitBreaker
from tests.patience import Deadline
from tests.streams.heartbeats import heartbeat, received


@pytest.fixture
def supabase(namespace, monkeypatch: pytest.MonkeyPatch) -> SupabaseSettings:
    for name, value in namespace.env.items():
        monkeypatch.setenv(name, value)
    return SupabaseSettings(_env_file=None)


async def up_seconds(supabase: SupabaseSettings, instance: UUID) -> float:
    async with open_listings(supabase) as listings:
        rows = [row async for row in listings.pages("worker_hours", lambda query: query.eq("instance", str(instance)), ("day",))]
    return sum(row["up_seconds"] for row in rows)


async def test_hours_are_those_of_the_last_heartbeat(topics, kafka, supabase, send):
    """Hours do not depend on how often or by which coordinator heartbeats are recorded; a killed worker's hours end with its last one."""
    beat = heartbeat(uptime_seconds=100.0)
    other = heartbeat(role="coordinator")
    await ensure_topics([spec for spec in topics.specs() if spec.name == topics.workers], kafka)
    app = SimpleNamespace(partitions_of=lambda topic: frozenset({0}))

    async def say(uptime_seconds: float) -> None:
        await send(topics.workers, beat.model_copy(update={"uptime_seconds": uptime_seconds}).to_bytes(), key=str(beat.instance).encode())

    async def until_recorded(expected: float) -> None:
        deadline = Deadline(60)
        while (seconds := await up_seconds(supabase, beat.instance)) != pytest.approx(expected, abs=1.0):
            assert not deadline.passed, f"{seconds} s are recorded; expected {expected}"
            await asyncio.sleep(0.05)

    async with open_rows(supabase) as rows:
        owners = [WorkerHours(app, kafka, topics, rows, CircuitBreaker("database", rows.check)) for _ in range(2)]
        await send(topics.workers, other.to_bytes(), key=b"other")
        await say(100.0)
        await say(200.0)
        running = [asyncio.create_task(owner.run()) for owner in owners]
        await until_recorded(200.0)
        await say(300.0)
        for owner in owners:
            await owner.record()
        await until_recorded(300.0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await owners[0].record()
        await owners[0]._close()
        await until_recorded(300.0)
    assert await up_seconds(supabase, other.instance) == 0


async def test_only_the_owner_records(topics, kafka, supabase, send):
    """A coordinator without the first partition does not even read heartbeats."""
    app = SimpleNamespace(partitions_of=lambda topic: frozenset({1}))
    async with open_rows(supabase) as rows:
        hours = WorkerHours(app, kafka, topics, rows, CircuitBreaker("database", rows.check))
        running = asyncio.create_task(hours.run())
        await asyncio.sleep(0.2)
        assert hours._reader is None
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_missing_topic_is_waited_for(topics, kafka, supabase):
    """Without the topic of heartbeats the process continues and waits for it."""
    app = SimpleNamespace(partitions_of=lambda topic: frozenset({0}))
    async with open_rows(supabase) as rows:
        running = asyncio.create_task(WorkerHours(app, kafka, topics, rows, CircuitBreaker("database", rows.check)).run())
        await asyncio.sleep(1.0)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_texts_are_such_as_a_database_takes():
    """An implausible heartbeat does not stop the recording of the others."""
    (row,) = worker_hours([received(worker="a\0b", device="x" * 1000)])
    assert (row["worker"], len(row["device"])) == ("a\ufffdb", TEXT_LENGTH)
    assert worker_hours([received(role="coordinator")]) == []
    assert worker_hours([received(device=None)])[0]["device"] == "unknown"
