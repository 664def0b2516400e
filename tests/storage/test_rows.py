"""Rows of finished and failed runs only move forward, are written once, and belong to the latest request."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import randrange
from uuid import UUID, uuid4

import psycopg
import pytest

from core.errors import ConfigurationError, TransientError
from core.runs import StoredRun
from storage.listings import Listings
from storage.rows import Completion, Rows
from tests.storage.admission_requests import WIDE, limits, request
from tests.storage.finished_runs import finished_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON = limits(rate_limit_seconds=0)


async def admitted(rows, **changes):
    """Admit a request, and return it with the run that finishes it."""
    submitted = request(**changes)
    answer = await rows.admit(submitted, SOON)
    return submitted, run_of(submitted, answer.attempt)


def run_of(submitted, attempt: int, seed: int = 0):
    return finished_run(
        pairs=600,
        seed=seed,
        run_id=submitted.run_id,
        attempt=attempt,
        request_id=submitted.request_id,
        tenant_id=submitted.tenant_id,
        video_id=submitted.video_id,
        cropped_frames_version=submitted.cropped_frames_version,
        model_version=submitted.model_version,
    )


def stored(run, content: str = "0") -> StoredRun:
    return StoredRun(f"videos/{run.run_id}.db", 123_456_789_012, content * 64, run.attempt, False)


async def find(rows, run):
    return await rows.find_run(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version)


async def test_a_completed_run_has_its_row_and_its_job(rows):
    """The row describes the run's object, and the job points to the row."""
    submitted, run = await admitted(rows)
    completion = await rows.complete_run(run, stored(run))
    row, job = await find(rows, run), await rows.find_job(run.run_id)
    assert completion == Completion(row.id, "owner")
    assert (row.run_id, row.storage_key, row.size_bytes, row.sha256) == (
        str(run.run_id),
        f"videos/{run.run_id}.db",
        123_456_789_012,
        "0" * 64,
    )
    assert (row.total_pairs, row.started_at, row.completed_at, row.request_id) == (
        600,
        run.started_at,
        run.completed_at,
        submitted.request_id,
    )
    assert (job.status, job.pairs_done, job.gpu_seconds, job.run_row_id) == ("completed", 600, 12.5, row.id)
    assert (job.started_at, job.completed_at) == (run.started_at, run.completed_at)


async def test_completing_again_changes_nothing(rows, stack, schema):
    """Repeats, also simultaneous ones, do not write the rows again."""
    _, run = await admitted(rows)
    first = await rows.complete_run(run, stored(run))
    before = (await find(rows, run), await rows.find_job(run.run_id), versions(stack, schema, run))
    assert await asyncio.gather(*(rows.complete_run(run, stored(run)) for _ in range(8))) == [first] * 8
    await rows.fail_run(run.run_id, 1, "too late", NOW)
    await rows.record_progress(run.run_id, 1, 3, NOW)
    assert (await find(rows, run), await rows.find_job(run.run_id), versions(stack, schema, run)) == before


def versions(stack, schema, run) -> list[object]:
    """Return what PostgreSQL changes with every write to a row, even with equal values."""
    with psycopg.connect(stack.dsn) as connection:
        connection.execute(f"set search_path = {schema}")
        return [
            connection.execute(
                f"select xmin, ctid from caption_frame_extents_inference_{table} where run_id = %s", [str(run.run_id)]
            ).fetchall()
            for table in ("runs", "jobs")
        ]


async def test_progress_only_moves_forward(rows):
    """Late reports, and reports of other attempts, change neither a job's progress nor its start."""
    _, run = await admitted(rows)
    await rows.record_progress(run.run_id, 1, 200, NOW)
    await rows.record_progress(run.run_id, 1, 100, NOW + timedelta(seconds=9))
    await rows.record_progress(run.run_id, 2, 500, NOW)
    await rows.record_progress(uuid4(), 1, 500, NOW)
    job = await rows.find_job(run.run_id)
    assert (job.status, job.pairs_done, job.started_at) == ("running", 200, NOW)


