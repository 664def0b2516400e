"""``extents jobs``: lists and cancels jobs."""

import asyncio
import time
from typing import Any, Final
from uuid import UUID

import click

from cli.shared.command_group import CommandGroup
from cli.shared.filters import filter_options, list_rows, who, with_listings
from cli.shared.listing import Column, Row, age, cell, listing_options, moment_text, print_rows
from cli.shared.output import print_facts, print_json, remark
from cli.shared.parameters import json_option
from core.counts import counted
from core.settings import Settings
from storage.connect import open_listings
from storage.listings import Filter, Listings
from streams.kafka.brokers import require_topics
from streams.kafka.cancelling import cancel_runs
from streams.topics import Topics

UNFINISHED: Final = ("queued", "running")

_SETTINGS: Final = "\n\b\nSettings: SUPABASE_*; KAFKA_* and EXTENTS_TOPIC_PREFIX to cancel."

_COLUMNS: Final = (
    Column("run", lambda row: (row["run_id"] or row["id"])[:8]),
    cell("video_id", heading="video"),
    cell("status"),
    cell("priority"),
    Column("model", lambda row: row["model_version"], flexible=True),
    Column("pairs", lambda row: _pairs(row), right=True),
    age("created_at"),
)


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  extents jobs list --status running
  extents jobs show 3f2b8c1e
  extents jobs cancel 3f2b8c1e --reason "wrong crop"
{_SETTINGS}""",
)
def command() -> None:
    """List jobs, show one, and cancel unfinished ones. A JOB is the id of its run, or the first 8 characters of the id."""


@command.command(
    "list",
    epilog=f"""\b
Examples:
  extents jobs list --status failed --since 1d
  extents jobs list --replay nightly --all --json-lines | jq -r .video_id
{_SETTINGS}""",
)
@filter_options("tenant_id", "video_id", "model_version", "status", "priority", "replay_id", "since", "until")
@listing_options
def list_jobs(**options: Any) -> None:
    """List jobs, newest first. The table shows ages; --json has every column and the times."""
    list_rows(Listings.jobs, _COLUMNS, "job", options)


@command.command(
    epilog=f"""\b
Examples:
  extents jobs show 3f2b8c1e
  extents jobs show 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55 --json
{_SETTINGS}"""
)
@click.argument("job")
@json_option
def show(job: str, as_json: bool) -> None:
    """Show everything about one job."""
    row = with_listings(lambda listings: _find(listings, job))
    if as_json:
        print_json(row)
        return
    print_facts(
        [
            ("run", f"{row['run_id'] or 'none: queued by the former service'}, attempt {row['attempt']}"),
            ("status", row["status"]),
            *([("error", row["error_message"])] if row["error_message"] else []),
            ("video", f"{row['video_id']}, cropped frames version {row['cropped_frames_version']}"),
            ("tenant", row["tenant_id"]),
            ("model", row["model_version"]),
            ("priority", row["priority"]),
            *([("replay", row["replay_id"])] if row["replay_id"] else []),
            ("pairs", _pairs(row)),
            ("queued", f"{moment_text(row['created_at'])} UTC"),
            ("started", _utc(row["started_at"])),
            ("ended", _utc(row["completed_at"])),
            ("GPU", "" if row["gpu_seconds"] is None else f"{row['gpu_seconds']:.1f} s"),
            ("estimate", "" if row["estimated_cost_usd"] is None else f"${row['estimated_cost_usd']:.4f}"),
            ("request", row["request_id"] or ""),
        ]
    )


@command.command(
    epilog=f"""\b
Examples:
  extents jobs cancel 3f2b8c1e --reason "wrong crop"
  extents jobs cancel --replay nightly --yes
\b
Exit status 1 if a job was not cancelled in time.
{_SETTINGS}"""
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--replay", "replay_id", metavar="ID", help="Every unfinished job that this replay sent.")
@click.option("--reason", default="", metavar="TEXT", help="The reason, which the outcome quotes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--wait", "wait_seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS", help="Time to wait."
)
@json_option
def cancel(jobs: tuple[str, ...], replay_id: str | None, reason: str, yes: bool, wait_seconds: float, as_json: bool) -> None:
    """Cancel jobs, and wait until they have ended. Spans that have not started are not computed.

    The event is inference.failed with the outcome "cancelled", and says who cancelled and why. A result that was complete
    before the cancellation is kept.
    """
    if bool(jobs) == bool(replay_id):
        raise click.UsageError("name jobs, or a replay with --replay")
    settings = Settings()
    topics = Topics(settings.topics)
    rows = with_listings(lambda listings: _chosen(listings, jobs, replay_id))
    for row in rows:
        if row["run_id"] is None:
            raise click.ClickException(f"job {row['id']} was queued by the former service, so it cannot be cancelled here")
    unfinished = [row for row in rows if row["status"] in UNFINISHED]
    for row in rows:
        if row["status"] not in UNFINISHED:
            remark(f"{row['run_id']} is already {row['status']}")
    if not as_json and unfinished:
        print_rows(_COLUMNS, unfinished)
    if unfinished and not yes:
        click.confirm(f"cancel {counted(len(unfinished), 'job')}?", abort=True, err=True)
    text = f"cancelled by {who()}" + (f": {reason}" if reason else "")

    async def run() -> list[Row]:
        await require_topics(settings.kafka, [topics.results])
        await cancel_runs(settings.kafka, topics, [(UUID(row["run_id"]), row["attempt"]) for row in unfinished], text)
        async with open_listings(settings.supabase) as listings:
            return await _ended(listings, unfinished, wait_seconds)

    ended = asyncio.run(run()) if unfinished else []
    if as_json:
        print_json([{"run_id": row["run_id"], "status": row["status"], "error": row["error_message"]} for row in ended])
    late = [row["run_id"] for row in ended if row["status"] in UNFINISHED]
    remark(f"{len(ended) - len(late)} of {len(ended)} ended")
    if late:
        remark(f"still queued or running: {', '.join(late)}; the cancellation is in the log, and a coordinator will see it")
        raise click.exceptions.Exit(1)


async def _chosen(listings: Listings, jobs: tuple[str, ...], replay_id: str | None) -> list[Row]:
    if replay_id is None:
        return [await _find(listings, job) for job in jobs]
    unfinished: list[Row] = []
    for status in UNFINISHED:
        unfinished += [row async for row in listings.jobs(Filter(replay_id=replay_id, status=status))]
    return unfinished


async def _find(listings: Listings, name: str) -> Row:
    row = await listings.job(name)
    if row is None:
        raise click.ClickException(f"no job {name}; extents jobs list shows all jobs")
    return row


async def _ended(listings: Listings, jobs: list[Row], wait_seconds: float) -> list[Row]:
    """Return the jobs once all have ended, or when the time is up."""
    deadline = time.monotonic() + wait_seconds
    while True:
        rows = [await _find(listings, job["run_id"]) for job in jobs]
        if time.monotonic() > deadline or all(row["status"] not in UNFINISHED for row in rows):
            return rows
        await asyncio.sleep(0.5)


def _pairs(row: Row) -> str:
    return "" if row["pairs_total"] is None else f"{row['pairs_done']}/{row['pairs_total']}"


def _utc(value: str | None) -> str:
    return "no" if value is None else f"{moment_text(value)} UTC"
