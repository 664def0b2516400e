"""``extents models promote``, ``history`` and ``rollback``: which model runs by default."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import click

from cli.shared.default_model import usual_model
from cli.shared.filters import who, with_listings
from cli.shared.listing import Column, Row, cell, listing_options, moment, print_listing, rows_wanted
from cli.shared.output import remark
from cli.shared.parameters import ModelVersionParameter, UuidParameter
from core.settings import Settings
from inference.models.builtin import builtin_model_version
from storage.connect import object_keys, open_store
from storage.listings import Listings
from storage.model_store import ModelStore

_COLUMNS = (
    Column("n", lambda row: str(row["id"]), right=True),
    Column("model", lambda row: row["model_version"]),
    Column("share", lambda row: f"{row['percent']}%", right=True),
    Column("tenant", lambda row: row["tenant_id"] or "all"),
    cell("promoted_by", heading="by"),
    moment("created_at", "promoted (UTC)"),
    Column("state", lambda row: "withdrawn" if row["withdrawn_at"] else "in force"),
)

_OVERRIDE = "EXTENTS_MODEL_VERSION is set to {} here; promotions have no effect on a coordinator with this setting"


@click.command(
    epilog="""\b
Examples:
  extents models promote mrn0fkfd-2 --percent 10
  extents models promote mrn0fkfd-2 --note "evaluated on 200 films"
  extents models promote mrn0fkfd-2 --tenant UUID
\b
Settings: SUPABASE_*, WASABI_*."""
)
@click.argument("version", type=ModelVersionParameter())
@click.option("--percent", type=click.IntRange(1, 100), default=100, show_default=True, metavar="P", help="Share of the videos.")
@click.option("--tenant", "tenant_id", type=UuidParameter(), help="Only this tenant's videos.")
@click.option("--note", default=None, metavar="TEXT", help="The reason, kept in the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def promote(version: str, percent: int, tenant_id: UUID | None, note: str | None, yes: bool) -> None:
    """Make a model the default, for all videos or a share of them.

    A video's id decides whether it belongs to a share, so a video always gets the same model, and a larger share includes
    a smaller one. All other videos get the model that was promoted before. A promotion takes effect within 5 seconds, for
    runs that are admitted from then on.
    """
    settings = Settings()

    async def check() -> None:
        async with open_store(settings.wasabi) as store:
            await ModelStore(store, object_keys(settings.keys)).manifest(version)

    if version != builtin_model_version():
        asyncio.run(check())
    before = with_listings(lambda listings: usual_model(listings, settings.admission))
    whom = "every tenant" if tenant_id is None else f"tenant {tenant_id}"
    if not yes:
        click.confirm(f"run {version} for {percent}% of the videos of {whom}? Most get {before.version} now.", abort=True, err=True)
    row = {"model_version": version, "percent": percent, "tenant_id": tenant_id and str(tenant_id), "promoted_by": who(), "note": note}
    (stored,) = with_listings(lambda listings: listings.insert("model_promotions", [row]))
    remark(f"promotion {stored['id']}: {version} for {percent}% of the videos of {whom}")
    if settings.admission.model_version is not None:
        remark(_OVERRIDE.format(settings.admission.model_version))


@click.command(
    epilog="""\b
Examples:
  extents models history
  extents models history --json
\b
Settings: SUPABASE_*."""
)
@listing_options
def history(**printing: Any) -> None:
    """Show who promoted which model and when, the newest first."""

    async def run(listings: Listings) -> str:
        rows = listings.pages("model_promotions", lambda query: query, ("id",), rows_wanted(printing["limit"], printing["every"]))
        await print_listing(rows, _COLUMNS, "promotion", **printing)
        choice = await usual_model(listings, Settings().admission)
        return f"most videos get {choice.version} ({choice.reason})"

    remark(with_listings(run))


@click.command(
    epilog="""\b
Examples:
  extents models rollback
  extents models rollback --tenant UUID --yes
\b
Settings: SUPABASE_*."""
)
@click.option("--tenant", "tenant_id", type=UuidParameter(), help="Withdraw the newest promotion for this tenant.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rollback(tenant_id: UUID | None, yes: bool) -> None:
    """Withdraw the newest promotion. The one before it applies again."""

    async def newest(listings: Listings) -> Row | None:
        active = [promotion for promotion in await listings.promotions() if promotion.tenant_id == tenant_id]
        return {"id": active[0].number, "model_version": active[0].model_version, "percent": active[0].percent} if active else None

    row = with_listings(newest)
    if row is None:
        raise click.ClickException("no promotion is in force; extents models history shows former ones")
    if not yes:
        click.confirm(f"withdraw promotion {row['id']} ({row['model_version']}, {row['percent']}%)?", abort=True, err=True)
    values = {"withdrawn_at": datetime.now(UTC).isoformat(), "withdrawn_by": who()}
    with_listings(lambda listings: listings.update("model_promotions", values, {"id": row["id"], "withdrawn_at": None}))
    choice = with_listings(lambda listings: usual_model(listings, Settings().admission))
    remark(f"promotion {row['id']} withdrawn; most videos get {choice.version} ({choice.reason})")
