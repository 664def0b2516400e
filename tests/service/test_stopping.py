"""At the first signal a worker finishes or releases its work; at the second, or during its start, it ends at once. Nothing is lost."""

import asyncio
import json
import os
import signal
import sys

import pytest

from streams.records import SpanDone, SpanFailed, SpanTaken
from tests.patience import Deadline
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS, Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPUTING = "streams.gpu_worker.predictor:_predict"
FOUR_SPANS = 1538


async def test_spans_in_flight_are_finished_or_released(service: Installation) -> None:
    """On SIGTERM the span in computation is finished, the others are released, the status is 0, and the next worker continues."""
    coordinator, slow = service.processes.start("coordinator"), service.processes.start("gpu", Fault(COMPUTING, "after", how="pause"))
    published = await service.submit(await service.add(video(FOUR_SPANS)), FOUR_SPANS)
    await service.ledger.until("a result", lambda: _records(service, slow, SpanDone))
    assert await slow.stopped() == 0
    await service.ledger.read_all()
    taken, done, released = ({record.span for record in _records(service, slow, kind)} for kind in (SpanTaken, SpanDone, SpanFailed))
    assert taken == done | released
    assert not done & released
    healthy = service.processes.start("gpu")
    assert (await service.ledger.outcome(published)).name == "inference.completed"
    await service.verify_at_rest()
    assert [await worker.stopped() for worker in (healthy, coordinator)] == [0, 0]


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(service: Installation, again: signal.Signals) -> None:
    """A worker that cannot stop ends at the second signal, with that signal's status; another does its work."""
    coordinator, stuck = service.processes.start("coordinator"), service.processes.start("gpu", Fault(COMPUTING, "before", how="hang"))
    published = await service.submit(await service.add(video(2)), 2)
    await service.ledger.until("a span taken", lambda: _records(service, stuck, SpanTaken))
    stuck.terminate()
    await _until_logged(stuck, "worker.stopping")
    assert stuck.status is None
    os.kill(stuck.pid, again)
    assert await stuck.ended() == 128 + again
    healthy = service.processes.start("gpu")
    assert (await service.ledger.outcome(published)).name == "inference.completed"
    await service.verify_at_rest()
    assert [await worker.stopped() for worker in (healthy, coordinator)] == [0, 0]


async def test_a_shutdown_that_hangs_is_forced(service: Installation) -> None:
    """A worker whose stop hangs after an unexpected error ends anyway, with status 1, and another does its work."""
    coordinator = service.processes.start("coordinator")
    broken = service.processes.start(
        "gpu",
        Fault("streams.apps.observability:_measure_lag", "before", how="raise"),
        Fault("faust.transport.consumer:Consumer.wait_empty", "before", how="hang"),
    )
    published = await service.submit(await service.add(video(2)), 2)
    assert await broken.ended() == 1
    assert json.loads(broken.log.read_text().splitlines()[-1])["event"] == "worker.failed"
    healthy = service.processes.start("gpu")
    await healthy.ready()
    assert (await service.ledger.outcome(published)).name == "inference.completed"
    assert [await worker.stopped() for worker in (healthy, coordinator)] == [0, 0]


async def test_stopped_while_it_starts(service: Installation) -> None:
    """SIGTERM during the imports ends it with status 0 and no traceback."""
    starting = service.processes.command(
        "gpu", "python", "-X", "importtime", "-m", "cli", "worker", "gpu", PYTHONPATH=os.pathsep.join(sys.path)
    )
    await _until_logged(starting, " torch.")
    assert await starting.stopped() == 0
    assert "Traceback" not in starting.log.read_text()


def _records(service: Installation, worker: Worker, kind):
    """Records of this kind that a worker has written into the logs of runs."""
    keys = {record.key.decode() for record in service.ledger.records["inference.results"]}
    return [
        record
        for key in keys
        for record in service.ledger.log(key)
        if isinstance(record, kind) and record.worker.rpartition(":")[2] == str(worker.pid)
    ]


async def _until_logged(worker: Worker, text: str) -> None:
    deadline = Deadline(WAIT_SECONDS)
    while text not in worker.log.read_text():
        assert not deadline.passed, f"{worker.name} has not said {text}"
        await asyncio.sleep(0.02)
