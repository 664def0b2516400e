"""``extents rejections``: lists requests that were rejected, and which setting would change that."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import click

from cli.shared.command_group import CommandGroup
from cli.shared.filters import filter_options, list_rows, split_filter, with_listings
from cli.shared.listing import Column, Row, age, cell, listing_options, moment_text
from cli.shared.output import print_facts, print_json, print_table, remark
from cli.shared.parameters import UuidParameter, json_option
from core.counts import counted
from core.rejection_settings import setting_name, setting_of
from core.settings import Settings
from core.types import RejectionType
from storage.listings import Filter, Listings

_SETTINGS: Final = "\n\b\nSettings: SUPABASE_*."

_COLUMNS: Final = (
    Column("rejection", lambda row: row["id"][:8]),
    cell("video_id", heading="video"),
    cell("rejection_type", heading="type"),
    age("created_at"),
    Column("why", lambda row: row["rejection_message"], flexible=True),
)

_WITH_SEEN: Final = (*_COLUMNS[:-1], Column("seen", lambda row: "yes" if row["acknowledged"] else "no"), _COLUMNS[-1])


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  extents rejections summary --days 7
  extents rejections list --type queue_full --since 1d
  extents rejections ack --type queue_full --since 1d
{_SETTINGS}""",
)
def command() -> None:
    """List rejected requests, and acknowledge them. Each message gives the actual value, the limit, and its setting."""


_type_option = click.option(
    "--type", "rejection_type", type=click.Choice([kind.value for kind in RejectionType]), help="Only of this type."
)


@command.command(
    "list",
    epilog=f"""\b
Examples:
  extents rejections list --video UUID --seen
  extents rejections list --type cost_exceeded --all --json-lines | jq -r .video_id
{_SETTINGS}""",
)
@_type_option
@click.option("--seen", is_flag=True, help="Include acknowledged ones.")
@filter_options("tenant_id", "video_id", "model_version", "since", "until")
@listing_options
def list_rejections(rejection_type: str | None, seen: bool, **options: Any) -> None:
    """List unacknowledged rejections, newest first."""
    fixed = {"rejection_type": rejection_type, "acknowledged": None if seen else False}
    list_rows(Listings.rejections, _WITH_SEEN if seen else _COLUMNS, "rejection", options, **fixed)


@command.command(
    epilog=f"""\b
Examples:
  extents rejections show 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55
{_SETTINGS}"""
)
@click.argument("rejection", type=UuidParameter())
@json_option
def show(rejection: UUID, as_json: bool) -> None:
    """Show everything about one rejection. Its id is that of the request."""
    row = with_listings(lambda listings: listings.rejection(str(rejection)))
    if row is None:
        raise click.ClickException(f"no rejection {rejection}; extents rejections list --json has their ids")
    if as_json:
        print_json(row)
        return
    print_facts(
        [
            ("rejection", row["id"]),
            ("type", row["rejection_type"]),
            ("why", row["rejection_message"]),
            ("setting", setting_of(row["rejection_type"], row["rejection_message"], Settings().admission)),
            ("video", f"{row['video_id']}, cropped frames version {row['cropped_frames_version']}, {row['frame_count']} frames"),
            ("tenant", row["tenant_id"]),
            ("model", row["model_version"] or ""),
            ("estimate", "" if row["estimated_cost_usd"] is None else f"${row['estimated_cost_usd']:.4f}"),
            ("rejected", f"{moment_text(row['created_at'])} UTC"),
            ("acknowledged", f"{moment_text(row['acknowledged_at'])} UTC" if row["acknowledged"] else "no"),
        ]
    )


@command.command(
    epilog=f"""\b
Examples:
  extents rejections ack 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55
  extents rejections ack --type queue_full --since 1d --yes
{_SETTINGS}"""
)
@click.argument("rejections", nargs=-1, type=UuidParameter(), metavar="[REJECTION]...")
@_type_option
@filter_options("tenant_id", "video_id", "model_version", "since", "until")
@click.option("--by", "user_id", type=UuidParameter(), help="Id of the web application's user who has seen them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def ack(rejections: tuple[UUID, ...], rejection_type: str | None, user_id: UUID | None, yes: bool, **options: Any) -> None:
    """Acknowledge rejections by id or by a filter. This changes nothing else."""
    chosen, _ = split_filter(options, rejection_type=rejection_type, acknowledged=False)
    if not rejections and chosen == Filter(acknowledged=False):
        raise click.UsageError("name rejections, or select them with --type, --tenant, --video, --model, --since or --until")

    async def find(listings: Listings) -> list[str]:
        if rejections:
            return [str(rejection) for rejection in rejections]
        return [row["id"] async for row in listings.rejections(chosen)]

    names = with_listings(find)
    if names and not yes:
        click.confirm(f"acknowledge {counted(len(names), 'rejection')}?", abort=True, err=True)
    # In the web application's own tables this column takes only the id of one of its users.
    values = {"acknowledged": True, "acknowledged_at": datetime.now(UTC).isoformat(), "acknowledged_by": str(user_id) if user_id else None}

    async def acknowledge(listings: Listings) -> int:
        count = 0
        for begin in range(0, len(names), 100):
            count += len(await listings.update("rejections", values, {}, id=names[begin : begin + 100]))
        return count

    remark(f"{with_listings(acknowledge)} acknowledged")


@command.command(
    epilog=f"""\b
Examples:
  extents rejections summary --days 7
  extents rejections summary --json
{_SETTINGS}"""
)
@click.option("--days", type=click.IntRange(1, 3650), default=7, show_default=True, metavar="N", help="How many days, including today.")
@json_option
def summary(days: int, as_json: bool) -> None:
    """Count rejections by day (UTC) and type. Each type names the setting that would change them."""
    rows = with_listings(lambda listings: listings.rejection_summary(days))
    if as_json:
        print_json(rows)
        return
    print_summary(rows)
    total, unseen = (sum(row[column] for row in rows) for column in ("total", "unacknowledged"))
    remark(f"{counted(total, 'rejection')} in {counted(days, 'day')}, {unseen} unseen")


def print_summary(rows: Sequence[Row]) -> None:
    cells = [
        (
            row["day"],
            row["rejection_type"],
            str(row["total"]),
            str(row["unacknowledged"]),
            str(row["videos"]),
            setting_name(row["rejection_type"]),
        )
        for row in rows
    ]
    if cells:
        print_table(("day", "type", "rejections", "unseen", "videos", "setting"), cells, right=("rejections", "unseen", "videos"))
