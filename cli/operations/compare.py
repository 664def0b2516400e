"""``extents compare``: what changed between two runs, or between two models over many videos."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import clock, print_facts, print_heading, print_json, progress, remark
from cli.shared.parameters import ModelVersionParameter, UuidParameter, json_option
from core.captions import CaptionExtent
from core.comparison import Comparison, compare
from core.errors import CorruptInputError
from core.settings import Settings
from storage.connect import open_listings, open_store
from storage.listings import Filter, Listings
from storage.objects import ObjectStore
from storage.run_db import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

PLACES_SHOWN: Final = 15
TOO_MUCH: Final = 1

_PLACE_COLUMNS: Final = (
    cell("change"),
    Column("before", lambda row: _extent(row["before"])),
    Column("after", lambda row: _extent(row["after"])),
    Column("start", lambda row: _shift(row["start_shift"]), right=True),
    Column("end", lambda row: _shift(row["end_shift"]), right=True),
)

_VIDEO_COLUMNS: Final = (
    cell("video_id", heading="video"),
    Column("changed", lambda row: f"{row['change']:.1%}", right=True),
    cell("captions", right=True),
    cell("moved", right=True),
    cell("added", right=True),
    cell("lost", right=True),
    Column("runs", lambda row: f"{row['before'][:8]} {row['after'][:8]}"),
)


@click.command(
    epilog="""\b
Examples:
  extents compare before.db after.db
  extents compare 3f2b8c1e 9a617b1f --max-change 0.01
  extents compare --model mrn0fkfd --model mrn0fkfd-2 --tenant UUID --json
