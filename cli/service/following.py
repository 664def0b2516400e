"""Follows a request to its outcome: the event ends it, the job's row shows how far it is."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from core.errors import TransientError
from storage.row_values import JobRow
from storage.rows import Rows
from streams.kafka.client import OutcomeReader, ReceivedOutcome

LOOK_EVERY_SECONDS: Final = 0.5


async def follow(outcomes: OutcomeReader, rows: Rows, request: UUID, timeout_seconds: float | None) -> ReceivedOutcome | None:
    """Wait for a request's outcome, with a line on standard error that shows its progress; nothing where that is no terminal.

    Returns:
        None when there was no outcome in time.
    """
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[pairs]}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        line = bars.add_task("waiting", total=None, pairs="")
        async with _beside(_show(bars, line, rows, request)):
            with suppress(TimeoutError):
                return await asyncio.wait_for(outcomes.wait_for(request), timeout_seconds)
    return None


async def _show(bars: Progress, line: TaskID, rows: Rows, request: UUID) -> None:
    while True:
        with suppress(TransientError):  # the event tells the outcome; this is only for show
            job = await _job(rows, request)
            if job is not None:
                pairs = f"{job.pairs_done}/{job.pairs_total} pairs"
                bars.update(line, description=job.status, completed=job.pairs_done, total=job.pairs_total, pairs=pairs)
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _job(rows: Rows, request: UUID) -> JobRow | None:
    answer = await rows.find_answer(request)
    return None if answer is None or answer.run_id is None or answer.attempt is None else await rows.find_job(UUID(answer.run_id))


@asynccontextmanager
async def _beside(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
