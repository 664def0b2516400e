"""Admission's limits hold exactly, also for simultaneous requests, and their messages name the setting."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from core.admission import AdmissionAnswer, Decision
from core.runs import StoredRun
from core.types import Priority, RejectionType
from storage.row_values import admission_values, limit_values
from tests.storage.admission_requests import WIDE, admit, complete, limits, request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STORED = StoredRun("runs/x.db", 4096, "0" * 64, 1, False)


async def test_a_forced_run_too_soon_is_refused(rows):
    """A forced request within the window is rejected at either priority, and a request without force is not."""
    submitted = request()
    await rows.admit(submitted, WIDE)
    for priority in Priority:
        answer = await rows.admit(request(submitted.tenant_id, submitted.video_id, force=True, priority=priority), WIDE)
        assert answer.rejection.type is RejectionType.RATE_LIMITED
        assert f"video {submitted.video_id} was last admitted 0 s ago" in answer.rejection.message
        assert "accepted 600 s after the last (EXTENTS_RATE_LIMIT_SECONDS)" in answer.rejection.message
    other = request(submitted.tenant_id, submitted.video_id, cropped_frames_version=2)
    assert (await rows.admit(other, WIDE)).decision is Decision.RUN
    assert (await rows.admit(request(submitted.tenant_id, force=True), WIDE)).decision is Decision.RUN


@pytest.mark.parametrize(
    ("limit", "rejection_type", "variable"),
    [
        ("max_high_jobs_per_hour_tenant", RejectionType.RATE_LIMITED, "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT"),
        ("queue_limit_tenant", RejectionType.QUEUE_FULL, "EXTENTS_QUEUE_LIMIT_TENANT"),
    ],
)
async def test_a_tenants_limit_is_its_own(rows, limit, rejection_type, variable):
    """At a tenant's limit its next high-priority job is rejected with number, limit and setting; low ones and other tenants' are not."""
    tenant = uuid4()
    for _ in range(2):
        assert (await rows.admit(request(tenant), limits(**{limit: 2}))).decision is Decision.RUN
    answer = await rows.admit(request(tenant), limits(**{limit: 2}))
    assert answer.rejection.type is rejection_type
    assert answer.rejection.message.startswith(f"2 high-priority jobs of tenant {tenant} ")
    assert answer.rejection.message.endswith(f"the limit is 2 ({variable})")
    assert (await rows.admit(request(tenant, priority=Priority.LOW), limits(**{limit: 2}))).decision is Decision.RUN
    assert (await rows.admit(request(), limits(**{limit: 2}))).decision is Decision.RUN


async def test_a_finished_job_makes_room_in_the_queue_but_not_in_the_hour(rows):
    """The queue limit counts unfinished jobs, the hourly limit admitted ones."""
    first = request()
    queue, hour = limits(queue_limit_tenant=1), limits(max_high_jobs_per_hour_tenant=1)
    await rows.admit(first, queue)
    assert (await rows.admit(request(first.tenant_id), queue)).rejection.type is RejectionType.QUEUE_FULL
    await complete(rows, first)
    assert (await rows.admit(request(first.tenant_id), hour)).rejection.type is RejectionType.RATE_LIMITED
    assert (await rows.admit(request(first.tenant_id), queue)).decision is Decision.RUN


async def test_a_job_beyond_its_deadline_does_not_hold_the_queue(rows):
    """A job past its deadline no longer counts for the queue, and the deadline starts when the job does."""
    first = request()
    queue = limits(queue_limit_tenant=1)
    await rows.admit(first, queue)
    began = datetime.now(UTC) - timedelta(seconds=3500)
    await rows.record_progress(first.run_id, 1, 1, began)
    assert (await rows.admit(request(first.tenant_id), queue)).rejection.type is RejectionType.QUEUE_FULL
    assert (await rows.admit(request(first.tenant_id), replace(queue, deadline_high_seconds=3400))).decision is Decision.RUN


async def test_many_at_once_keep_the_tenants_limit(rows):
    """Of forty simultaneous requests of a tenant, exactly as many run as the limit allows."""
    tenant = uuid4()
    answers = await asyncio.gather(*(rows.admit(request(tenant), limits(queue_limit_tenant=7)) for _ in range(40)))
    assert Counter(answer.decision for answer in answers) == {Decision.RUN: 7, Decision.REJECTED: 33}


@pytest.mark.parametrize(
    ("limit", "rejection_type", "variable"),
    [
        ("max_high_jobs_per_hour", RejectionType.RATE_LIMITED, "EXTENTS_MAX_HIGH_JOBS_PER_HOUR"),
        ("queue_limit", RejectionType.QUEUE_FULL, "EXTENTS_QUEUE_LIMIT"),
    ],
)
async def test_the_limit_over_all_holds_exactly(connect, limit, rejection_type, variable):
    """Of sixty requests of as many tenants over eight connections, exactly the limit runs, and the others are rejected with the reason."""
    connections = [await connect() for _ in range(8)]
    submitted = iter([request() for _ in range(60)])

    async def work(connection) -> list[AdmissionAnswer]:
        return [await admit(connection, item, limits(**{limit: 11})) for item in submitted]

    answers = list(chain.from_iterable(await asyncio.gather(*(work(connection) for connection in connections))))
    assert Counter(answer.decision for answer in answers) == {Decision.RUN: 11, Decision.REJECTED: 49}
    refused = {(answer.rejection.type, answer.rejection.message) for answer in answers if answer.rejection}
    ((kind, message),) = refused
    assert kind is rejection_type
    assert message.startswith("11 high-priority jobs ")
    assert message.endswith(f"the limit is 11 ({variable})")
    tables = ("jobs", "rejections", "requests")
    counts = await connections[0].execute(
        "select " + ", ".join(f"(select count(*) from caption_frame_extents_inference_{table})" for table in tables)
    )
    assert await counts.fetchone() == (11, 49, 60)
    for connection in connections:
        await connection.close()


async def test_limits_look_back_only_so_far(connect):
    """An admission an hour ago counts for no rate limit, and a forced run after the window is accepted."""
    connection = await connect()
    submitted = request()
    hourly = limits(max_high_jobs_per_hour=1)
    assert (await admit(connection, submitted, hourly)).decision is Decision.RUN
    assert (await admit(connection, request(), hourly)).decision is Decision.REJECTED
    await connection.execute("update caption_frame_extents_inference_requests set created_at = created_at - interval '1 hour'")
    assert (await admit(connection, request(submitted.tenant_id, submitted.video_id, force=True), hourly)).decision is Decision.RUN
    await connection.close()


async def test_a_missing_limit_is_an_error(connect):
    """A missing limit is an error, rather than no limit."""
    connection = await connect()
    values = limit_values(WIDE)
    values.pop("queue_limit")
    with pytest.raises(Exception, match="a limit is missing"):
        await connection.execute("select admit_request(%s, %s)", (Jsonb(admission_values(request())), Jsonb(values)))
    await connection.close()
