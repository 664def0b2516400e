"""``extents verify``: are finished runs what their rows say?"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import click

from cli.operations.runs.runs import find_run
from cli.shared.filters import filter_options, split_filter
from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import print_json, progress, remark
from cli.shared.parameters import json_option
from core.errors import CorruptInputError, MissingObjectError
from core.moments import parse_moment
from core.settings import Settings
from storage.connect import open_listings, open_store
from storage.listings import Filter, Listings
from storage.objects import ObjectStore
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

AT_A_TIME: Final = 8

_COLUMNS: Final = (
    Column("run", lambda row: row["run_id"][:8]),
    cell("video_id", heading="video"),
    Column("fault", lambda row: row["fault"], flexible=True),
)


@click.command(
    epilog="""\b
Examples:
  extents verify 3f2b8c1e
  extents verify --since 7d
  extents verify --since 30d --tenant UUID --json
\b
Exit status 1 when a run is not what its row says.
\b
Settings: SUPABASE_*, WASABI_*."""
)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@filter_options("tenant_id", "video_id", "model_version", "since", "until")
@json_option
def command(runs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Read the databases of finished runs back, and compare them with their rows.

    Each object must be there with the size and the SHA-256 of its row, be undamaged, and hold the run, the model, the frames
    and the pairs that the row names.
    """
    chosen, _ = split_filter(options)
    if not runs and chosen == Filter():
        raise click.UsageError("name runs, or say which: --since, --until, --tenant, --video, --model")

    async def run() -> tuple[int, list[Row]]:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            rows = [row async for row in _chosen(listings, runs, chosen)]
            with progress("verifying", "runs") as report:
                faults: list[Row] = []
                for begin in range(0, len(rows), AT_A_TIME):
                    batch = rows[begin : begin + AT_A_TIME]
                    for row, fault in zip(batch, await asyncio.gather(*(_fault(store, row) for row in batch)), strict=True):
                        if fault is not None:
                            faults.append({"run_id": row["run_id"], "video_id": row["video_id"], "fault": fault})
                    report(begin + len(batch), len(rows))
            return len(rows), faults

    count, faults = asyncio.run(run())
    if as_json:
        print_json({"runs": count, "faults": faults})
    elif faults:
        print_rows(_COLUMNS, faults)
    remark(f"{count} runs verified, {len(faults)} with a fault")
    if faults:
        raise click.exceptions.Exit(1)


async def _chosen(listings: Listings, runs: tuple[str, ...], chosen: Filter) -> AsyncIterator[Row]:
    for name in runs:
        yield await find_run(listings, name)
    if not runs:
        async for row in listings.run_history(chosen):
            if row["deleted_at"] is None:
                yield row


async def _fault(store: ObjectStore, row: Row) -> str | None:
    """What is wrong with a run's object; None if it matches its row."""
    key = row["wasabi_storage_key"]
    try:
        data = await store.get(key, MAX_RUN_DB_BYTES)
        found_sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        if row["sha256"] not in (None, found_sha256):
            return f"SHA-256 is {found_sha256[:12]}..., the row says {row['sha256'][:12]}..."
        if row["file_size_bytes"] not in (None, len(data)):
            return f"{len(data)} bytes, the row says {row['file_size_bytes']}"
        return disagreement(await asyncio.to_thread(read_run_db, data, key), row)
    except MissingObjectError:
        return f"not in the store: {key}"
    except CorruptInputError as error:
        return str(error)


def disagreement(found: RunDatabase, row: Row) -> str | None:
    """The first thing in which a run database and its row differ."""
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("run", found.run_id, row["run_id"]),
        ("model", found.model_version, row["model_version"]),
        ("cropped frames version", found.cropped_frames_version, row["cropped_frames_version"]),
        ("pairs", found.pairs, row["total_pairs"]),
        ("completed", found.completed_at, parse_moment(row["completed_at"])),
    )
    return next((f"{name} is {inside}, the row says {outside}" for name, inside, outside in pairs if inside != outside), None)
