"""Admission: one decision per request, also for simultaneous ones."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
from psycopg.types.json import Jsonb

from core.admission import AdmissionAnswer, Decision, Rejection
from core.errors import PermanentError
from core.runs import StoredRun
from core.types import Priority, RejectionType
from storage.row_values import admission_values, limit_values, run_values
from tests.database.existing import RowsOfKnownVideos
from tests.storage.admission_requests import WIDE, complete, limits, request
from tests.storage.finished_runs import finished_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STORED = StoredRun("runs/x.db", 4096, "0" * 64, 1, False)


def answered(decision: Decision, **changes) -> AdmissionAnswer:
    return replace(AdmissionAnswer(decision=decision, run_id=None, attempt=None, rejection=None, found_run=None, repeated=False), **changes)


async def test_a_first_request_runs_and_leaves_its_job(rows):
    """A new request is attempt 1 of its run, and its job is queued with all that the web application shows."""
    submitted = request(priority=Priority.LOW, replay_id="replay-7")
    assert await rows.admit(submitted, WIDE) == answered(Decision.RUN, run_id=str(submitted.run_id), attempt=1)
    job = await rows.find_job(submitted.run_id)
    assert (job.status, job.priority, job.attempt, job.pairs_total, job.pairs_done) == ("queued", "low", 1, 600, 0)
    assert (job.request_id, job.tenant_id, job.video_id, job.estimated_cost_usd) == (
        submitted.request_id,
        submitted.tenant_id,
        submitted.video_id,
        0.0018,
    )
    assert job.started_at is job.completed_at is job.error_message is job.run_row_id is None


async def test_a_repeated_request_gets_the_stored_decision(rows):
    """A repeated request gets its first decision, whatever it contains and whatever has happened since."""
    submitted = request()
    first = await rows.admit(submitted, WIDE)
    await rows.fail_run(submitted.run_id, 1, "broken", NOW)
    refused = replace(submitted, rejection=Rejection(RejectionType.VALIDATION_FAILED, "now it looks wrong"))
    assert await rows.admit(refused, limits(queue_limit=0)) == replace(first, repeated=True)
    assert await rows.find_answer(submitted.request_id) == replace(first, repeated=True)
    assert (await rows.find_job(submitted.run_id)).status == "failed"
    assert await rows.find_rejection(submitted.request_id) is None


async def test_a_request_joins_a_run_in_flight(rows):
    """Another request for the same video, version and model joins the run in flight."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    joining = replace(submitted, request_id=uuid4())
    assert await rows.admit(joining, limits(queue_limit=0)) == answered(Decision.JOIN, run_id=str(submitted.run_id), attempt=1)
    await rows.record_progress(submitted.run_id, 1, 5, NOW)
    assert (await rows.admit(replace(submitted, request_id=uuid4()), WIDE)).decision is Decision.JOIN


async def test_a_run_that_failed_gets_the_next_attempt(rows):
    """A new request for a failed run queues its job again, without the data of the failure."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    await rows.record_progress(submitted.run_id, 1, 99, NOW)
    await rows.fail_run(submitted.run_id, 1, "a chunk is corrupt", NOW)
    again = replace(submitted, request_id=uuid4())
    assert await rows.admit(again, WIDE) == answered(Decision.RUN, run_id=str(submitted.run_id), attempt=2)
    job = await rows.find_job(submitted.run_id)
    assert (job.status, job.attempt, job.pairs_done, job.request_id) == ("queued", 2, 0, again.request_id)
    assert job.started_at is job.completed_at is job.error_message is None


async def test_a_finished_run_answers_once_its_object_is_verified(rows):
    """A finished run is first to be rechecked by the caller; once its object is verified, it is the stored answer."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    await complete(rows, submitted)
    later = replace(submitted, request_id=uuid4())
    assert await rows.admit(later, WIDE) == answered(Decision.RECHECK, run_id=str(submitted.run_id))
    verified = replace(later, found_run={"run_id": str(submitted.run_id), "storage_key": "k", "captions": 3})
    answer = await rows.admit(verified, limits(queue_limit=0))
    assert answer == answered(Decision.FOUND, run_id=str(submitted.run_id), found_run=verified.found_run)
    assert await rows.admit(later, WIDE) == replace(answer, repeated=True)


async def test_recheck_writes_nothing(rows):
    """A request with the answer to recheck has no stored decision yet."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    await complete(rows, submitted)
    later = replace(submitted, request_id=uuid4())
    assert not (await rows.admit(later, WIDE)).repeated
    assert not (await rows.admit(later, WIDE)).repeated
    assert await rows.find_answer(later.request_id) is None


async def test_a_run_whose_object_is_gone_runs_again(rows):
    """If a finished run's object is gone, the same run gets its next attempt."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    await complete(rows, submitted)
    again = replace(submitted, request_id=uuid4(), gone_run_id=str(submitted.run_id))
    assert await rows.admit(again, WIDE) == answered(Decision.RUN, run_id=str(submitted.run_id), attempt=2)


async def test_a_run_seen_before_another_took_its_row_is_not_an_answer(rows):
    """If a forced run has taken the row over since the caller's check, the caller must recheck that run."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    await complete(rows, submitted)
    forced = replace(submitted, request_id=uuid4(), run_id=uuid4(), force=True)
    await rows.admit(forced, limits(rate_limit_seconds=0))
    await complete(rows, forced)
    for verified in ({"found_run": {"run_id": str(submitted.run_id)}}, {"gone_run_id": str(submitted.run_id)}):
        answer = await rows.admit(replace(submitted, request_id=uuid4(), **verified), WIDE)
        assert answer == answered(Decision.RECHECK, run_id=str(forced.run_id))


async def test_a_forced_request_runs_beside_a_finished_run(rows):
    """A forced request starts a run of its own beside a finished one."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    await complete(rows, submitted)
    forced = request(submitted.tenant_id, submitted.video_id, force=True)
    assert forced.run_id != submitted.run_id
    assert await rows.admit(forced, limits(rate_limit_seconds=0)) == answered(Decision.RUN, run_id=str(forced.run_id), attempt=1)


