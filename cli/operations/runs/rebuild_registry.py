"""``extents rebuild-registry``: restores rows from the run databases in the store and the outcome events in the topics."""

import asyncio
from typing import Final
from uuid import UUID

import click

from cli.operations.runs.rebuild_events import Missing, compare, no_events, read_topics, write_missing
from cli.shared.listing import Column, Row, print_rows
from cli.shared.output import Report, print_json, progress, remark
from cli.shared.parameters import UuidParameter, json_option
from core.counts import counted
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
Exit status 1 if a database could not be read or a row could not be written.
\b
Settings: SUPABASE_*, WASABI_*, KAFKA_*, EXTENTS_TOPIC_PREFIX, EXTENTS_KEY_RUN_DB.""",
)
@click.option("--tenant", "tenant_id", type=UuidParameter(), help="Only this tenant's rows.")
@click.option("--store-only", is_flag=True, help="Do not read the topics: restore only rows of finished runs.")
@click.option("--dry-run", is_flag=True, help="Only show what differs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(tenant_id: UUID | None, store_only: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Restore rows after the database was lost, or after it was restored from an old copy.

    Every run database in the store is compared with the registry. Missing rows are written in the order of completion, so
    that the web application reads the latest run of each video, version and model. The outcome events, which the topics
    keep for 30 days, then restore what the store does not hold: requests with their decisions, failed jobs, and rejections,
    which are all unacknowledged. Repeating the command changes nothing.
    """
    with progress("reading", "objects") as report:
        differing, faults = asyncio.run(_look(tenant_id, report))
    events = no_events(Settings(), tenant_id)
    if not store_only:
        with progress("reading", "events") as report:
            events = asyncio.run(read_topics(tenant_id, report))
    missing = asyncio.run(compare(events))
    _print([row for row, _, _ in differing], faults, missing, as_json=as_json)
    if (differing or missing.count) and not dry_run:
        if not yes:
            click.confirm(f"write {counted(len(differing), 'run')} and {counted(missing.count, 'other row')}?", abort=True, err=True)
        refused = asyncio.run(_write([(run, stored) for _, run, stored in differing]))
        remark(f"{counted(len(differing) - len(refused), 'run')} written")
        missing = asyncio.run(compare(events))  # writing the runs has restored some of the jobs
        with progress("writing", "rows") as report:
            written = asyncio.run(write_missing(missing, report))
        remark(f"{written.rows} other rows written")
        if written.unknown:
            remark(f"{len(written.unknown)} rows were left out because the database does not know their videos")
        for text in (*refused, *written.refused):
            remark(text)
            faults.append({"what": text})
    if faults:
        raise click.exceptions.Exit(1)


def _print(differing: list[Row], faults: list[Row], missing: Missing, *, as_json: bool) -> None:
    if as_json:
        print_json({"differing": differing, "faults": faults, **{f"missing_{name}": count for name, count in missing.counts().items()}})
    else:
        rows = [*differing, *faults]
        if rows:
            print_rows(_COLUMNS, rows[:SHOWN])
            if len(rows) > SHOWN:
                click.echo(f"... and {len(rows) - SHOWN} more")
    remark(f"{len(differing)} runs are missing from the registry or differ, {len(faults)} objects cannot be read")
    counts = ", ".join(f"{count} {name}" for name, count in missing.counts().items())
    remark(f"the topics hold {counts} that the database lacks")


async def _look(tenant_id: UUID | None, report: Report) -> tuple[list[tuple[Row, FinishedRun, StoredRun]], list[Row]]:
    """Return the runs that the registry lacks or describes differently, in the order of completion, and unreadable objects."""
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
    return sorted(differing, key=lambda difference: difference[1].completed_at), faults


async def _write(runs: list[tuple[FinishedRun, StoredRun]]) -> list[str]:
    """Write the rows. Return those that the database refused, each with the reason."""
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
