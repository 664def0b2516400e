"""``extents usage``: GPU time and cost of a month."""

from datetime import UTC, datetime
from typing import Any

import click

from cli.shared.filters import with_listings
from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import print_json, remark
from cli.shared.parameters import json_option
from core.settings import Settings

_COLUMNS = (
    Column("name", lambda row: row["name"]),
    cell("runs", right=True),
    cell("failed", right=True),
    cell("pairs", right=True),
    Column("GPU hours", lambda row: f"{row['gpu_seconds'] / 3600:.2f}", right=True),
    Column("cost", lambda row: f"${row['cost_usd']:.2f}", right=True),
    Column("pairs/s", lambda row: f"{row['pairs'] / row['gpu_seconds']:.0f}" if row["gpu_seconds"] else "", right=True),
)


class MonthParameter(click.ParamType):
    """``2026-11``, to its first moment (UTC)."""

    name = "YYYY-MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.strptime(str(value), "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            self.fail(f"{value!r} is no month, as 2026-11", param, ctx)


@click.command(
    epilog="""\b
Examples:
  extents usage
  extents usage --month 2026-11 --by tenant
  extents usage --by model --json
\b
Settings: SUPABASE_*, EXTENTS_GPU_USD_PER_HOUR."""
)
@click.option("--month", type=MonthParameter(), metavar="YYYY-MM", help="Which month, in UTC.  [default: this one]")
@click.option("--by", type=click.Choice(["day", "model", "tenant"]), default="day", show_default=True, help="What each line is about.")
@json_option
def command(month: datetime | None, by: str, as_json: bool) -> None:
    """Show runs, pairs, GPU hours and cost of a month, from the jobs' records.

    GPU time is what the device was busy with spans of completed runs, at EXTENTS_GPU_USD_PER_HOUR. Hours in which a worker
    waited are not in it.
    """
    first = month or datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    price = Settings().admission.gpu_usd_per_hour
    found = with_listings(lambda listings: listings.usage(first, last, by))
    rows: list[Row] = [{**row, "cost_usd": row["gpu_seconds"] / 3600 * price} for row in found]
    if as_json:
        print_json(rows)
        return
    if rows:
        print_rows([Column(by, _COLUMNS[0].text), *_COLUMNS[1:]], rows)
    hours, cost = sum(row["gpu_seconds"] for row in rows) / 3600, sum(row["cost_usd"] for row in rows)
    remark(f"{first:%Y-%m}: {sum(row['runs'] for row in rows)} runs, {hours:.2f} GPU hours, ${cost:.2f}")
