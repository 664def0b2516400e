"""Starts, pauses, resumes, cancels and lists replays. These commands only change and read rows; a coordinator does the work."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from cli.operations.replays.status import read_replay, replay_argument
from cli.shared.filters import with_listings
from cli.shared.listing import Column, Row, age, cell, listing_options, print_listing, rows_wanted
from cli.shared.output import remark
from core.counts import counted
from core.settings import Settings
from storage.connect import open_replays
from storage.listings import Listings
from storage.replays import ACTIVE, NOT_ENDED, Replays

_COLUMNS: Final = (
    Column("replay", lambda row: row["replay_id"]),
    cell("state"),
    Column("items", lambda row: str(row["source"].get("items", "")), right=True),
    Column("model", lambda row: row["model_version"]),
    age("created_at", "planned"),
    Column("reason", lambda row: row["reason"] or "", flexible=True),
)


class UntilParameter(click.ParamType):
    """A time with a date, or a time of day (UTC), which means its next occurrence."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value)
        try:
            if re.fullmatch(r"\d\d:\d\d", text):
                now = datetime.now(UTC)
                moment = now.replace(hour=int(text[:2]), minute=int(text[3:]), second=0, microsecond=0)
                return moment if moment > now else moment + timedelta(days=1)
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a time of day such as 06:00 nor a time such as 2026-12-01T06:00", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_until = click.option("--until", type=UntilParameter(), help="Pause at this time: 06:00 (UTC), or 2026-12-01T06:00.")
_rate = click.option("--rate", type=click.IntRange(min=1), metavar="N", help="Send at most N requests a minute.")
_max_cost = click.option(
    "--max-cost", type=click.FloatRange(min=0, min_open=True), metavar="USD", help="Pause before the replay costs more than this."
)


@click.command(
    epilog="""\b
Examples:
  extents replay start nightly --rate 30 --max-cost 20 --until 06:00
  extents replay start new-model --shadow 20 --max-change 0.02
\b
Settings: SUPABASE_*."""
)
@replay_argument
@_rate
@_max_cost
@_until
@click.option(
    "--in-flight", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Keep at most N runs in progress."
)
@click.option(
    "--shadow",
    "sample_size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N videos first, compare them, and continue only if little changed.",
)
@click.option(
    "--max-change",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    default=0.02,
    show_default=True,
    help="With --shadow: share of captions that may change.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def start(
    replay_id: str,
    rate: int | None,
    max_cost: float | None,
    until: datetime | None,
    in_flight: int,
    sample_size: int | None,
    max_change: float,
    yes: bool,
) -> None:
    """Start a planned replay. A coordinator carries it out; if that coordinator is killed, another one continues.

    With --shadow the first N videos are compared with their present runs. If more of their captions changed than
    --max-change allows, the replay pauses, and its status names the worst videos.
    """
    row, progress = with_listings(lambda listings: read_replay(listings, replay_id))
    if progress["items"] != row["source"].get("items"):
        stored = f"{progress['items']} of {row['source'].get('items')} items"
        raise click.ClickException(
            f"the plan of {replay_id} is incomplete ({stored}): it was interrupted; plan it again with another --name"
        )
    cost = min(progress["waiting_usd"], max_cost) if max_cost is not None else progress["waiting_usd"]
    if not yes:
        click.confirm(f"send {counted(progress['waiting'], 'request')} for up to ${cost:.2f}?", abort=True, err=True)
    values = {
        "rate_per_minute": rate,
        "max_cost_usd": max_cost,
        "until_at": until and until.isoformat(),
        "in_flight_limit": in_flight,
        "sample_size": sample_size or 0,
        "max_change": max_change,
        "started_at": datetime.now(UTC).isoformat(),
    }
    state = "sampling" if sample_size else "running"
    _change(replay_id, ["planned"], lambda replays, _: replays.change(replay_id, ["planned"], state, **values))
    remark(f"started; you may close the terminal. To see its progress: extents replay status {replay_id}")


@click.command(epilog="\b\nExamples:\n  extents replay pause nightly\n\b\nSettings: SUPABASE_*.")
@replay_argument
def pause(replay_id: str) -> None:
    """Send nothing more until the replay is resumed. Runs in progress continue."""
    _change(replay_id, ACTIVE, lambda replays, _: replays.pause(replay_id, "paused by hand"))
    remark(f"paused; to continue: extents replay resume {replay_id}")


@click.command(epilog="\b\nExamples:\n  extents replay resume nightly --until 06:00 --max-cost 40\n\b\nSettings: SUPABASE_*.")
@replay_argument
@_rate
@_max_cost
@_until
def resume(replay_id: str, rate: int | None, max_cost: float | None, until: datetime | None) -> None:
    """Continue a paused replay. Limits given here replace the former ones; an --until that has passed is dropped.

    A replay that paused because of its sample continues with all videos, since you have looked at the sample.
    """
    limits: dict[str, Any] = {"until_at": until.isoformat()} if until else {}
    limits |= {"rate_per_minute": rate} if rate else {}
    limits |= {"max_cost_usd": max_cost} if max_cost else {}
    _change(replay_id, ["paused"], lambda replays, row: replays.resume(row, **limits))
    remark("resumed")


@click.command(epilog="\b\nExamples:\n  extents replay cancel nightly && extents jobs cancel --replay nightly\n\b\nSettings: SUPABASE_*.")
@replay_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(replay_id: str, yes: bool) -> None:
    """End a replay for good. Runs in progress continue; extents jobs cancel --replay REPLAY ends them too."""
    if not yes:
        click.confirm(f"cancel replay {replay_id}?", abort=True, err=True)
    _change(replay_id, NOT_ENDED, lambda replays, _: replays.cancel(replay_id, "cancelled by hand"))
    remark("cancelled")


@click.command(
    "list", epilog="\b\nExamples:\n  extents replay list\n  extents replay list --json | jq -r '.[].replay_id'\n\b\nSettings: SUPABASE_*."
)
@listing_options
def list_replays(**printing: Any) -> None:
    """List replays, the newest first."""

    async def run(listings: Listings) -> None:
        rows = listings.replays(rows_wanted(printing["limit"], printing["every"]))
        await print_listing(rows, _COLUMNS, "replay", **printing)

    with_listings(run)


def _change(replay_id: str, needed: Sequence[str], change: Callable[[Replays, dict[str, Any]], Awaitable[bool]]) -> None:
    async def run() -> tuple[bool, Row]:
        async with open_replays(Settings().supabase) as replays:
            row, _ = await read_replay(replays, replay_id)
            return await change(replays, dict(row)), row

    changed, row = asyncio.run(run())
    if not changed:
        raise click.ClickException(f"replay {replay_id} is {row['state']}; this needs one that is {' or '.join(needed)}")
