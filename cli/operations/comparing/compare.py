"""``extents compare``: what changed between two runs, or between two models over many videos."""

import asyncio
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from cli.operations.comparing.models import compare_models, compare_runs, figures
from cli.operations.comparing.strips import boundary_frames, fetch_strips
from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import print_facts, print_heading, print_json, remark
from cli.shared.parameters import ModelVersionParameter, UuidParameter, json_option
from core.captions import CaptionExtent
from core.comparison import Comparison
from core.errors import ExtentsError
from core.files import make_parent, write_whole
from core.film_time import clock
from core.settings import Settings
from pages.report.comparison import render_comparison
from storage.connect import object_keys, open_listings, open_store
from storage.listings import Filter, Listings
from storage.objects import ObjectStore
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db, read_run_file

PLACES_SHOWN: Final = 15
TOO_MUCH: Final = 1

_PLACE_COLUMNS: Final = (
    cell("change"),
    Column("before", lambda row: _extent(row["before"])),
    Column("after", lambda row: _extent(row["after"])),
    Column("start", lambda row: _shift(row["start_shift"]), right=True),
    Column("end", lambda row: _shift(row["end_shift"]), right=True),
)


@click.command(
    epilog="""\b
Examples:
  extents compare before.db after.db
  extents compare 3f2b8c1e 9a617b1f --max-change 0.01
  extents compare 3f2b8c1e 9a617b1f --html changes.html
  extents compare --model mrn0fkfd --model mrn0fkfd-2 --tenant UUID --json
\b
Exit status 1 if more captions changed than --max-change allows.
\b
Settings: SUPABASE_* and WASABI_*, unless both runs are files."""
)
@click.argument("runs", nargs=-1, metavar="[A B]")
@click.option(
    "--model", "models", type=ModelVersionParameter(), multiple=True, metavar="V", help="Give it twice: the model before and after."
)
@click.option("--tenant", "tenant_id", type=UuidParameter(), help="With --model: only this tenant's videos.")
@click.option("--video", "videos", type=UuidParameter(), multiple=True, help="With --model: only this video.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="With --model: at most N videos.")
@click.option(
    "--max-change", type=click.FloatRange(0, 1), metavar="SHARE", help="Exit status 1 if a larger share of captions changed, such as 0.02."
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a page: both timelines, and the strips at each change.",
)
@json_option
def command(
    runs: tuple[str, ...],
    models: tuple[str, ...],
    tenant_id: UUID | None,
    videos: tuple[UUID, ...],
    limit: int,
    max_change: float | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Compare two runs of a video, or two models' runs of many.

    A and B are files, run ids (or their first 8 characters), or keys of the store. Captions are matched by the frames that
    they share. A caption has changed if it begins or ends at a different frame, is new, or is gone.
    """
    if models and (runs or len(models) != 2):
        raise click.UsageError("give --model twice and no runs, or two runs")
    if not models and len(runs) != 2:
        raise click.UsageError(f"{len(runs)} runs; expected two, or --model twice")
    if models and html is not None:
        raise click.UsageError("--html compares two runs of one video: name two runs instead of --model")
    if html is not None:
        make_parent(html)
    if models:
        change = compare_models(models, Filter(tenant_id=tenant_id), frozenset(map(str, videos)), limit, as_json)
    else:
        before, after = _read_both(runs)
        change = _print_two(before, after, as_json)
        if html is not None:
            write_whole(html, asyncio.run(_page(before, after)).encode())
            remark(f"wrote {html}")
    if max_change is not None and change > max_change:
        remark(f"{change:.1%} of the captions changed, more than {max_change:.1%}")
        raise click.exceptions.Exit(TOO_MUCH)


def _read_both(names: tuple[str, ...]) -> list[RunDatabase]:
    files = {name: read_run_file(Path(name)) for name in names if Path(name).is_file()}

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


def _print_two(before: RunDatabase, after: RunDatabase, as_json: bool) -> float:
    comparison = compare_runs(before, after)
    places = worst_places(comparison)
    if as_json:
        print_json({"before": _about(before), "after": _about(after), **figures(comparison), "places": places})
        return comparison.change
    print_facts(_facts(before, after, comparison))
    if comparison.label_changes:
        print_heading("Labels that changed")
        for (old, new), count in comparison.label_changes.items():
            click.echo(f"{count:>6}  {old} -> {new}")
    if places:
        print_heading("Captions that changed, the worst first (times of the film; shifts in frames)")
        print_rows(_PLACE_COLUMNS, places[:PLACES_SHOWN])
        if len(places) > PLACES_SHOWN:
            remark(f"and {len(places) - PLACES_SHOWN} more: --json has all")
    return comparison.change


async def _page(before: RunDatabase, after: RunDatabase) -> str:
    """Render the page about both, with strips of the video that the runs name, if the store has them."""
    comparison = compare_runs(before, after)
    places = worst_places(comparison)
    strips, without_strips = await _strips(before, after, places, comparison.pairs + 1)
    named = after.provenance.get("video_id") or before.provenance.get("video_id")
    title = f"Captions of video {named} that changed" if named else "Captions that changed"
    return render_comparison(title, _facts(before, after, comparison), before, after, places, strips, without_strips)


async def _strips(before: RunDatabase, after: RunDatabase, places: list[Row], frame_count: int) -> tuple[dict[int, bytes], str | None]:
    """Return PNGs by frame, or none and the reason."""
    named = next((run for run in (after, before) if {"tenant_id", "video_id"} <= set(run.provenance)), None)
    if named is None:
        return {}, "neither run names its video"
    tenant, video = UUID(named.provenance["tenant_id"]), UUID(named.provenance["video_id"])
    wanted = boundary_frames(places, frame_count)
    version = named.cropped_frames_version or 1
    try:
        settings = Settings()
        async with open_store(settings.wasabi) as store:
            return await fetch_strips(store, object_keys(settings.keys), tenant, video, version, frame_count, wanted), None
    except ExtentsError as error:
        return {}, str(error)


def worst_places(comparison: Comparison) -> list[Row]:
    """Return lost captions, then new ones, the longest first; then moved ones, the farthest first."""
    gone: list[Row] = [{"change": "lost", "before": caption, "after": None} for caption in _longest_first(comparison.lost)]
    new: list[Row] = [{"change": "added", "before": None, "after": caption} for caption in _longest_first(comparison.added)]
    moved: list[Row] = [
        {"change": "moved", "before": pair.before, "after": pair.after, "start_shift": pair.start_shift, "end_shift": pair.end_shift}
        for pair in comparison.moved
    ]
    return [{"start_shift": None, "end_shift": None, **place} for place in (*gone, *new, *moved)]


def _longest_first(captions: tuple[CaptionExtent, ...]) -> list[CaptionExtent]:
    return sorted(captions, key=lambda caption: caption.first_frame - caption.last_frame)


def _facts(before: RunDatabase, after: RunDatabase, comparison: Comparison) -> list[tuple[str, str]]:
    return [
        ("before", _name(before)),
        ("after", _name(after)),
        ("captions", f"{comparison.change:.1%} of {comparison.captions} changed: {_counts(comparison)}"),
        ("labels", f"{sum(comparison.label_changes.values())} of {comparison.pairs} pairs changed"),
        ("confidence", f"{comparison.confidence_gained} captions gained, {comparison.confidence_lost} lost"),
    ]


def _about(run: RunDatabase) -> dict[str, Any]:
    return {"run_id": run.run_id, "model_version": run.model_version, "precision": run.provenance.get("precision")}


def _name(run: RunDatabase) -> str:
    precision = run.provenance.get("precision")
    return f"{run.run_id}, model {run.model_version}" + (f", {precision}" if precision else "")


def _counts(comparison: Comparison) -> str:
    return f"{len(comparison.moved)} moved, {len(comparison.added)} added, {len(comparison.lost)} lost"


def _extent(caption: CaptionExtent | None) -> str:
    return "" if caption is None else f"{clock(caption.start_seconds)} - {clock(caption.end_seconds)}"


def _shift(frames: int | None) -> str:
    return "" if frames is None else f"{frames:+d}" if frames else "0"
