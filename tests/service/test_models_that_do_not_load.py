"""If a model does not load on one worker or on any, its runs move to another worker, wait or fail; runs of other models continue."""

from collections.abc import Iterable
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio

from core.identity import run_id
from core.types import Priority
from inference.models.builtin import builtin_model_version
from streams.kafka.client import Published
from streams.records import SpanFailed
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.models import push_model
from tests.service.processes import WAIT_SECONDS, Worker
from tests.service.videos import VERSION, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = video(2)
PARTITIONS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sound(service: Installation, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker with the model v1 in its own cache, started while the store had the weights."""
    service.processes.start("coordinator")
    worker = service.processes.start("gpu", EXTENTS_MODEL_CACHE=str(tmp_path_factory.mktemp("sound")))
    key = await push_model(service, "v1")
    _, outcome = await service.run(SMALL, model_version="v1")
    assert outcome.name == "inference.completed"
    await service.store.delete(key)
    return worker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sick(service: Installation, sound: Worker, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker that cannot load the model, since it started after the weights were gone."""
    worker = service.processes.start("gpu", EXTENTS_MODEL_CACHE=str(tmp_path_factory.mktemp("sick")))
    await service.ledger.until_members("gpu-worker", 2)
    return worker


async def submit_everywhere(service: Installation, model_version: str, **fields: object) -> dict[str, Published]:
    """Small runs, one in each partition of the work topics, so that every worker gets some; requests by run."""
    requests = {}
    for partition in range(PARTITIONS):
        video_id = next(video_id for video_id in iter(uuid4, None) if _run(service, video_id, model_version).int % PARTITIONS == partition)
        await SMALL.upload(service.store, service.keys, service.tenant_id, video_id)
        request = await service.submit(video_id, SMALL.frame_count, model_version=model_version, **fields)
        requests[str(_run(service, video_id, model_version))] = request
    return requests


def _run(service: Installation, video_id: UUID, model_version: str) -> UUID:
    return run_id(service.tenant_id, video_id, VERSION, model_version)


def failures(service: Installation, runs: Iterable[str]) -> list[SpanFailed]:
    return [record for run in runs for record in service.ledger.log(run) if isinstance(record, SpanFailed)]


async def test_high_priority_goes_to_another_worker(service: Installation, sound: Worker, sick: Worker) -> None:
    """Spans on a worker that cannot load their model move to a worker that can, and no run fails."""
    requests = await submit_everywhere(service, "v1")
    assert {(await service.ledger.outcome(request)).name for request in requests.values()} == {"inference.completed"}
    reasons = failures(service, requests)
    assert {(failure.worker.rpartition(":")[2], failure.final) for failure in reasons} == {(str(sick.pid), False)}
    assert all("model v1 does not load" in failure.error for failure in reasons)


async def test_low_priority_waits_for_the_model(service: Installation, sound: Worker, sick: Worker) -> None:
    """Low-priority spans wait on the worker, which reports this and works with other models; they are processed once the model is back."""
    requests = await submit_everywhere(service, "v1", priority=Priority.LOW)
    waiting = await service.ledger.until("a span handed back by the sick", lambda: failures(service, requests))
    await _until_not_ready(service, sick)
    others = await submit_everywhere(service, builtin_model_version(), priority=Priority.LOW)
    assert {(await service.ledger.outcome(request)).name for request in others.values()} == {"inference.completed"}
    stuck = requests[str(waiting[0].run_id)]
    assert not any(outcome.answers(stuck.request_id) for outcome in service.ledger.outcomes)

    await push_model(service, "v1")
    assert {(await service.ledger.outcome(request)).name for request in requests.values()} == {"inference.completed"}
    log = sick.log.read_text()
    assert log.index("model.suspended") < log.index("model.recovered")
    await service.verify_at_rest()


async def test_a_model_that_loads_nowhere_fails_its_run(service: Installation, sound: Worker, sick: Worker, tmp_path: Path) -> None:
    """The model is tried four times, at least once by each of three workers; only its run fails, and leaves one dead letter."""
    service.processes.start("gpu", EXTENTS_MODEL_CACHE=str(tmp_path))
    await service.ledger.until_members("gpu-worker", 3)
    await service.store.put(await push_model(service, "v2"), b"these are no weights")
    (_, outcome), (_, other) = await service.run(SMALL, model_version="v2"), await service.run(SMALL)
    assert (outcome.name, other.name) == ("inference.failed", "inference.completed")
    assert "model v2 does not load" in outcome.body["reason"]
    reasons = failures(service, [outcome.body["run_id"]])
    assert [failure.final for failure in reasons] == [False, False, False, True]
    assert len({failure.worker for failure in reasons}) == 3
    evidence = await service.verify_at_rest()
    assert sum(len(letters) for letters in evidence.letters.values()) == 1


async def _until_not_ready(service: Installation, worker: Worker) -> None:
    deadline = Deadline(WAIT_SECONDS)
    async with aiohttp.ClientSession() as http:
        while await worker.is_ready(http):
            assert not deadline.passed, f"{worker.name} is ready all the time"
            await service.ledger.read_on(0.1)
