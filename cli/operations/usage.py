"""``extents usage``: GPU time and cost of a month, and how long GPU workers were up."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from cli.shared.filters import with_listings
from cli.shared.listing import Column, Row, cell, print_rows
from cli.shared.output import print_facts, print_json
from cli.shared.parameters import json_option
from core.settings import Settings
from storage.listings import Listings

_COMPUTED: Final = (
    cell("runs", right=True),
    cell("failed", right=True),
    cell("pairs", right=True),
    Column("pairs/s", lambda row: f"{row['pairs'] / row['gpu_seconds']:.0f}" if row["gpu_seconds"] else "", right=True),
    Column("busy hours", lambda row: _hours(row["gpu_seconds"]), right=True),
    Column("cost", lambda row: f"${row['cost_usd']:.2f}", right=True),
)
_UP: Final = (
    Column("up hours", lambda row: _hours(row["up_seconds"]) if row["up_seconds"] else "", right=True),
    Column("cost up", lambda row: f"${row['up_cost_usd']:.2f}" if row["up_seconds"] else "", right=True),
    Column("idle", lambda row: "" if row["idle_share"] is None else f"{row['idle_share']:.0%}", right=True),
)
_NOTHING: Final = {"runs": 0, "failed": 0, "pairs": 0, "gpu_seconds": 0.0, "wall_seconds": 0.0}


class MonthParameter(click.ParamType):
    """Converts ``2026-11`` to the beginning of that month (UTC)."""

    name = "YYYY-MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.strptime(str(value), "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            self.fail(f"{value!r} is not a month such as 2026-11", param, ctx)


@click.command(
    epilog="""\b
Examples:
  extents usage
  extents usage --month 2026-11 --by tenant
  extents usage --json | jq .total.idle_share
\b
Settings: SUPABASE_*, EXTENTS_GPU_USD_PER_HOUR."""
)
@click.option("--month", type=MonthParameter(), metavar="YYYY-MM", help="The month, in UTC.  [default: this month]")
@click.option("--by", type=click.Choice(["day", "model", "tenant"]), default="day", show_default=True, help="Print one line for each.")
@json_option
def command(month: datetime | None, by: str, as_json: bool) -> None:
    """Show how much GPU time a month's runs took, and how long GPU workers were up.

    Busy hours are the time in which devices computed spans of runs that have ended, by the jobs' records. Up hours are the
    time in which GPU workers ran, by their heartbeats; the difference is idle time. Both are priced at
    EXTENTS_GPU_USD_PER_HOUR. The time in which a machine ran without a worker is not known here.
    """
    first = month or datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    price = Settings().admission.gpu_usd_per_hour

    async def read(listings: Listings) -> tuple[Sequence[Row], ...]:
        return await asyncio.gather(listings.usage(first, last, by), listings.usage(first, last, "day"), listings.worker_hours(first, last))

    rows, days, up = with_listings(read)
    usage = month_usage(first, by, rows, days, up, price)
    if as_json:
        print_json(usage)
    else:
        print_usage(usage)


def month_usage(first: datetime, by: str, rows: Sequence[Row], days: Sequence[Row], up: Sequence[Row], price: float) -> dict[str, Any]:
    """What ``--json`` prints.

    Args:
        rows, days: the jobs' records by ``by`` and by day.
        up: the workers' hours by day and device.
        price: dollars of a GPU hour.
    """
    up_by_day: dict[str, float] = {}
    devices: dict[str, float] = {}
    for hours in up:
        up_by_day[hours["day"]] = up_by_day.get(hours["day"], 0.0) + hours["up_seconds"]
        devices[hours["device"]] = devices.get(hours["device"], 0.0) + hours["up_seconds"]
    busy_by_day = {day["name"]: day["gpu_seconds"] for day in days}
    if by == "day":
        computed = {row["name"]: row for row in rows}
        names = sorted({*computed, *up_by_day})
        priced = [
            _priced({"name": name, **_NOTHING, **computed.get(name, {})}, price, up_by_day.get(name, 0.0), busy_by_day.get(name, 0.0))
            for name in names
        ]
    else:
        priced = [{**row, "cost_usd": row["gpu_seconds"] / 3600 * price} for row in rows]
    total = {name: sum(day[name] for day in days) for name in _NOTHING}
    # A day for which no up hours were recorded says nothing about idle time.
    busy = sum(seconds for day, seconds in busy_by_day.items() if day in up_by_day)
    return {
        "month": f"{first:%Y-%m}",
        "by": by,
        "rows": priced,
        "total": _priced(total, price, sum(up_by_day.values()), busy),
        "devices": [{"device": name, "up_seconds": seconds, "up_cost_usd": seconds / 3600 * price} for name, seconds in devices.items()],
    }


def _priced(row: Mapping[str, Any], price: float, up_seconds: float, busy_seconds: float) -> dict[str, Any]:
    """Return the row with its costs, and with the idle share of its up hours; None if it has none."""
    return {
        **row,
        "cost_usd": row["gpu_seconds"] / 3600 * price,
        "up_seconds": up_seconds,
        "up_cost_usd": up_seconds / 3600 * price,
        "idle_share": max(0.0, 1 - busy_seconds / up_seconds) if up_seconds else None,
    }


def print_usage(usage: Mapping[str, Any]) -> None:
    by, rows, total = usage["by"], usage["rows"], usage["total"]
    if rows:
        name = Column(by, lambda row: row["name"], flexible=by == "model")
        print_rows([name, *_COMPUTED, *(_UP if by == "day" else ())], rows)
        click.echo()
    facts = [
        ("month", usage["month"]),
        ("runs", f"{total['runs']}, {total['failed']} failed, {total['pairs']} pairs"),
        ("busy", f"{_hours(total['gpu_seconds'])} GPU hours, ${total['cost_usd']:.2f}"),
    ]
    if total["up_seconds"]:
        facts.append(("up", f"{_hours(total['up_seconds'])} GPU hours, ${total['up_cost_usd']:.2f}, {total['idle_share']:.0%} idle"))
        facts += [("", f"{_hours(each['up_seconds'])} on {each['device']}") for each in usage["devices"]]
    else:
        facts.append(("up", "not known: no heartbeat of a GPU worker was recorded in this month"))
    print_facts(facts)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"
