"""``extents replay status``: a replay's progress, cost and failures."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click

from cli.shared.listing import Column, Row, cell, duration, moment_text, print_rows
from cli.shared.output import print_heading, print_json, print_wrapped_facts, remark
from cli.shared.parameters import json_option
from core.settings import Settings
from storage.connect import open_replays
from storage.listings import Listings
from storage.replays import ACTIVE
from streams.policy.replay_plan import spent_usd

LOOK_EVERY_SECONDS: Final = 2.0
BAR_WIDTH: Final = 40

_ITEM_COLUMNS: Final = (
    cell("video_id", heading="video"),
    Column("run", lambda row: (row["run_id"] or "")[:8]),
    Column("outcome", lambda row: row["status"] if row["decision"] in ("run", "join") else row["decision"] or "sent"),
    Column("why", lambda row: row["message"] or "", flexible=True),
)

_WORST_COLUMNS: Final = (
    cell("video_id", heading="video"),
    Column("changed", lambda row: f"{row['change']:.1%}", right=True),
    cell("moved", right=True),
    cell("added", right=True),
    cell("lost", right=True),
    Column("compare", lambda row: f"extents compare {row['before'][:8]} {row['after'][:8]}"),
)


replay_argument = click.argument("replay_id", metavar="REPLAY")


@click.command(
    epilog="""\b
Examples:
  extents replay status nightly
  extents replay status nightly --watch
  extents replay status nightly --json | jq .progress.failed
\b
Exit status with --watch: 0 completed, 3 paused, 4 cancelled.
\b
Settings: SUPABASE_*."""
)
@replay_argument
@click.option("--watch", is_flag=True, help="Refresh until the replay ends or pauses.")
@click.option("--troubles", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Show up to N items that failed.")
@json_option
def status(replay_id: str, watch: bool, troubles: int, as_json: bool) -> None:
    """Show a replay's progress, cost and failures."""

    async def run() -> Row:
        async with open_replays(Settings().supabase) as replays:
            while True:
                row, progress = await read_replay(replays, replay_id)
                if not watch or row["state"] not in ACTIVE:
                    items = await replays.troubles(replay_id, troubles)
                    usd_per_hour = Settings().admission.gpu_usd_per_hour
                    if as_json:
                        print_json({**row, "progress": progress, "spent_usd": spent_usd(progress, usd_per_hour), "troubles": items})
                    else:
                        print_replay(row, progress, items, usd_per_hour)
                    return row
                remark(_line(row, progress))
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    row = asyncio.run(run())
    if watch:
        raise click.exceptions.Exit({"paused": 3, "cancelled": 4}.get(row["state"], 0))


async def read_replay(listings: Listings, replay_id: str) -> tuple[Row, Row]:
    row = await listings.replay(replay_id)
    if row is None:
        raise click.ClickException(f"no replay {replay_id}; extents replay list shows all replays")
    return row, await listings.replay_progress(replay_id)


def print_replay(row: Row, progress: Row, items: Sequence[Row], usd_per_hour: float) -> None:
    """Print a replay within the width of the terminal; ``items`` are those that were rejected or failed."""
    spent = spent_usd(progress, usd_per_hour)
    limits = [
        *([f"{row['rate_per_minute']} a minute"] if row["rate_per_minute"] else []),
        f"{row['in_flight_limit']} in flight",
        *([f"until {moment_text(row['until_at'])} UTC"] if row["until_at"] else []),
    ]
    cost = f"${spent:.2f}" + (f" of ${row['max_cost_usd']:.2f}" if row["max_cost_usd"] else "")
    print_wrapped_facts(
        [
            ("replay", f"{row['replay_id']}, planned by {row['created_by']} {moment_text(row['created_at'])} UTC"),
            ("state", row["state"] + (f": {row['reason']}" if row["reason"] else "")),
            ("model", row["model_version"] + (", forced" if row["force"] else "")),
            ("progress", _bar(progress)),
            ("sent", f"{progress['items'] - progress['waiting']} of {progress['items']}"),
            ("under way", f"{progress['undecided'] + progress['unfinished']}"),
            ("outcomes", _outcomes(progress)),
            ("cost", f"{cost}, {progress['gpu_seconds'] / 3600:.2f} GPU hours"),
            ("limits", ", ".join(limits)),
            *([("time left", duration(left))] if (left := _seconds_left(row, progress)) is not None else []),
        ]
    )
    sample = row["sample"]
    if sample:
        print_heading(f"Sample: {sample['change']:.1%} of {sample['captions']} captions changed in {sample['compared']} videos")
        if sample["worst"]:
            print_rows(_WORST_COLUMNS, sample["worst"])
    if items:
        print_heading("Rejected and failed")
        print_rows(_ITEM_COLUMNS, items)


def _over(progress: Row) -> int:
    return int(sum(progress[name] for name in ("found", "rejected", "completed", "failed")))


def _bar(progress: Row) -> str:
    share = _over(progress) / max(1, progress["items"])
    done = round(share * BAR_WIDTH)
    return f"{'#' * done}{'.' * (BAR_WIDTH - done)} {share:.0%}"


def _outcomes(progress: Row) -> str:
    return ", ".join(f"{progress[name]} {name}" for name in ("completed", "found", "rejected", "failed"))


def _line(row: Row, progress: Row) -> str:
    return f"{row['state']:<9} {_bar(progress)}  {_outcomes(progress)}, {progress['undecided'] + progress['unfinished']} under way"


def _seconds_left(row: Row, progress: Row) -> float | None:
    """Estimate from the rate so far; None before the first result and after the end."""
    if row["state"] not in ACTIVE or progress["first_sent_at"] is None or not _over(progress):
        return None
    seconds = (datetime.now(UTC) - datetime.fromisoformat(progress["first_sent_at"])).total_seconds()
    return seconds / _over(progress) * int(progress["items"] - _over(progress))