async def test_a_failed_run_says_why(rows):
    """The job keeps the first failure's message, and later progress reports do not revive it."""
    _, run = await admitted(rows)
    await rows.fail_run(run.run_id, 1, "chunk \0 is corrupt", NOW)
    await rows.fail_run(run.run_id, 1, "another message", NOW)
    await rows.record_progress(run.run_id, 1, 3, NOW)
    job = await rows.find_job(run.run_id)
    assert (job.status, job.error_message, job.completed_at) == ("failed", "chunk \ufffd is corrupt", NOW)
    assert await find(rows, run) is None


async def test_completion_and_failure_end_alike_in_either_order(rows):
    """A completion overrides a failure of the same attempt, whichever is written first."""
    (_, first), (_, second) = await admitted(rows), await admitted(rows)
    await rows.fail_run(first.run_id, 1, "x", NOW)
    await rows.complete_run(first, stored(first))
    await rows.complete_run(second, stored(second))
    await rows.fail_run(second.run_id, 1, "x", NOW)
    for run in (first, second):
        job = await rows.find_job(run.run_id)
        assert (job.status, job.error_message) == ("completed", None)


async def test_an_overtaken_attempt_changes_nothing(rows):
    """Reports of attempt 1 change nothing once attempt 2 has begun, and are answered as stale."""
    submitted, first = await admitted(rows)
    await rows.fail_run(submitted.run_id, 1, "x", NOW)
    again = replace(submitted, request_id=uuid4())
    await rows.admit(again, WIDE)
    assert await rows.complete_run(first, stored(first, "1")) == Completion(None, "stale")
    await rows.fail_run(submitted.run_id, 1, "late", NOW)
    await rows.record_progress(submitted.run_id, 1, 9, NOW)
    job = await rows.find_job(submitted.run_id)
    assert (job.status, job.attempt, job.pairs_done) == ("queued", 2, 0)
    second = run_of(again, 2)
    completion = await rows.complete_run(second, stored(second, "2"))
    assert await rows.complete_run(first, stored(first, "1")) == Completion(completion.run_row_id, "stale")
    assert (await find(rows, second)).sha256 == "2" * 64


async def test_a_forced_run_takes_the_row_over_and_keeps_its_id(rows):
    """A forced run takes over the video's row and keeps its id, which other tables refer to."""
    submitted, old = await admitted(rows)
    first = await rows.complete_run(old, stored(old))
    _, forced = await admitted(rows, tenant_id=submitted.tenant_id, video_id=submitted.video_id, force=True)
    assert await rows.complete_run(forced, stored(forced, "f")) == first
    row = await find(rows, forced)
    assert (row.id, row.run_id, row.sha256) == (first.run_row_id, str(forced.run_id), "f" * 64)
    assert await rows.complete_run(old, stored(old)) == Completion(first.run_row_id, "superseded")
    assert await find(rows, forced) == row


@pytest.mark.parametrize("later_first", [True, False])
async def test_the_later_request_has_the_row_in_either_order_of_finishing(rows, later_first):
    """Of two runs of one video, the one requested later owns the row, and both jobs are completed."""
    submitted, earlier = await admitted(rows)
    _, later = await admitted(rows, tenant_id=submitted.tenant_id, video_id=submitted.video_id, force=True)
    for run in (later, earlier) if later_first else (earlier, later):
        await rows.complete_run(run, stored(run))
    row = await find(rows, later)
    assert row.run_id == str(later.run_id)
    for run in (earlier, later):
        job = await rows.find_job(run.run_id)
        assert (job.status, job.run_row_id) == ("completed", row.id)


async def test_a_row_of_the_old_service_is_taken_over(rows, stack, schema):
    """A row without a request counts as the earliest, and keeps its id if it is taken over."""
    _, run = await admitted(rows)
    with psycopg.connect(stack.dsn) as connection:
        (row_id,) = connection.execute(
            f"insert into {schema}.caption_frame_extents_inference_runs (run_id, video_id, tenant_id, cropped_frames_version,"
            " model_version, wasabi_storage_key, total_pairs, started_at, completed_at) values (%s, %s, %s, %s, %s, 'k', 600, now(), now())"
            " returning id",
            [f"old-{uuid4()}", run.video_id, run.tenant_id, run.cropped_frames_version, run.model_version],
        ).fetchone()
    row = await find(rows, run)
    assert (row.sha256, row.size_bytes, row.request_id) == (None, None, None)
    assert await rows.complete_run(run, stored(run)) == Completion(row_id, "owner")


