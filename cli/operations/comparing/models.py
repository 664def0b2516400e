"""Compares two models on the videos for which both have a run."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import print_facts, print_json, progress
from core.comparison import Comparison, compare
from core.settings import Settings
from storage.connect import open_listings, open_store
from storage.listings import Filter, Listings
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

VIDEOS_SHOWN: Final = 15

_VIDEO_COLUMNS: Final = (
    cell("video_id", heading="video"),
    Column("changed", lambda row: f"{row['change']:.1%}", right=True),
    cell("captions", right=True),
    cell("moved", right=True),
    cell("added", right=True),
    cell("lost", right=True),
    Column("runs", lambda row: f"{row['before'][:8]} {row['after'][:8]}"),
)


def compare_runs(before: RunDatabase, after: RunDatabase) -> Comparison:
    try:
        return compare(before.track, after.track)
    except ValueError as error:
        raise click.ClickException(f"run {before.run_id} and run {after.run_id}: {error}") from None


def compare_models(models: tuple[str, ...], chosen: Filter, videos: frozenset[str], limit: int, as_json: bool) -> float:
    async def run() -> list[Row]:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            with progress("comparing", "videos") as report:
                pairs = await _pairs(listings, models, chosen, videos, limit)
                comparisons = []
                for number, (before, after) in enumerate(pairs, start=1):
                    read = [read_run_db(await store.get(key, MAX_RUN_DB_BYTES), key) for key in (_key(before), _key(after))]
                    changes: dict[str, Any] = figures(await asyncio.to_thread(compare_runs, read[0], read[1]))
                    comparisons.append({"video_id": before["video_id"], "before": before["run_id"], "after": after["run_id"], **changes})
                    report(number, len(pairs))
                return sorted(comparisons, key=lambda row: -float(row["change"]))

    rows = asyncio.run(run())
    if not rows:
        raise click.ClickException(f"no video has a run of {models[0]} and one of {models[1]} of the same frames")
    captions = sum(row["captions"] for row in rows)
    changed = sum(row["moved"] + row["added"] + row["lost"] for row in rows)
    change = changed / captions if captions else 0.0
    if as_json:
        print_json({"models": models, "change": change, "captions": captions, "videos": rows})
    else:
        print_models(models, change, captions, rows)
    return change


def print_models(models: Sequence[str], change: float, captions: int, rows: Sequence[Row]) -> None:
    print_facts([("before", models[0]), ("after", models[1]), ("captions", f"{change:.1%} of {captions} changed in {len(rows)} videos")])
    click.echo()
    print_rows(_VIDEO_COLUMNS, rows[:VIDEOS_SHOWN])


async def _pairs(listings: Listings, models: tuple[str, ...], chosen: Filter, videos: frozenset[str], limit: int) -> list[tuple[Row, Row]]:
    """Return pairs of the newest runs of both models that are of the same frames."""
    by_model: list[dict[tuple[str, int], Row]] = []
    for model in models:
        runs: dict[tuple[str, int], Row] = {}
        async for row in listings.runs(Filter(tenant_id=chosen.tenant_id, model_version=model)):
            if not videos or row["video_id"] in videos:
                runs.setdefault((row["video_id"], row["cropped_frames_version"]), row)
        by_model.append(runs)
    before, after = by_model
    return [(row, after[frames]) for frames, row in before.items() if frames in after][:limit]


def figures(comparison: Comparison) -> dict[str, Any]:
    return {
        "change": comparison.change,
        "captions": comparison.captions,
        "moved": len(comparison.moved),
        "added": len(comparison.added),
        "lost": len(comparison.lost),
        "pairs": comparison.pairs,
        "label_changes": [{"before": old, "after": new, "pairs": count} for (old, new), count in comparison.label_changes.items()],
        "confidence_gained": comparison.confidence_gained,
        "confidence_lost": comparison.confidence_lost,
    }


def _key(row: Mapping[str, Any]) -> str:
    return str(row["wasabi_storage_key"])