\b
Exit status 1 when more captions changed than --max-change allows.
\b
Settings: SUPABASE_* and WASABI_*, unless both runs are files."""
)
@click.argument("runs", nargs=-1, metavar="[A B]")
@click.option("--model", "models", type=ModelVersionParameter(), multiple=True, metavar="V", help="Given twice: before and after.")
@click.option("--tenant", "tenant_id", type=UuidParameter(), help="With --model: only this tenant's videos.")
@click.option("--video", "videos", type=UuidParameter(), multiple=True, help="With --model: only this video.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="With --model: at most N videos.")
@click.option("--max-change", type=click.FloatRange(0, 1), metavar="SHARE", help="Share of captions that may change, as 0.02.")
@json_option
def command(
    runs: tuple[str, ...],
    models: tuple[str, ...],
    tenant_id: UUID | None,
    videos: tuple[UUID, ...],
    limit: int,
    max_change: float | None,
    as_json: bool,
) -> None:
    """Compare two runs of a video, or two models' runs of many.

    A and B are files, run ids (or the first 8 characters of them), or keys of the store. Captions are matched by the frames
    that they share; a caption has changed when it begins or ends elsewhere, is new, or is gone.
    """
    if models and (runs or len(models) != 2):
        raise click.UsageError("give --model twice and no runs, or two runs")
    if not models and len(runs) != 2:
        raise click.UsageError(f"{len(runs)} runs; expected two, or --model twice")
    if models:
        change = _compare_models(models, Filter(tenant_id=tenant_id), frozenset(map(str, videos)), limit, as_json)
    else:
        before, after = _read_both(runs)
        change = _print_two(before, after, as_json)
    if max_change is not None and change > max_change:
        remark(f"{change:.1%} of the captions changed, more than {max_change:.1%}")
        raise click.exceptions.Exit(TOO_MUCH)


def _read_both(names: tuple[str, ...]) -> list[RunDatabase]:
    files = {name: _read_file(Path(name)) for name in names if Path(name).is_file()}

    async def run() -> list[RunDatabase]:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            return [files[name] if name in files else await _read_stored(listings, store, name) for name in names]

    return [files[name] for name in names] if set(names) <= set(files) else asyncio.run(run())


async def _read_stored(listings: Listings, store: ObjectStore, name: str) -> RunDatabase:
    """A key has a slash, and the id of a run has none."""
    if "/" in name:
        return read_run_db(await store.get(name, MAX_RUN_DB_BYTES), name)
    row = await listings.run(name)
    if row is None:
        raise click.ClickException(f"{name} is neither a file, nor a run, nor a key of the store; extents runs list shows the runs")
    return read_run_db(await store.get(row["wasabi_storage_key"], MAX_RUN_DB_BYTES), row["wasabi_storage_key"])


def _read_file(path: Path) -> RunDatabase:
    if path.stat().st_size > MAX_RUN_DB_BYTES:
        raise CorruptInputError(f"{path} is {path.stat().st_size} bytes; a run database has at most {MAX_RUN_DB_BYTES}")
    return read_run_db(path.read_bytes(), str(path))


def _compare(before: RunDatabase, after: RunDatabase) -> Comparison:
    try:
        return compare(before.track, after.track)
    except ValueError as error:
        raise click.ClickException(f"run {before.run_id} and run {after.run_id}: {error}") from None


def _print_two(before: RunDatabase, after: RunDatabase, as_json: bool) -> float:
    found = _compare(before, after)
    places = worst_places(found)
    if as_json:
        print_json({"before": _about(before), "after": _about(after), **_figures(found), "places": places})
        return found.change
    print_facts(
        [
            ("before", _name(before)),
            ("after", _name(after)),
            ("captions", f"{found.change:.1%} of {found.captions} changed: {_counts(found)}"),
            ("labels", f"{sum(found.label_changes.values())} of {found.pairs} pairs changed"),
            ("confidence", f"{found.confidence_gained} captions gained, {found.confidence_lost} lost"),
        ]
    )
    if found.label_changes:
        print_heading("Labels that changed")
        for (old, new), count in found.label_changes.items():
            click.echo(f"{count:>6}  {old} -> {new}")
    if places:
        print_heading("Captions that changed, the worst first (times of the film; shifts in frames)")
        print_rows(_PLACE_COLUMNS, places[:PLACES_SHOWN])
        if len(places) > PLACES_SHOWN:
            remark(f"and {len(places) - PLACES_SHOWN} more: --json has all")
    return found.change


def worst_places(found: Comparison) -> list[Row]:
    """Captions gone, then new, the longest first; then those that moved, the farthest first."""
    gone: list[Row] = [{"change": "lost", "before": caption, "after": None} for caption in _longest_first(found.lost)]
    new: list[Row] = [{"change": "added", "before": None, "after": caption} for caption in _longest_first(found.added)]
    moved: list[Row] = [
        {"change": "moved", "before": pair.before, "after": pair.after, "start_shift": pair.start_shift, "end_shift": pair.end_shift}
        for pair in found.moved
    ]
    return [{"start_shift": None, "end_shift": None, **place} for place in (*gone, *new, *moved)]


def _longest_first(captions: tuple[CaptionExtent, ...]) -> list[CaptionExtent]:
    return sorted(captions, key=lambda caption: caption.first_frame - caption.last_frame)


def _compare_models(models: tuple[str, ...], chosen: Filter, videos: frozenset[str], limit: int, as_json: bool) -> float:
    async def run() -> list[Row]:
        settings = Settings()
        async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
            with progress("comparing", "videos") as report:
                pairs = await _pairs(listings, models, chosen, videos, limit)
                found = []
                for number, (before, after) in enumerate(pairs, start=1):
                    read = [read_run_db(await store.get(key, MAX_RUN_DB_BYTES), key) for key in (_key(before), _key(after))]
                    figures: dict[str, Any] = _figures(await asyncio.to_thread(_compare, read[0], read[1]))
                    found.append({"video_id": before["video_id"], "before": before["run_id"], "after": after["run_id"], **figures})
                    report(number, len(pairs))
                return sorted(found, key=lambda row: -float(row["change"]))

    rows = asyncio.run(run())
    if not rows:
        raise click.ClickException(f"no video has a run of {models[0]} and one of {models[1]} of the same frames")
    captions = sum(row["captions"] for row in rows)
    changed = sum(row["moved"] + row["added"] + row["lost"] for row in rows)
    change = changed / captions if captions else 0.0
    if as_json:
        print_json({"models": models, "change": change, "captions": captions, "videos": rows})
    else:
        print_facts(
            [("before", models[0]), ("after", models[1]), ("captions", f"{change:.1%} of {captions} changed in {len(rows)} videos")]
        )
        click.echo()
        print_rows(_VIDEO_COLUMNS, rows[:PLACES_SHOWN])
    return change


async def _pairs(listings: Listings, models: tuple[str, ...], chosen: Filter, videos: frozenset[str], limit: int) -> list[tuple[Row, Row]]:
    """The newest runs of both models, by the frames that they are of."""
    by_model: list[dict[tuple[str, int], Row]] = []
    for model in models:
        runs: dict[tuple[str, int], Row] = {}
        async for row in listings.runs(Filter(tenant_id=chosen.tenant_id, model_version=model)):
            if not videos or row["video_id"] in videos:
                runs.setdefault((row["video_id"], row["cropped_frames_version"]), row)
        by_model.append(runs)
    before, after = by_model
    return [(row, after[frames]) for frames, row in before.items() if frames in after][:limit]


def _figures(found: Comparison) -> dict[str, Any]:
    return {
        "change": found.change,
        "captions": found.captions,
        "moved": len(found.moved),
        "added": len(found.added),
        "lost": len(found.lost),
        "pairs": found.pairs,
        "label_changes": [{"before": old, "after": new, "pairs": count} for (old, new), count in found.label_changes.items()],
        "confidence_gained": found.confidence_gained,
        "confidence_lost": found.confidence_lost,
    }


def _key(row: Mapping[str, Any]) -> str:
    return str(row["wasabi_storage_key"])


def _about(run: RunDatabase) -> dict[str, Any]:
    return {"run_id": run.run_id, "model_version": run.model_version, "precision": run.provenance.get("precision")}


def _name(run: RunDatabase) -> str:
    precision = run.provenance.get("precision")
    return f"{run.run_id}, model {run.model_version}" + (f", {precision}" if precision else "")


def _counts(found: Comparison) -> str:
    return f"{len(found.moved)} moved, {len(found.added)} added, {len(found.lost)} lost"


def _extent(caption: CaptionExtent | None) -> str:
    return "" if caption is None else f"{clock(caption.start_seconds)} - {clock(caption.end_seconds)}"


def _shift(frames: int | None) -> str:
    return "" if frames is None else f"{frames:+d}" if frames else "0"
