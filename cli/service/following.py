"""Follows a request to its outcome: the event ends the wait, and the job's row shows the progress."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.shared.output import bar, remark
from core.errors import TransientError
from core.settings import Settings
from core.types import Priority
from storage.row_values import JobRow
from storage.rows import Rows
from streams.kafka.client import OutcomeReader, Published, ReceivedOutcome
from streams.kafka.group_state import has_members
from streams.topics import COORDINATOR, GPU_WORKER, Topics

LOOK_EVERY_SECONDS: Final = 0.5

PATIENCE_SECONDS: Final = 10.0
"""After this many seconds without progress, there may be no coordinator that reads the topic."""


async def follow(outcomes: OutcomeReader, rows: Rows, request: UUID, timeout_seconds: float | None) -> ReceivedOutcome | None:
    """Wait for a request's outcome, with a line of progress on standard error if that is a terminal.

    Returns:
        None if there was no outcome in time.
    """
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[pairs]}"), TimeElapsedColumn())
    with bar(*columns) as shown:
        async with beside(_show(shown, rows, request)):
            with suppress(TimeoutError):
                return await asyncio.wait_for(outcomes.wait_for(request), timeout_seconds)
    return None


async def _show(shown: Progress | None, rows: Rows, request: UUID) -> None:
    if shown is None:
        return
    line = shown.add_task("waiting", total=None, pairs="")
    while True:
        with suppress(TransientError):  # only for display; the event has the outcome
            job = await _job(rows, request)
            if job is not None:
                pairs = f"{job.pairs_done}/{job.pairs_total} pairs"
                shown.update(line, description=job.status, completed=job.pairs_done, total=job.pairs_total, pairs=pairs)
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _job(rows: Rows, request: UUID) -> JobRow | None:
    answer = await rows.find_answer(request)
    return None if answer is None or answer.run_id is None or answer.attempt is None else await rows.find_job(UUID(answer.run_id))


async def warn_if_unread(settings: Settings, topics: Topics, rows: Rows, published: Published) -> None:
    """Warn once, after some seconds without progress, if nobody reads the request's topic."""
    await asyncio.sleep(PATIENCE_SECONDS)
    with suppress(TransientError):
        job = await _job(rows, published.request_id)
        if await rows.find_answer(published.request_id) is None:
            role, command, topic = COORDINATOR, "coordinator", published.topic
        elif job is not None and job.status == "queued":
            role, command, topic = GPU_WORKER, "gpu", topics.work(Priority(job.priority))
        else:
            return
        if not await has_members(settings.kafka, topics.group(role)):
            remark(f"waiting: nobody reads {topic}; start a worker: extents worker {command}")


@asynccontextmanager
async def beside(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
