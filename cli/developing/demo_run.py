"""Runs the demo's film through the service: what ``extents demo`` does between making the film and printing the results."""

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cli.developing.demo_check import Row, read_rows
from cli.developing.demo_ui import DemoPage, create_examples, until_interrupted
from cli.developing.dev import create_topics
from cli.film.encoding.encode_folder import Target
from cli.film.encoding.encode_store import encode_to_store
from cli.service.following import follow
from cli.shared.output import progress, remark
from core.errors import PermanentError, TransientError
from core.files import write_whole
from core.settings import ProcessSettings, Settings, WorkerSettings, variable
from devstack.part import REPORT_SECONDS, Part, PartFailedError
from devstack.stack import OwnedStack
from devstack.workers import worker
from storage.connect import open_rows, open_store
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db
from streams.kafka.client import OutcomeReader, ReceivedOutcome, publish
from streams.records import VideoEncoded
from streams.topics import Topics
from tools.sample_film import Sample

_KEPT: Final = (WorkerSettings, ProcessSettings)
_PATIENT: Final = dict.fromkeys(
    (variable(WorkerSettings, f"{step}_limit_seconds") for step in ("fetch", "decode", "predict", "model_load")), "3600"
)
"""On a busy machine a step of the GPU worker may take minutes: it is slow, not hung."""

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DemoRun:
    """The run's outcome; rows and database only if it was completed.

    Attributes:
        database: as read back from the store, verified against the event's SHA-256.
    """

    outcome: ReceivedOutcome
    rows: Sequence[Row] = ()
    database: RunDatabase | None = None


@dataclass(frozen=True, slots=True)
class Viewing:
    """A demo with the live page: ``show`` prints the run before the page is left open."""

    page: DemoPage
    show: Callable[[DemoRun], None]


def run_demo(stack: OwnedStack, sample: Sample, run_db: Path, say: Say, viewing: Viewing | None = None) -> DemoRun:
    """Encode the film, run it through a coordinator and a GPU worker, and write its run database.

    Args:
        viewing: serve the live page from the beginning, and leave it open until Ctrl-C.

    Raises:
        TransientError: a worker ended or is stuck; the message contains the end of its log.
    """
    with chdir(stack.folder):  # a .env in the working directory belongs to another installation
        _settle_environment(stack.env)
        return asyncio.run(_run(stack, sample, run_db, say, viewing))


def _settle_environment(env: Mapping[str, str]) -> None:
    """Use the stack's settings and otherwise the defaults, except for how a worker computes and logs."""
    for section in Settings.SECTIONS:
        if section not in _KEPT:
            for field in section.model_fields:
                os.environ.pop(variable(section, field), None)
    os.environ.update(env)


async def _run(stack: OwnedStack, sample: Sample, run_db: Path, say: Say, viewing: Viewing | None) -> DemoRun:
    settings = Settings()
    topics = Topics(settings.topics)
    await asyncio.to_thread(create_topics, stack)
    own = {"coordinator": viewing.page.environment if viewing else {}, "gpu": {}}
    workers = [
        worker(role, f"worker-{role}", stack.folder, {"EXTENTS_LOG_FORMAT": "text", **_PATIENT, **own[role]})
        for role in ("coordinator", "gpu")
    ]
    tenant, video = uuid.uuid4(), uuid.uuid4()
    try:
        say("encoding the film into the store; starting a coordinator and a GPU worker")
        target, _ = await asyncio.gather(_encode(sample, settings, tenant, video), _start(workers, say))
        if viewing:
            say(f"live page: {viewing.page.address(workers[0])}, token: {viewing.page.token}")
        say(f"{target.chunks} chunks in the store, both workers ready; publishing video.encoded")
        async with OutcomeReader(settings.kafka, topics) as outcomes, open_rows(settings.supabase) as rows:
            event = VideoEncoded(
                tenant_id=tenant, video_id=video, cropped_frames_version=1, frame_count=target.frame_count, event_id="demo"
            )
            published = await publish(settings.kafka, topics, event)
            # Without a time limit: the service itself fails a run that makes no progress.
            outcome = await _while_alive(workers, follow(outcomes, rows, published.request_id, None), say)
            assert outcome is not None
            say(outcome.name)
            if outcome.name != "inference.completed":
                return DemoRun(outcome)
            stored_rows = await read_rows(rows, outcome)
        run = DemoRun(outcome, stored_rows, await _fetch(settings, outcome, run_db))
        if viewing:
            await _leave_open(viewing, run, settings, topics, workers, say)
        return run
    finally:
        await asyncio.gather(*(part.stop() for part in workers))


async def _leave_open(viewing: Viewing, run: DemoRun, settings: Settings, topics: Topics, workers: Sequence[Part], say: Say) -> None:
    say("creating a rejection, a failed run and a replay to look at")
    await _while_alive(workers, create_examples(settings, topics, run.outcome), say)
    viewing.show(run)
    remark(f"\nlive page: {viewing.page.address(workers[0])}\ntoken:     {viewing.page.token}")
    remark("Ctrl-C ends everything and leaves nothing running.")
    await until_interrupted(lambda awaitable: _while_alive(workers, awaitable, lambda _: None))


async def _encode(sample: Sample, settings: Settings, tenant: uuid.UUID, video: uuid.UUID) -> Target:
    with progress("encoding", "frames") as report:
        return await asyncio.to_thread(encode_to_store, sample.path, sample.crop, sample.anchor, settings, tenant, video, 1, report)


async def _start(workers: Iterable[Part], say: Say) -> None:
    try:
        await asyncio.gather(*(part.start(say) for part in workers))
    except PartFailedError as error:
        raise TransientError(str(error)) from error


async def _while_alive(workers: Sequence[Part], awaitable: Awaitable[T], say: Say) -> T:
    """Wait for a result of the workers, report regularly that the wait goes on, and fail as soon as a worker ends."""
    began = time.monotonic()
    task = asyncio.ensure_future(awaitable)
    ends = [asyncio.ensure_future(part.process.wait()) for part in workers if part.process is not None]
    try:
        while not (await asyncio.wait({task, *ends}, timeout=REPORT_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
            say(f"waiting for an outcome, {time.monotonic() - began:.0f} s so far; both workers are running")
        if task.done():
            return task.result()
        gone = [part for part in workers if not part.running]
        raise TransientError(f"{' and '.join(part.name for part in gone)} ended during the run\n{_tails(gone)}")
    finally:
        for pending in (task, *ends):
            pending.cancel()
        await asyncio.gather(task, *ends, return_exceptions=True)


async def _fetch(settings: Settings, outcome: ReceivedOutcome, run_db: Path) -> RunDatabase:
    key, expected = outcome.body["storage_key"], outcome.body["sha256"]
    async with open_store(settings.wasabi) as store:
        data = await store.get(key, MAX_RUN_DB_BYTES)
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise PermanentError(f"{key} has SHA-256 {actual}, but inference.completed says {expected}")
    write_whole(run_db, data)
    return read_run_db(data, key)


def _tails(workers: Iterable[Part]) -> str:
    return "\n".join(part.tail() for part in workers)
