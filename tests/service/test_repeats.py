"""The same video is requested again: at the same time, during its run, after its end, and with force."""

import uuid

import pytest

from core.types import Priority
from tests.service.installation import Installation
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 514


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_RATE_LIMIT_SECONDS": "0"}


async def test_the_same_event_three_times(running: Installation) -> None:
    """One event delivered three times at once is one request: one run, each span computed once, one outcome."""
    video_id = await running.add(video(FRAMES))
    published = [await running.submit(video_id, FRAMES, event_id="one") for _ in range(3)]
    assert len({request.request_id for request in published}) == 1
    outcome = await running.ledger.outcome(published[0])
    evidence = await running.verify_at_rest()
    assert evidence.runs[outcome.body["run_id"]].pairs == FRAMES - 1
    # And once more when all is over: it changes nothing.
    events = len(running.ledger.outcomes)
    await running.submit(video_id, FRAMES, event_id="one")
    await running.verify_at_rest()
    assert len(running.ledger.outcomes) == events


async def test_three_requests_at_once(running: Installation) -> None:
    """Three requests for one video at once share one run, and its single outcome names all of them."""
    video_id = await running.add(video(FRAMES))
    published = [await running.submit(video_id, FRAMES, event_id=f"request {number}") for number in range(3)]
    evidence = await running.verify_at_rest()
    (run_id,) = {evidence.outcomes[str(request.request_id)].body["run_id"] for request in published}
    started = [record for record in running.ledger.log(run_id) if record.kind == "run_started"]
    _, done = running.ledger.spans(run_id)
    assert (len(started), sorted(record.span for record in done)) == (1, [0, 1])


async def test_a_request_while_the_run_is_in_flight(running: Installation) -> None:
    """A request during a run joins it and is answered by its outcome; a repetition of the first request changes nothing."""
    video_id = await running.add(video(FRAMES))
    first = await running.submit(video_id, FRAMES, event_id="first")
    await running.ledger.until("a span taken", lambda: _in_flight(running, video_id))
    for _ in range(2):
        assert (await running.submit(video_id, FRAMES, event_id="first")).request_id == first.request_id
    second = await running.submit(video_id, FRAMES)
    evidence = await running.verify_at_rest()
    first_outcome, second_outcome = (evidence.outcomes[str(request.request_id)] for request in (first, second))
    assert first_outcome.body["run_id"] == second_outcome.body["run_id"]
    assert sorted(record.span for record in running.ledger.spans(first_outcome.body["run_id"])[1]) == [0, 1]


async def test_a_request_after_the_run(running: Installation) -> None:
    """A request for a video with a finished run is answered by that run, as deduplicated, and no span is sent."""
    _, outcome = await running.run(video(2))
    await running.ledger.finished(outcome.body["run_id"])
    sent = len(running.ledger.records["inference.work.high"])
    video_id = uuid.UUID(outcome.body["video_id"])
    repeated = await running.ledger.outcome(await running.submit(video_id, 2, priority=Priority.LOW))
    same = ("run_id", "attempt", "storage_key", "sha256", "size_bytes", "pairs", "label_counts", "caption_count")
    assert {name: repeated.body[name] for name in same} == {name: outcome.body[name] for name in same}
    assert repeated.body["deduplicated"] is True
    assert repeated.headers["ce_id"] != outcome.headers["ce_id"]
    await running.verify_at_rest()
    assert len(running.ledger.records["inference.work.high"]) == sent
    assert not running.ledger.records["inference.work.low"]


async def test_a_forced_run_beside_an_old_one(running: Installation) -> None:
    """A forced run is a separate run: it takes over the row and keeps its id, and the old object stays."""
    _, old = await running.run(video(2))
    await running.ledger.finished(old.body["run_id"])
    row = await running.verifier.run_row(old.body["run_id"])
    assert row is not None
    forced = await running.ledger.outcome(await running.submit(uuid.UUID(old.body["video_id"]), 2, force=True))
    assert forced.body["run_id"] != old.body["run_id"]
    assert forced.body["deduplicated"] is False
    evidence = await running.verify_at_rest()
    taken_over = await running.verifier.run_row(forced.body["run_id"])
    assert taken_over is not None
    assert (taken_over["id"], taken_over["sha256"]) == (row["id"], forced.body["sha256"])
    assert await running.verifier.run_row(old.body["run_id"]) is None
    both = (evidence.runs[body["run_id"]].probabilities.tobytes() for body in (old.body, forced.body))
    assert len(set(both)) == 1


async def test_a_run_whose_object_is_gone(running: Installation) -> None:
    """A finished run without its object does not count: the next request computes it again, as its next attempt."""
    _, outcome = await running.run(video(2))
    await running.ledger.finished(outcome.body["run_id"])
    await running.store.delete(outcome.body["storage_key"])
    again = await running.ledger.outcome(await running.submit(uuid.UUID(outcome.body["video_id"]), 2))
    assert (again.body["run_id"], again.body["attempt"], again.body["deduplicated"]) == (outcome.body["run_id"], 2, False)
    await running.verify_at_rest()


def _in_flight(service: Installation, video_id: uuid.UUID) -> bool:
    """Whether a span of a video's run has been taken."""
    records = service.ledger.records["inference.results"]
    runs = {record.key for record in records if b"run_started" in record.value and str(video_id).encode() in record.value}
    return any(record.key in runs and b"span_taken" in record.value for record in records)