async def test_a_run_without_its_job_is_completed_all_the_same(rows):
    """If a run's job is lost, completing the run writes it again."""
    run = finished_run(pairs=3)
    assert (await rows.complete_run(run, stored(run))).outcome == "owner"
    assert (await rows.find_job(run.run_id)).status == "completed"


async def test_missing_rows_are_none(rows):
    """Looking up a missing row gives None."""
    assert await rows.find_job(uuid4()) is None
    assert await rows.find_rejection(uuid4()) is None
    assert await rows.find_run(uuid4(), uuid4(), 1, 'model, with (signs) of a "filter"') is None


async def test_the_right_settings_pass_the_check(rows):
    """The service role passes the check in a migrated schema."""
    await rows.check()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"service_role_key": "nonsense"}, "SUPABASE_SERVICE_ROLE_KEY"),
        ({"schema": "no_such_schema"}, "SUPABASE_SCHEMA"),
        ({"schema": "public"}, "migrations"),
        ({"url": "ftp://127.0.0.1"}, "SUPABASE_URL"),
    ],
)
async def test_a_wrong_setting_is_named(rows_config, changes, complaint):
    """A wrong key, schema or address gives a configuration error that names the setting, without the key."""
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        async with Rows(replace(rows_config, **changes)) as rows:
            await rows.check()
    assert "nonsense" not in str(raised.value)


async def test_the_public_key_may_not_call_the_service(rows_config, stack):
    """The public key of web pages may not call the service's functions."""
    async with Rows(replace(rows_config, service_role_key=stack.config.anon_key)) as rows:
        with pytest.raises(ConfigurationError, match="SUPABASE_SERVICE_ROLE_KEY"):
            await rows.check()


async def test_an_unreachable_database_is_transient(rows_config, unused_tcp_port):
    """A refused connection is transient."""
    async with Rows(replace(rows_config, url=f"http://127.0.0.1:{unused_tcp_port}")) as rows:
        with pytest.raises(TransientError, match="caption_frame_extents_inference_jobs"):
            await rows.find_job(uuid4())


@pytest.mark.parametrize("status", [429, 500, 503, 522])
async def test_a_server_error_is_transient_for_reads_and_calls(rows_config, status):
    """A gateway's error page is transient for reads and calls."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\n<hr>".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Rows(replace(rows_config, url=url)) as rows:
            for call in (rows.find_job(uuid4()), rows.check()):
                with pytest.raises(TransientError, match=str(status)):
                    await call


async def test_closing_closes_the_connections(rows_config):
    """After the context, no connection can be opened."""
    async with Rows(rows_config) as rows:
        await rows.check()
    with pytest.raises(RuntimeError, match="closed"):
        await rows.check()


async def test_hours_of_workers_only_grow(rows, stack, rows_config) -> None:
    """Late, repeated and concurrent calls leave the greatest number of each worker and day; a day has 24 hours at most."""
    day = date(1990, 1, 1) + timedelta(days=randrange(5000))  # the schema is shared
    first, second = uuid4(), uuid4()

    def hours(instance: UUID, seconds: float, days: int = 0) -> dict[str, object]:
        moment = (day + timedelta(days=days)).isoformat()
        return {"instance": str(instance), "day": moment, "worker": "gpu-1:17", "device": "a device", "up_seconds": seconds}

    await asyncio.gather(*(rows.record_worker_hours([hours(first, seconds), hours(second, 10.0)]) for seconds in (60.0, 80.0, 70.0)))
    await rows.record_worker_hours([hours(first, 75.0), hours(first, 100_000.0, days=1)])
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    async with Listings(rows_config) as listings:
        days = await listings.worker_hours(begin, begin + timedelta(days=2))
        assert [(row["workers"], row["up_seconds"]) for row in days] == [(2, 90.0), (1, 86_400.0)]
        assert [row["day"] for row in days] == [day.isoformat(), (day + timedelta(days=1)).isoformat()]
        assert await listings.worker_hours(begin + timedelta(days=2), begin + timedelta(days=3)) == []
