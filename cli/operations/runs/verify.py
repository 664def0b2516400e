"""``extents verify``: checks that finished runs agree with their rows, and with their model."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import click

from cli.operations.runs.runs import find_run
from cli.shared.filters import filter_options, split_filter
from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import print_json, progress, remark
from cli.shared.parameters import json_option
from core.counts import counted
from core.errors import CorruptInputError, MissingObjectError
from core.moments import parse_moment
from core.settings import Settings
from storage.connect import open_listings, open_store
from storage.listings import Filter, Listings
from storage.objects import ObjectStore
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

if TYPE_CHECKING:
    from cli.operations.runs.recompute import Recomputed, Recomputer

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
  extents verify --since 1d --sample 20
\b
Exit status 1 if a run does not agree with its row, or a pair is predicted differently.
\b
Settings: SUPABASE_*, WASABI_*; EXTENTS_DEVICE, EXTENTS_MODEL_CACHE and EXTENTS_KEY_* for --sample."""
)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@filter_options("tenant_id", "video_id", "model_version", "since", "until")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also predict N pairs of each run again (models other than the built-in one need torch).",
)
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Seed that chooses the pairs of --sample.")
@json_option
def command(runs: tuple[str, ...], sample: int | None, seed: int, as_json: bool, **options: Any) -> None:
    """Read the databases of finished runs, and compare them with their rows.

    Each object must exist with the size and the SHA-256 of its row, be undamaged, and hold the run, the model, the frames
    and the pairs that the row names. With --sample, some pairs of each run are predicted again with the run's model and the
    frames in the store; a difference beyond rounding is a fault. A run whose frames or model are gone is skipped.
    """
    chosen, _ = split_filter(options)
    if not runs and chosen == Filter():
        raise click.UsageError("name runs, or select them with --since, --until, --tenant, --video or --model")
    result = asyncio.run(_verify(runs, chosen, sample, seed))
    if as_json:
        print_json(result)
    elif result["faults"]:
        print_rows(_COLUMNS, result["faults"])
    if sample is not None:
        for row in result["skipped"]:
            remark(f"run {row['run_id'][:8]} was not predicted again: {row['reason']}")
        remark(f"{counted(result['sampled_pairs'], 'pair')} predicted again; they differ by {result['greatest_difference']:.1g} at most")
    remark(f"{counted(result['runs'], 'run')} verified, {len(result['faults'])} with a fault")
    if result["faults"]:
        raise click.exceptions.Exit(1)


async def _verify(runs: tuple[str, ...], chosen: Filter, sample: int | None, seed: int) -> dict[str, Any]:
    settings = Settings()
    faults: list[Row] = []
    skipped: list[Row] = []
    sampled: list[Recomputed] = []
    async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
        recomputer = None if sample is None else _recomputer(settings, store, sample, seed)
        rows = [row async for row in _chosen(listings, runs, chosen)]
        with progress("verifying", "runs") as report:
            for begin in range(0, len(rows), AT_A_TIME):
                batch = rows[begin : begin + AT_A_TIME]
                for row, run_or_fault in zip(batch, await asyncio.gather(*(_read(store, row) for row in batch)), strict=True):
                    fault = run_or_fault if isinstance(run_or_fault, str) else None
                    if recomputer is not None and not isinstance(run_or_fault, str):
                        again = await recomputer.check(run_or_fault, row)
                        fault = again.fault
                        sampled.append(again)
                        if again.skipped:
                            skipped.append({"run_id": row["run_id"], "video_id": row["video_id"], "reason": again.skipped})
                    if fault is not None:
                        faults.append({"run_id": row["run_id"], "video_id": row["video_id"], "fault": fault})
                report(begin + len(batch), len(rows))
    summary = {
        "sampled_pairs": sum(check.pairs for check in sampled),
        "greatest_difference": max((check.difference for check in sampled), default=0.0),
        "skipped": skipped,
    }
    return {"runs": len(rows), "faults": faults, **(summary if recomputer else {})}


def _recomputer(settings: Settings, store: ObjectStore, sample: int, seed: int) -> "Recomputer":
    from cli.operations.runs.recompute import Recomputer  # loads torch

    return Recomputer(settings, store, sample, seed)


async def _chosen(listings: Listings, runs: tuple[str, ...], chosen: Filter) -> AsyncIterator[Row]:
    for name in runs:
        yield await find_run(listings, name)
    if not runs:
        async for row in listings.run_history(chosen):
            if row["deleted_at"] is None:
                yield row


async def _read(store: ObjectStore, row: Row) -> RunDatabase | str:
    """Return a run's database, or what is wrong with it."""
    key = row["wasabi_storage_key"]
    try:
        data = await store.get(key, MAX_RUN_DB_BYTES)
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        if row["sha256"] not in (None, sha256):
            return f"SHA-256 is {sha256[:12]}..., the row says {row['sha256'][:12]}..."
        if row["file_size_bytes"] not in (None, len(data)):
            return f"{len(data)} bytes, the row says {row['file_size_bytes']}"
        run = await asyncio.to_thread(read_run_db, data, key)
        return disagreement(run, row) or run
    except MissingObjectError:
        return f"not in the store: {key}"
    except CorruptInputError as error:
        return str(error)


def disagreement(run: RunDatabase, row: Row) -> str | None:
    """The first thing in which a run database and its row differ."""
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("run", run.run_id, row["run_id"]),
        ("model", run.model_version, row["model_version"]),
        ("cropped frames version", run.cropped_frames_version, row["cropped_frames_version"]),
        ("pairs", run.pairs, row["total_pairs"]),
        ("completed", run.completed_at, parse_moment(row["completed_at"])),
    )
    return next((f"{name} is {inside}, the row says {outside}" for name, inside, outside in pairs if inside != outside), None)
