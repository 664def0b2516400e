"""A coordinator is killed at a step of admitting, aggregating or finishing: its successor continues, and nothing is lost.

Each test kills at one step, so that a failure names it; tests/chaos kills at all of them in turn, with several videos in flight.
"""

import signal
import uuid
from dataclasses import replace

import pytest
import pytest_asyncio

from streams.kafka.client import Published
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.steps import ADMITTING, AGGREGATING, FAILING, FINISHING, JOINING, LOSING_A_RESULT
from tests.service.videos import VERSION, Video, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = 40
TWO_SPANS = 514


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def predicting(service: Installation) -> Installation:
    """A GPU worker that stays; each test starts its own coordinators."""
    service.processes.start("gpu")
    return service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(predicting: Installation) -> dict[int, bytes]:
    """Probabilities of undisturbed runs of these videos, by their frames."""
    coordinator = predicting.processes.start("coordinator")
    published = {frames: (await predicting.run(video(frames)))[1].body["run_id"] for frames in (SMALL, TWO_SPANS)}
    evidence = await predicting.verify_at_rest()
    assert await coordinator.stopped() == 0
    return {frames: evidence.runs[run_id].probabilities.tobytes() for frames, run_id in published.items()}


async def survive(
    service: Installation, faults: tuple[Fault, ...], *videos: tuple[uuid.UUID, Video], lost: tuple[str, ...] = (), logged_event: str = ""
) -> list[Published]:
    """Publish videos to a coordinator that kills itself, and start a successor, until all have their outcome.

    Args:
        lost: chunks of the videos that are gone when the successor starts.
        logged_event: an event that the successor must have logged.
    """
    broken = service.processes.start("coordinator", *faults)
    published = [await service.submit(video_id, content.frame_count) for video_id, content in videos]
    assert await broken.ended() == -signal.SIGKILL
    for video_id, _ in videos:
        for name in lost:
            await service.store.delete(service.keys.chunk(service.tenant_id, video_id, VERSION, name))
    successor = service.processes.start("coordinator")
    await successor.ready()
    await service.settle()
    assert await successor.stopped() == 0
    assert logged_event in successor.log.read_text()
    return published


@pytest.mark.parametrize("fault", [replace(ADMITTING[0], when="before"), *ADMITTING], ids=str)
async def test_while_admitting(predicting: Installation, undisturbed: dict[int, bytes], fault: Fault) -> None:
    """A request whose coordinator was killed during admission ends in one run, with the same result as without the kill."""
    frames = TWO_SPANS if "work" in str(fault) else SMALL
    (published,) = await survive(predicting, (fault,), (await predicting.add(video(frames)), video(frames)))
    evidence = await predicting.verify()
    outcome = evidence.outcomes[str(published.request_id)]
    assert (outcome.name, outcome.body["deduplicated"]) == ("inference.completed", False)
    assert evidence.runs[outcome.body["run_id"]].probabilities.tobytes() == undisturbed[frames]


@pytest.mark.parametrize("fault", [*AGGREGATING, *FINISHING], ids=str)
async def test_while_aggregating_or_finishing(predicting: Installation, undisturbed: dict[int, bytes], fault: Fault) -> None:
    """A run whose coordinator was killed while handling results has one row, one verified object, one completed job and one event."""
    (published,) = await survive(predicting, (fault,), (await predicting.add(video(SMALL)), video(SMALL)))
    evidence = await predicting.verify()
    outcome = evidence.outcomes[str(published.request_id)]
    assert (outcome.name, outcome.body["deduplicated"]) == ("inference.completed", False)
    assert evidence.runs[outcome.body["run_id"]].probabilities.tobytes() == undisturbed[SMALL]


async def test_a_result_whose_state_alone_was_stored(predicting: Installation, undisturbed: dict[int, bytes]) -> None:
    """A completed run that lacks a result is not finished until the unacknowledged record of the result has been redelivered."""
    new = (await predicting.add(video(SMALL)), video(SMALL))
    (published,) = await survive(predicting, LOSING_A_RESULT, new, logged_event="run.results_missing")
    evidence = await predicting.verify()
    outcome = evidence.outcomes[str(published.request_id)]
    assert evidence.runs[outcome.body["run_id"]].probabilities.tobytes() == undisturbed[SMALL]


@pytest.mark.parametrize("fault", FAILING, ids=str)
async def test_while_failing(predicting: Installation, fault: Fault) -> None:
    """A failing run whose coordinator is killed while announcing the failure has one failure with one dead letter."""
    broken = video(SMALL).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")
    (published,) = await survive(predicting, (fault,), (await predicting.add(broken), broken))
    evidence = await predicting.verify()
    assert evidence.outcomes[str(published.request_id)].name == "inference.failed"


@pytest.mark.parametrize("fault", ADMITTING[:2], ids=str)
async def test_data_deleted_while_admitting(predicting: Installation, fault: Fault) -> None:
    """An admitted run whose spans were not sent before its data disappeared fails once, and the message names what is gone."""
    chunk = "modulo_1/chunk_0000000001.webm"
    (published,) = await survive(predicting, (fault,), (await predicting.add(video(SMALL)), video(SMALL)), lost=(chunk,))
    evidence = await predicting.verify()
    outcome = evidence.outcomes[str(published.request_id)]
    assert (outcome.name, outcome.body["outcome"]) == ("inference.failed", "cancelled")
    assert "input disappeared before the run was started" in outcome.body["reason"]
    assert f"{chunk} is missing" in outcome.body["reason"]


async def test_after_a_request_has_joined(predicting: Installation, undisturbed: dict[int, bytes]) -> None:
    """A second request that joined a run is answered by its outcome, although its coordinator was killed at that moment."""
    video_id = await predicting.add(video(SMALL))
    requests = await survive(predicting, JOINING, (video_id, video(SMALL)), (video_id, video(SMALL)))
    evidence = await predicting.verify()
    (run_id,) = {evidence.outcomes[str(request.request_id)].body["run_id"] for request in requests}
    assert evidence.runs[run_id].probabilities.tobytes() == undisturbed[SMALL]


async def test_all_of_it_is_acknowledged(predicting: Installation) -> None:
    """After all these kills every record is acknowledged, and everything is accounted for."""
    predicting.processes.start("coordinator")
    await predicting.verify_at_rest()
