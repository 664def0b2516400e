"""Workers are killed, fail, join or leave in the middle of a run of several spans."""

import asyncio
import signal

import pytest
import pytest_asyncio

from streams.kafka.client import Published
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.processes import Worker
from tests.service.steps import INFERRING
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 514


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(service: Installation) -> bytes:
    """Probabilities of an undisturbed run."""
    workers = [service.processes.start("coordinator"), service.processes.start("gpu")]
    _, outcome = await service.run(video(FRAMES))
    evidence = await service.verify_at_rest()
    assert await asyncio.gather(*(worker.stopped() for worker in workers)) == [0, 0]
    return evidence.runs[outcome.body["run_id"]].probabilities.tobytes()


@pytest_asyncio.fixture(loop_scope="module")
async def workers(service: Installation, undisturbed: bytes):
    """Starts workers, and stops the remaining ones properly after the test."""
    started: list[Worker] = []

    def start(role, fault: Fault | None = None) -> Worker:
        started.append(service.processes.start(role, fault))
        return started[-1]

    yield start
    assert {await worker.stopped() for worker in started if worker.status is None} <= {0}


async def completed(service: Installation, published: Published, undisturbed: bytes) -> str:
    """Wait until a run is complete and everything is accounted for. Return its id."""
    outcome = await service.ledger.outcome(published)
    evidence = await service.verify_at_rest()
    assert evidence.outcomes[str(published.request_id)] == outcome
    run_id: str = outcome.body["run_id"]
    assert evidence.runs[run_id].probabilities.tobytes() == undisturbed
    return run_id


@pytest.mark.parametrize("fault", INFERRING, ids=str)
async def test_gpu_worker_killed(service: Installation, workers, undisturbed: bytes, fault: Fault) -> None:
    """The spans that a killed GPU worker held, one of them taken, computed or sent but not acknowledged, are done by another."""
    workers("coordinator")
    broken = workers("gpu", fault)
    published = await service.submit(await service.add(video(FRAMES)), FRAMES)
    assert await broken.ended() == -signal.SIGKILL
    workers("gpu")
    run_id = await completed(service, published, undisturbed)
    taken, _ = service.ledger.spans(run_id)
    assert len({record.worker for record in taken}) == 2


async def test_gpu_worker_killed_beside_another(service: Installation, workers, undisturbed: bytes) -> None:
    """One of two GPU workers is killed while it holds spans; the other does all that is left."""
    workers("coordinator")
    gpus = {f"{worker.pid}": worker for worker in (workers("gpu"), workers("gpu"))}
    await service.ledger.until_members("gpu-worker", 2)
    published = [await service.submit(await service.add(video(FRAMES)), FRAMES) for _ in range(2)]

    def unreleased() -> set[str]:
        """Process ids of workers that have taken spans of these runs and not finished them."""
        open_spans = {}
        for record in service.ledger.records["inference.results"]:
            for entry in service.ledger.log(record.key.decode()):
                if entry.kind == "span_taken":
                    open_spans[entry.run_id, entry.span] = entry.worker.rpartition(":")[2]
                elif entry.kind == "span_done":
                    open_spans.pop((entry.run_id, entry.span), None)
        return set(open_spans.values())

    victim = next(iter(await service.ledger.until("a span in hand", lambda: unreleased() & set(gpus))))
    await gpus[victim].killed()
    for request in published:
        await completed(service, request, undisturbed)


async def test_coordinator_killed(service: Installation, workers, undisturbed: bytes) -> None:
    """After a coordinator is killed when a run's first span is done, its successor knows the span and completes the run."""
    coordinator = workers("coordinator")
    workers("gpu")
    published = await service.submit(await service.add(video(FRAMES)), FRAMES)
    before = len(service.ledger.records["inference.results"])
    await service.ledger.until(
        "a span done", lambda: b"span_done" in b"".join(r.value for r in service.ledger.records["inference.results"][before:])
    )
    await coordinator.killed()
    workers("coordinator")
    await completed(service, published, undisturbed)


async def test_workers_join_and_leave(service: Installation, workers, undisturbed: bytes) -> None:
    """A second worker of each role joins in the middle of two runs, takes part, and leaves with status 0; the runs complete."""
    workers("coordinator"), workers("gpu")
    videos = [await service.add(video(FRAMES)) for _ in range(3)]
    published = [await service.submit(video_id, FRAMES) for video_id in videos[:2]]
    seconds = [workers("coordinator"), workers("gpu")]
    await service.ledger.until_members("coordinator", 2)
    await service.ledger.until_members("gpu-worker", 2)
    published.append(await service.submit(videos[2], FRAMES))
    await service.ledger.until("a span taken by the second", lambda: _taken_by(service, seconds[1]))
    assert await asyncio.gather(*(worker.stopped() for worker in seconds)) == [0, 0]
    for request in published:
        await completed(service, request, undisturbed)


RAISING = [
    ("coordinator", Fault("streams.agents.admit:Admission._handle", "before", how="raise")),
    ("coordinator", Fault("streams.agents.aggregate:Aggregation._fold", "before", ("span_done",), how="raise")),
    ("coordinator", Fault("streams.coordinator.finisher:publish_run", "after", how="raise")),
    ("gpu", Fault("streams.agents.infer:Inference._settle", "before", how="raise")),
    ("gpu", Fault("streams.gpu_worker.predictor:SpanPredictor.predict", "after", how="raise")),
]


@pytest.mark.parametrize(("role", "fault"), RAISING, ids=str)
async def test_an_unexpected_exception(service: Installation, workers, undisturbed: bytes, role, fault: Fault) -> None:
    """A worker with one unexpected error retries and completes the run, and stops properly."""
    other = workers("gpu" if role == "coordinator" else "coordinator")
    broken = workers(role, fault)
    published = await service.submit(await service.add(video(FRAMES)), FRAMES)
    await completed(service, published, undisturbed)
    assert f"made to fail {fault}" in broken.log.read_text()
    assert await asyncio.gather(broken.stopped(), other.stopped()) == [0, 0]


def _taken_by(service: Installation, worker: Worker) -> bool:
    name = f':{worker.pid}"'.encode()
    return any(b"span_taken" in record.value and name in record.value for record in service.ledger.records["inference.results"])