async def test_the_callers_rejection_is_stored_as_given(rows):
    """A rejection by the caller is stored once as given, whatever numbers or characters the record holds."""
    message = "a \0 in an id; 10 frames expected"
    submitted = request(
        rejection=Rejection(RejectionType.FRAME_COUNT_EXCEEDED, message),
        frame_count=10**30,
        cropped_frames_version=2**40,
        model_version=None,
        run_id=None,
        event_id="\0",
        estimated_cost_usd=None,
    )
    stored = Rejection(RejectionType.FRAME_COUNT_EXCEEDED, message.replace("\0", "\ufffd"))
    assert await rows.admit(submitted, WIDE) == answered(Decision.REJECTED, rejection=stored)
    assert (await rows.admit(submitted, WIDE)).repeated
    row = await rows.find_rejection(submitted.request_id)
    assert (row.type, row.message, row.frame_count, row.acknowledged) == (stored.type, stored.message, None, False)


async def test_a_video_of_another_tenant_is_refused(rows):
    """A request of another tenant for a video is rejected, and leaves the video's owner as it was."""
    submitted = request()
    foreign = request(video_id=submitted.video_id)
    if isinstance(rows, RowsOfKnownVideos):
        rows.upload(submitted)  # by its owner, before any request
    rejected = replace(foreign, rejection=Rejection(RejectionType.VALIDATION_FAILED, "no such version"))
    assert (await rows.admit(rejected, WIDE)).decision is Decision.REJECTED
    assert (await rows.admit(submitted, WIDE)).decision is Decision.RUN
    answer = await rows.admit(replace(foreign, request_id=uuid4()), WIDE)
    assert answer.rejection.type is RejectionType.VALIDATION_FAILED
    assert (
        answer.rejection.message == f"video {submitted.video_id} belongs to another tenant than {foreign.tenant_id}; a video has one tenant"
    )
    await complete(rows, submitted)
    assert (await rows.admit(replace(foreign, request_id=uuid4()), WIDE)).decision is Decision.REJECTED


async def test_one_request_many_times_at_once_is_decided_once(rows):
    """Simultaneous copies of a request get the same decision, and exactly one of them is its first."""
    submitted = request()
    answers = await asyncio.gather(*(rows.admit(submitted, WIDE) for _ in range(20)))
    assert {(answer.decision, answer.attempt) for answer in answers} == {(Decision.RUN, 1)}
    assert sum(not answer.repeated for answer in answers) == 1


async def test_requests_for_one_run_at_once_start_it_once(rows):
    """Twenty simultaneous requests for the same video, version and model start one attempt, and the others join it."""
    submitted = request()
    answers = await asyncio.gather(*(rows.admit(replace(submitted, request_id=uuid4()), WIDE) for _ in range(20)))
    assert Counter(answer.decision for answer in answers) == {Decision.RUN: 1, Decision.JOIN: 19}
    assert {answer.attempt for answer in answers} == {1}


async def test_unfinished_jobs_are_counted_by_priority(rows):
    """The count for the low-priority gate has only jobs that are queued or running."""
    before = await rows.count_unfinished(Priority.LOW)
    submitted = [request(priority=Priority.LOW) for _ in range(3)]
    for item in submitted:
        await rows.admit(item, WIDE)
    await rows.record_progress(submitted[0].run_id, 1, 1, NOW)
    await rows.fail_run(submitted[1].run_id, 1, "x", NOW)
    await rows.admit(request(), WIDE)
    assert await rows.count_unfinished(Priority.LOW) == before + 2


async def test_an_accepted_request_must_be_complete(rows):
    """A request without a version, which only a rejection may lack, is refused and writes nothing."""
    submitted = request(cropped_frames_version=None, run_id=uuid4())
    with pytest.raises(PermanentError, match="admit_request"):
        await rows.admit(submitted, WIDE)
    assert await rows.find_job(submitted.run_id) is None


@pytest.mark.parametrize(
    "ending",
    [
        lambda submitted: ("select complete_run(%s)", [Jsonb(run_values(finished_run(run_id=submitted.run_id), STORED))]),
        lambda submitted: ("select fail_run(%s, 1, 'broken', now())", [str(submitted.run_id)]),
        lambda submitted: ("select admit_request(%s, %s)", [Jsonb(admission_values(submitted)), Jsonb(limit_values(WIDE))]),
    ],
    ids=["complete", "fail", "admit"],
)
async def test_a_run_is_never_seen_between_flight_and_finish(connect, ending):
    """While one decision is being made, no run ends and no other decision is made."""
    deciding, waiting = await connect(), await connect()
    submitted = request()
    await waiting.execute("set lock_timeout = '100ms'")
    async with deciding.transaction():
        await deciding.execute("select lock_runs()")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await waiting.execute(*ending(submitted))
    await waiting.execute(*ending(submitted))
    for connection in (deciding, waiting):
        await connection.close()


def test_every_field_of_a_request_reaches_the_database():
    """A request is sent as plain JSON, with its ids as text."""
    submitted = request(found_run={"run_id": "r"}, gone_run_id="g", rejection=Rejection(RejectionType.QUEUE_FULL, "m"))
    values = orjson.loads(orjson.dumps(admission_values(submitted)))
    assert UUID(values["request_id"]) == submitted.request_id
    assert (values["pairs_total"], values["rejection"], values["gone_run_id"]) == (600, {"type": "queue_full", "message": "m"}, "g")
