"""``extents cleanup``: deletes runs that are no longer needed, after showing them."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from cli.shared.filters import filter_options, split_filter
from cli.shared.listing import Column, Row, age, print_rows
from cli.shared.output import print_json, progress, remark
from cli.shared.parameters import json_option
from core.counts import counted
from core.moments import parse_moment
from core.settings import Settings
from core.sizes import size
from storage.connect import open_listings, open_store
from storage.housekeeping import delete_run
from storage.listings import Filter, Listings, run_state

STORE_USD_PER_TB_MONTH: Final = 6.99
"""Wasabi's list price; what is deleted within its first 90 days is charged for 90."""

SHOWN: Final = 20

_COLUMNS: Final = (
    Column("run", lambda row: row["run_id"][:8]),
    Column("video", lambda row: row["video_id"]),
    Column("model", lambda row: row["model_version"], flexible=True),
    Column("state", run_state),
    Column("size", lambda row: size(row["file_size_bytes"] or 0), right=True),
    age("completed_at"),
)


@click.command(
    epilog="""\b
Examples:
  extents cleanup --superseded
  extents cleanup --keep-latest 2 --tenant UUID --yes
  extents cleanup --older-than 180 --model mrn0fkfd
\b
Settings: SUPABASE_*, WASABI_*."""
)
@click.option("--superseded", is_flag=True, help="Runs that a newer one of the same video, version and model has superseded.")
@click.option("--keep-latest", type=click.IntRange(min=1), metavar="N", help="All but the latest N runs of each video.")
@click.option("--older-than", type=click.IntRange(min=1), metavar="DAYS", help="Runs that were completed more than DAYS ago.")
@click.option("--only", is_flag=True, help="Include a video's only run.")
@filter_options("tenant_id", "video_id", "model_version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    superseded: bool, keep_latest: int | None, older_than: int | None, only: bool, yes: bool, as_json: bool, **options: object
) -> None:
    """Delete finished runs: rows first, then their databases, so that the web application never points at one that is gone.

    Deletes the runs that meet all of the given conditions. Shows them and asks first. The only run of a video is kept
    unless --only is given. If the command is interrupted, run it again.
    """
    if not (superseded or keep_latest or older_than):
        raise click.UsageError("select runs with --superseded, --keep-latest N or --older-than DAYS")
    chosen, _ = split_filter(dict(options))

    async def find() -> list[Row]:
        async with open_listings(Settings().supabase) as listings:
            return await _find(listings, chosen, superseded, keep_latest, older_than, only)

    rows = asyncio.run(find())
    total = sum(row["file_size_bytes"] or 0 for row in rows)
    if as_json:
        print_json({"runs": rows, "size_bytes": total})
    elif rows:
        print_rows(_COLUMNS, rows[:SHOWN])
        if len(rows) > SHOWN:
            click.echo(f"... and {len(rows) - SHOWN} more")
    remark(f"{counted(len(rows), 'run')}, {size(total)}, ${total / 1e12 * STORE_USD_PER_TB_MONTH:.4f} a month")
    if not rows:
        return
    if not yes:
        click.confirm(f"delete {counted(len(rows), 'run')}?", abort=True, err=True)

    async def delete() -> None:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            with progress("deleting", "runs") as report:
                for number, row in enumerate(rows, start=1):
                    await delete_run(listings, store, row)
                    report(number, len(rows))

    asyncio.run(delete())
    remark(f"{counted(len(rows), 'run')} deleted")


async def _find(
    listings: Listings, chosen: Filter, superseded: bool, keep_latest: int | None, older_than: int | None, only: bool
) -> list[Row]:
    """Return the runs that meet all conditions, by video, newest first."""
    by_video: dict[str, list[Row]] = defaultdict(list)
    async for row in listings.run_history(Filter(tenant_id=chosen.tenant_id, video_id=chosen.video_id)):
        if row["deleted_at"] is None:
            by_video[row["video_id"]].append(row)
    limit = datetime.now(UTC) - timedelta(days=older_than or 0)
    runs_to_delete: list[Row] = []
    for runs in by_video.values():
        # What the web application reads comes first, so that it is the last to go.
        runs.sort(key=lambda row: (row["superseded_by"] is None, row["completed_at"]), reverse=True)
        wanted = [
            row
            for place, row in enumerate(runs)
            if (not superseded or row["superseded_by"] is not None)
            and (keep_latest is None or place >= keep_latest)
            and (older_than is None or parse_moment(row["completed_at"]) < limit)
            and chosen.model_version in (None, row["model_version"])
        ]
        if len(wanted) == len(runs) and not only:
            wanted.remove(runs[0])
        runs_to_delete += wanted
    return runs_to_delete
