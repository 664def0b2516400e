"""``extents runs``: lists, fetches and deletes finished runs."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any, Final

import click

from cli.shared.command_group import CommandGroup
from cli.shared.filters import filter_options, list_rows, with_listings
from cli.shared.listing import Column, Row, age, cell, listing_options, moment_text
from cli.shared.output import print_facts, print_json, remark
from cli.shared.parameters import json_option
from core.errors import CorruptInputError
from core.files import make_parent, write_whole
from core.settings import Settings
from core.sizes import size
from storage.connect import open_listings, open_store
from storage.housekeeping import delete_run
from storage.listings import Listings, run_state
from storage.run_db_reader import MAX_RUN_DB_BYTES

_SETTINGS: Final = "\n\b\nSettings: SUPABASE_*; WASABI_* to get or remove."

_COLUMNS: Final = (
    Column("run", lambda row: row["run_id"][:8]),
    cell("video_id", heading="video"),
    Column("v", lambda row: str(row["cropped_frames_version"]), right=True),
    Column("model", lambda row: row["model_version"], flexible=True),
    Column("pairs", lambda row: str(row["total_pairs"]), right=True),
    Column("size", lambda row: size(row["file_size_bytes"] or 0), right=True),
    Column("state", run_state),
    age("completed_at"),
)


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  extents runs list --video UUID
  extents runs get 3f2b8c1e -o run.db
{_SETTINGS}""",
)
def command() -> None:
    """List and show finished runs, and fetch or delete their databases. A RUN is a run's id, or the first 8 characters of it."""


@command.command(
    "list",
    epilog=f"""\b
Examples:
  extents runs list --model mrn0fkfd --since 7d
  extents runs list --superseded --all --json-lines
{_SETTINGS}""",
)
@filter_options("tenant_id", "video_id", "model_version", "since", "until")
@click.option("--superseded", is_flag=True, default=None, help="Only superseded runs that are still stored.")
@click.option("--latest", is_flag=True, help="Only the latest run of each video, version and model.")
@listing_options
def list_runs(superseded: bool | None, latest: bool, **options: Any) -> None:
    """List finished runs, newest first. These are the latest of each video, version and model, and superseded ones."""
    list_rows(Listings.run_history, _COLUMNS, "run", options, superseded=False if latest else superseded)


@command.command(
    epilog=f"""\b
Examples:
  extents runs show 3f2b8c1e
{_SETTINGS}"""
)
@click.argument("run")
@json_option
def show(run: str, as_json: bool) -> None:
    """Show what is known about one run. To see what its database holds: extents runs get RUN, extents show FILE."""
    row = with_listings(lambda listings: find_run(listings, run))
    if as_json:
        print_json(row)
        return
    print_facts(run_facts(row))


def run_facts(row: Row) -> list[tuple[str, str]]:
    state = run_state(row)
    if row["superseded_by"]:
        state += f" by {row['superseded_by']} at {moment_text(row['superseded_at'])} UTC"
    if row["deleted_at"]:
        state += f", its database was deleted at {moment_text(row['deleted_at'])} UTC"
    chosen = (row["provenance"] or {}).get("model_chosen")
    return [
        ("run", row["run_id"]),
        ("state", state),
        ("video", f"{row['video_id']}, cropped frames version {row['cropped_frames_version']}"),
        ("tenant", row["tenant_id"]),
        ("model", row["model_version"] + (f" ({chosen})" if chosen else "")),
        ("precision", row["precision"] or "unknown"),
        ("completed", f"{moment_text(row['completed_at'])} UTC, {row['total_pairs']} pairs"),
        ("GPU", "unknown" if row["gpu_seconds"] is None else f"{row['gpu_seconds']:.1f} s"),
        ("run DB", f"{row['wasabi_storage_key']} ({size(row['file_size_bytes'] or 0)})"),
        ("SHA-256", row["sha256"] or "unknown"),
    ]


@command.command(
    epilog=f"""\b
Examples:
  extents runs get 3f2b8c1e -o run.db && extents show run.db
{_SETTINGS}"""
)
@click.argument("run")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="File to write.  [default: RUN.db]")
def get(run: str, output: Path | None) -> None:
    """Fetch a run's database, and check it against its hash. An existing file is replaced."""
    if output is not None:
        make_parent(output)

    async def fetch() -> Path:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            row = await find_run(listings, run)
            data = await store.get(row["wasabi_storage_key"], MAX_RUN_DB_BYTES)
        sha256 = hashlib.sha256(data).hexdigest()
        if row["sha256"] not in (None, sha256):
            raise CorruptInputError(f"{row['wasabi_storage_key']} has SHA-256 {sha256}; its row says {row['sha256']}: extents verify {run}")
        target = output or Path(f"{row['run_id']}.db")
        write_whole(target, data)
        return target

    click.echo(str(asyncio.run(fetch())))


@command.command(
    epilog=f"""\b
Examples:
  extents runs rm 3f2b8c1e
  extents runs rm 3f2b8c1e --only --yes
{_SETTINGS}"""
)
@click.argument("run")
@click.option("--only", is_flag=True, help="Delete it even if the video has no other run of its version.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(run: str, only: bool, yes: bool) -> None:
    """Delete a run. Its row goes first, so that the web application never points at a missing database."""

    async def look(listings: Listings) -> tuple[Row, int]:
        row = await find_run(listings, run)
        present = await listings.present_runs([row["video_id"]])
        others = [other for other in present if other["cropped_frames_version"] == row["cropped_frames_version"]]
        return row, sum(other["run_id"] != row["run_id"] for other in others)

    row, others = with_listings(look)
    if run_state(row) == "latest" and not others and not only:
        raise click.ClickException(f"run {row['run_id']} is the only one of video {row['video_id']}; to delete it, add --only")
    if not yes:
        click.confirm(f"delete run {row['run_id']} ({size(row['file_size_bytes'] or 0)})?", abort=True, err=True)

    async def delete() -> None:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            await delete_run(listings, store, row)

    asyncio.run(delete())
    remark(f"run {row['run_id']} deleted")


async def find_run(listings: Listings, name: str) -> dict[str, Any]:
    row = await listings.run(name)
    if row is None:
        raise click.ClickException(f"no run {name}; extents runs list shows all runs")
    return row
