"""Progress of running jobs, in the real database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from core.settings import SupabaseSettings
from storage.connect import open_rows
from storage.rows import Rows
from streams.coordinator.progress import Progress
from streams.policy.run_log import fold
from streams.policy.run_state import RunState
from streams.runtime.circuit_breaker import CircuitBreaker
from tests.storage.admission_requests import WIDE, request
from tests.streams.run_logs import done, failed, started, taken
from tests.streams.waiting import until


@pytest.fixture
async def rows(namespace) -> AsyncIterator[Rows]:
    env = namespace.env
    settings = SupabaseSettings(
        _env_file=None, url=env["SUPABASE_URL"], service_role_key=env["SUPABASE_SERVICE_ROLE_KEY"], SUPABASE_SCHEMA=env["SUPABASE_SCHEMA"]
    )
    async with open_rows(settings) as opened:
        yield opened


def state_of(run_id, *records) -> RunState:
    state = None
    for offset, record in enumerate(records):
        state = fold(state, record, offset, 1000 * offset).state
    return state.model_copy(update={"run_id": str(run_id)})


@asynccontextmanager
async def running(progress: Progress) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(progress.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_written(rows: Rows, run_id, pairs: int):
    for _ in range(300):
        job = await rows.find_job(run_id)
        if job is not None and job.pairs_done == pairs:
            return job
        await asyncio.sleep(0.05)
    raise AssertionError(f"{pairs} pairs were never written")


async def test_a_running_job_shows_how_far_it_is(rows):
    """Pairs and start are written for each run, from its latest state only."""
    all_submitted = [request(), request()]
    for submitted in all_submitted:
        await rows.admit(submitted, WIDE)
    progress = Progress(rows, CircuitBreaker("database", rows.check), 0.05)
    for submitted in all_submitted:
        for spans in ([0], [0, 2], [0, 1]):
            progress.note(state_of(submitted.run_id, started(), taken(0), *(done(span) for span in spans)))
    async with running(progress):
        jobs = [await until_written(rows, submitted.run_id, 1024) for submitted in all_submitted]
        assert [job.status for job in jobs] == ["running", "running"]
        assert jobs[0].started_at == taken(0).taken_at
        progress.note(state_of(all_submitted[0].run_id, started(), taken(0), done(0), done(1), done(0)).model_copy(update={"done": [0, 1]}))
        first = all_submitted[0].run_id
        await until_written(rows, first, 1024)


async def test_progress_is_not_written_for_waiting_or_ended_runs(rows):
    """Before a span is taken there is nothing to write, and ended runs belong to the finisher."""
    waiting, ended, alive = request(), request(), request()
    for submitted in (waiting, ended, alive):
        await rows.admit(submitted, WIDE)
    progress = Progress(rows, CircuitBreaker("database", rows.check), 0.05)
    progress.note(state_of(waiting.run_id, started()))
    progress.note(state_of(ended.run_id, started(), taken(0), done(0)))
    progress.note(state_of(ended.run_id, started(), taken(0), done(0), failed(1, final=True)))
    progress.note(state_of(alive.run_id, started(), taken(0), done(0)))
    async with running(progress):
        await until_written(rows, alive.run_id, 512)
    for submitted in (waiting, ended):
        job = await rows.find_job(submitted.run_id)
        assert (job.status, job.pairs_done) == ("queued", 0)


async def test_an_unreachable_database_stops_nothing():
    """Updating progress is best effort: it continues after an error, and nothing waits for it."""
    settings = SupabaseSettings(_env_file=None, url="http://127.0.0.1:9", service_role_key="none")
    async with open_rows(settings) as breaker:
        progress = Progress(breaker, CircuitBreaker("database", breaker.check), 0.01)
        async with running(progress) as task:
            for _ in range(3):
                progress.note(state_of(uuid4(), started(), taken(0), done(0)))
                await asyncio.sleep(0.2)
            assert not task.done()


async def test_nothing_is_written_while_the_database_breaker_is_open():
    """During an outage running jobs do not try the database one by one; the next updates after it are written again."""
    written = []

    class Recorded:
        async def record_progress(self, run_id, attempt, pairs_done, started_at) -> None:
            written.append(pairs_done)

    breaker = CircuitBreaker("database", lambda: asyncio.sleep(0))
    progress = Progress(Recorded(), breaker, 0.01)
    async with running(progress):
        breaker.is_open = True
        progress.note(state_of(uuid4(), started(), taken(0), done(0)))
        await until(lambda: not progress._latest)
        breaker.is_open = False
        progress.note(state_of(uuid4(), started(), taken(0), done(0), done(1)))
        await until(lambda: written)
    assert written == [1024]
