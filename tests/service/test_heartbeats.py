"""Workers report their state: while they run, when they end, after a kill, and without the topic for heartbeats."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from core.errors import ConfigurationError
from core.workers import SeenWorker, WorkerState
from inference.models.builtin import builtin_model_version
from storage.database import RowsConfig
from storage.listings import Listings
from streams.kafka.connection import client_options
from streams.kafka.heartbeat_reader import read_workers
from streams.kafka.topic_admin import ensure_topics
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS, Worker
from tests.service.terminal import Terminal
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 514


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_HEARTBEAT_SECONDS": "2"}


async def until_seen(
    service: Installation, worker: Worker, expected: WorkerState | None, also: Callable[[SeenWorker], object] = lambda worker: True
) -> SeenWorker | None:
    """Wait until a worker is seen in this state, or is no longer seen if it is None."""
    deadline = Deadline(WAIT_SECONDS)
    while True:
        workers = {each.worker.rpartition(":")[2]: each for each in await read_workers(service.kafka, service.topics)}
        seen = workers.get(str(worker.pid))
        state = seen.state(datetime.now(UTC)) if seen else None
        if state is expected and (seen is None or also(seen)):
            return seen
        assert not deadline.passed, f"{worker.name} is seen as {state}; expected {expected}"
        await asyncio.sleep(0.1)


async def test_what_workers_say(service: Installation, tmp_path: Path) -> None:
    """Ready workers report models, device and work; an ended worker disappears, a killed one is gone, and the hours of both are kept."""
    processes = service.processes
    gpu = processes.start("gpu")
    await until_seen(service, gpu, WorkerState.READY)
    coordinator = processes.start("coordinator")
    await service.run(video(FRAMES))
    seen = await until_seen(service, gpu, WorkerState.READY, lambda worker: worker.pairs_per_second and not worker.in_hand)
    assert seen is not None
    assert (seen.role, seen.models) == ("gpu-worker", (builtin_model_version(),))
    assert seen.device
    assert 0 < seen.busy_share <= 1
    other = await until_seen(service, coordinator, WorkerState.READY, lambda worker: not worker.in_hand)
    assert other is not None
    assert (other.role, other.device) == ("coordinator", None)
    await until_recorded(service, seen)
    terminal = Terminal(service, tmp_path)
    shown = await terminal("status")
    assert "GPU workers    1 ready; " in shown
    assert max(map(len, shown.splitlines())) <= 100
    usage = await terminal.json("usage")
    assert usage["total"]["up_seconds"] > 0
    assert usage["rows"][-1]["up_seconds"] > 0
    await gpu.killed()
    assert await coordinator.stopped() == 0
    await until_seen(service, coordinator, None)
    await until_seen(service, gpu, WorkerState.GONE)


async def until_recorded(service: Installation, worker: SeenWorker) -> None:
    """Wait until the database has the hours of a worker."""
    environment = service.processes.environment
    config = RowsConfig(
        url=environment["SUPABASE_URL"],
        service_role_key=environment["SUPABASE_SERVICE_ROLE_KEY"],
        schema=environment["SUPABASE_SCHEMA"],
        timeout_seconds=20,
    )
    deadline = Deadline(WAIT_SECONDS)
    async with Listings(config) as listings:
        while not (rows := await listings.page("worker_hours", lambda query: query.eq("instance", worker.instance), ("day",), 0, 2)):
            assert not deadline.passed, f"no hours of {worker.worker}"
            await asyncio.sleep(0.2)
    assert {(row["worker"], row["device"]) for row in rows} == {(worker.worker, worker.device)}
    assert sum(row["up_seconds"] for row in rows) > 0


async def test_without_the_topic_workers_do_all_of_their_work(service: Installation) -> None:
    """Workers become ready, process requests and end cleanly without the topic; once it is created, they are seen."""
    admin = AIOKafkaAdminClient(**client_options(service.kafka))
    await admin.start()
    await admin.delete_topics([service.topics.workers])
    await admin.close()
    workers = [service.processes.start(role, EXTENTS_HEARTBEAT_SECONDS="0.5") for role in ("coordinator", "gpu")]
    _, outcome = await service.run(video(2))
    assert outcome.name == "inference.completed"
    await asyncio.gather(*(worker.ready() for worker in workers))
    with pytest.raises(ConfigurationError, match=service.topics.workers):
        await read_workers(service.kafka, service.topics)
    await ensure_topics(service.topics.specs(), service.kafka)
    for worker in workers:
        await until_seen(service, worker, WorkerState.READY)
    await service.verify_at_rest()
    assert [await worker.stopped() for worker in workers] == [0, 0]
    for worker in workers:
        await until_seen(service, worker, None)
