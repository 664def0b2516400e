"""``extents rebuild-registry``: the rows of finished runs again, from the databases in the store."""

import asyncio
from typing import Final
from uuid import UUID

import click

from cli.shared.listing import Column, Row, print_rows
from cli.shared.output import Report, print_json, progress, remark
from cli.shared.parameters import UuidParameter, json_option
from core.errors import CorruptInputError, MissingObjectError, PermanentError
from core.runs import FinishedRun, StoredRun
from core.settings import Settings
from storage.connect import open_listings, open_rows, open_store
from storage.listings import Filter
from storage.rebuild import RunKeys, read_finished_run
from storage.run_db_reader import MAX_RUN_DB_BYTES

SHOWN: Final = 20

_COLUMNS: Final = (
    Column("run", lambda row: row["run_id"][:8]),
    Column("what", lambda row: row["what"]),
    Column("key", lambda row: row["key"], flexible=True),
)


@click.command(
    "rebuild-registry",
    epilog="""\b
Examples:
  extents rebuild-registry --dry-run
  extents rebuild-registry --tenant UUID --yes
\b
Exit status 1 when a database could not be read, or its rows not be written.
\b
Settings: SUPABASE_*, WASABI_*, EXTENTS_KEY_RUN_DB.""",
)
@click.option("--tenant", "tenant_id", type=UuidParameter(), help="Only this tenant's runs.")
@click.option("--dry-run", is_flag=True, help="Only say what differs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(tenant_id: UUID | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Write the rows of finished runs again, after the database was lost or restored from an old copy.

    Every run database in the store is compared with the registry. What is missing is written, in the order of completion,
    so that the latest run of a video, version and model is the one that the web application reads. Requests and rejections
    are not in the store: send video.encoded again from its beginning for those. Done twice, it changes nothing.
    """
    with progress("reading", "objects") as report:
        differing, faults = asyncio.run(_look(tenant_id, report))
    if as_json:
        print_json({"differing": [row for row, _, _ in differing], "faults": faults})
    else:
        rows = [*(row for row, _, _ in differing), *faults]
        if rows:
            print_rows(_COLUMNS, rows[:SHOWN])
            if len(rows) > SHOWN:
                click.echo(f"... and {len(rows) - SHOWN} more")
    remark(f"{len(differing)} runs are not in the registry as the store has them, {len(faults)} objects cannot be read")
    if differing and not dry_run:
        if not yes:
            click.confirm(f"write the rows of {len(differing)} runs?", abort=True, err=True)
        refused = asyncio.run(_write([(run, stored) for _, run, stored in differing]))
        for text in refused:
            remark(text)
        remark(f"{len(differing) - len(refused)} runs written")
        faults += [{"what": text} for text in refused]
    if faults:
        raise click.exceptions.Exit(1)


async def _look(tenant_id: UUID | None, report: Report) -> tuple[list[tuple[Row, FinishedRun, StoredRun]], list[Row]]:
    """Runs that the registry lacks or has otherwise, in the order of completion; and objects that cannot be read."""
    settings = Settings()
    keys = RunKeys(settings.keys.run_db)
    prefix = f"{keys.prefix}{tenant_id}/" if tenant_id and settings.keys.run_db.startswith(f"{keys.prefix}{{tenant_id}}/") else keys.prefix
    differing: list[tuple[Row, FinishedRun, StoredRun]] = []
    faults: list[Row] = []
    looked_at = 0
    async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
        known = {row["wasabi_storage_key"]: row async for row in listings.run_history(Filter(tenant_id=tenant_id))}
        present = {row["wasabi_storage_key"] async for row in listings.runs(Filter(tenant_id=tenant_id))}
        async for key in store.list_keys(prefix):
            ids = keys.ids(key)
            if ids is None or (tenant_id is not None and ids[0] != tenant_id):
                continue
            looked_at += 1
            report(looked_at, None)
            row = known.get(key)
            if row is not None and (key in present or row["superseded_by"] is not None) and row["deleted_at"] is None:
                continue
            try:
                data = await store.get(key, MAX_RUN_DB_BYTES)
                run, stored = await asyncio.to_thread(read_finished_run, data, key, *ids)
            except MissingObjectError:  # deleted since it was listed
                continue
            except CorruptInputError as error:
                faults.append({"run_id": "", "what": "cannot be read", "key": key, "error": str(error)})
                continue
            differing.append(({"run_id": str(run.run_id), "what": "missing" if row is None else "differs", "key": key}, run, stored))
    return sorted(differing, key=lambda one: one[1].completed_at), faults


async def _write(runs: list[tuple[FinishedRun, StoredRun]]) -> list[str]:
    """Write the rows; returns what the database refused, each with the reason."""
    refused = []
    async with open_rows(Settings().supabase) as rows:
        with progress("writing", "runs") as report:
            for number, (run, stored) in enumerate(runs, start=1):
                try:
                    await rows.complete_run(run, stored)
                except PermanentError as error:
                    refused.append(f"run {run.run_id}: {error}")
                report(number, len(runs))
    return refused
