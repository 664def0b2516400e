"""``extents why``: everything known about a video, in the order of time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from cli.operations.requests.rejections import setting_of
from cli.operations.runs.runs import run_state
from cli.shared.listing import moment_text
from cli.shared.output import print_json, size
from cli.shared.parameters import UuidParameter, json_option
from core.errors import MissingObjectError
from core.moments import parse_moment
from core.settings import Settings
from core.types import FRAMES_PER_SECOND
from storage.connect import open_listings, open_store
from storage.listings import Filter, Listings, Row
from storage.objects import ObjectStore
from streams.kafka.dead_letter_reader import DeadLetterReader
from streams.kafka.run_log_reader import LoggedRecord, read_run_logs
from streams.policy.stored_letters import Selection
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened."""

    at: datetime
    what: str
    detail: str


@click.command(
    epilog="""\b
Examples:
  extents why 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55
  extents why 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55 --json
\b
Exit status 1 when nothing is known of the video.
\b
Settings: SUPABASE_*, WASABI_*, KAFKA_*, EXTENTS_TOPIC_PREFIX."""
)
@click.argument("video", type=UuidParameter())
@json_option
def command(video: UUID, as_json: bool) -> None:
    """Show the history of a video: its requests and decisions, and its runs' spans, rows, objects and dead letters.

    Ends in one sentence.
    """
    moments, sentence = asyncio.run(_look(video))
    if as_json:
        print_json(
            {"video_id": video, "moments": [{"at": one.at, "what": one.what, "detail": one.detail} for one in moments], "why": sentence}
        )
    else:
        for one in moments:
            click.echo(f"{moment_text(one.at)}  {one.what:<10} {one.detail}")
        click.echo(f"{sentence}" if not moments else f"\n{sentence}")
    if not moments:
        raise click.exceptions.Exit(1)


async def _look(video: UUID) -> tuple[list[Moment], str]:
    settings = Settings()
    topics = Topics(settings.topics)
    chosen = Filter(video_id=video)
    async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
        requests = [row async for row in listings.requests(chosen)]
        jobs = [row async for row in listings.jobs(chosen)]
        runs = [row async for row in listings.run_history(chosen)]
        rejections = [row async for row in listings.rejections(chosen)]
        moments = [*map(_requested, requests), *map(_rejected, rejections), *map(_ended, jobs)]
        moments += [one async for one in _stored(listings, store, runs)]
        names = {row["run_id"] for row in jobs if row["run_id"]}
        since = min((parse_moment(row["created_at"]) for row in jobs if row["created_at"]), default=None)
        moments += [_logged(record) for record in await read_run_logs(settings.kafka, topics, names, since)]
    letters = await DeadLetterReader(settings.kafka, topics).read(Selection(handled=True))
    for letter in letters:
        if letter.run_id in names or str(video).encode() in letter.value:
            moments.append(Moment(letter.dead_lettered_at, "dead letter", f"{letter.id}: {letter.reason}, {letter.error}"))
    return sorted(moments, key=lambda one: one.at), _sentence(video, requests, jobs, runs, rejections)


def _requested(row: Row) -> Moment:
    place = f"{row['source_topic']}/{row['source_partition']}/{row['source_offset']}"
    decision = {"run": "a run was started", "join": "joined a run in flight", "found": "a finished run was found", "rejected": "rejected"}
    run = f", run {row['run_id'][:8]}, attempt {row['attempt']}" if row["decision"] in ("run", "join") else ""
    return Moment(_at(row["created_at"]), "request", f"{place}, {row['priority']} priority: {decision[row['decision']]}{run}")


def _rejected(row: Row) -> Moment:
    setting = setting_of(row)
    return Moment(
        _at(row["created_at"]), "rejection", f"{row['rejection_type']}: {row['rejection_message']}" + (f" [{setting}]" if setting else "")
    )


def _ended(row: Row) -> Moment:
    name = f"run {row['run_id'][:8]}, attempt {row['attempt']}" if row["run_id"] else "of the former service"
    error = f": {row['error_message']}" if row["error_message"] else ""
    done = f", {row['pairs_done']}/{row['pairs_total']} pairs" if row["pairs_total"] else ""
    at = row["completed_at"] or row["started_at"] or row["created_at"]
    return Moment(_at(at), "job", f"{name}: {row['status']}{done}{error}")


async def _stored(listings: Listings, store: ObjectStore, runs: list[Row]) -> AsyncIterator[Moment]:
    for row in runs:
        try:
            found = f"{size((await store.head(row['wasabi_storage_key'])).size_bytes)} in the store"
        except MissingObjectError:
            found = "NOT in the store"
        detail = f"{row['run_id'][:8]}, {row['model_version']}, {run_state(row)}: {row['wasabi_storage_key']}, {found}"
        yield Moment(_at(row["completed_at"]), "run", detail)


def _logged(logged: LoggedRecord) -> Moment:
    record: Any = logged.record
    detail = f"{record.kind.replace('_', ' ')}, run {str(record.run_id)[:8]}, attempt {record.attempt}"
    if hasattr(record, "span"):
        detail += f", span {record.span}"
    for name in ("worker", "error", "reason", "model_chosen"):
        if getattr(record, name, None):
            detail += f", {name.replace('_', ' ')} {getattr(record, name)}"
    if hasattr(record, "span_seconds"):
        detail += f", {record.span_seconds:.1f} s, {record.gpu_seconds:.1f} on the device"
    return Moment(logged.at, "log", f"{logged.partition}/{logged.offset}: {detail}")


def _sentence(video: UUID, requests: list[Row], jobs: list[Row], runs: list[Row], rejections: list[Row]) -> str:
    """The summary, from the latest event."""
    if not (requests or jobs or runs or rejections):
        return f"The service has never seen video {video}: no request was decided, and there is no job or run."
    unfinished = [row for row in jobs if row["status"] in ("queued", "running") and row["run_id"]]
    if unfinished:
        row = unfinished[0]
        return f"Run {row['run_id'][:8]} is {row['status']}, with {row['pairs_done']} of {row['pairs_total']} pairs done."
    rejected_last = requests[0]["decision"] == "rejected" if requests else not (jobs or runs)
    if rejected_last and rejections:
        return f"The last request was rejected: {rejections[0]['rejection_message']}."
    if jobs and jobs[0]["status"] == "failed":
        return f"The last run failed: {jobs[0]['error_message']}."
    present = [row for row in runs if run_state(row) == "latest"]
    if present:
        row = present[0]
        seconds = (row["total_pairs"] + 1) / FRAMES_PER_SECOND
        return f"Run {row['run_id'][:8]} of model {row['model_version']} has the result for {seconds:.0f} s of film."
    return "Its runs were deleted, and there is no newer one."


def _at(value: str) -> datetime:
    return parse_moment(value)
